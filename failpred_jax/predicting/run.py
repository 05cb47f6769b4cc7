"""All images of a folder or file through a finished run, a part at a time, into a file or folder that appears whole."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tqdm

from failpred_jax import compiler, processes
from failpred_jax.console import say
from failpred_jax.errors import UserError, numbered
from failpred_jax.files import DAMAGE, read_npz
from failpred_jax.predicting.inputs import Form, NewImages, open_images
from failpred_jax.predicting.maps import MapWriter, check_folder
from failpred_jax.predicting.outputs import check_output, check_table, failed_file, write_failed, write_prediction
from failpred_jax.predictor import Prediction, Predictor, join, load

# Images are held a part at a time.
PART_BYTES = 2**27
# After so many pictures of which none can be used, the rest will not be better.
MOST_FAILED = 50
_NAMED = 5
# Images of bytes that never reach this are dark ones, or on another scale than bytes.
_DARK = 64


@dataclass
class _Seen:
    """What is told of all images together.

    Attributes:
      brightest: their largest value.
      blank: the names of those of one value all over, or of two beside one another.
    """

    brightest: int = 0
    blank: list[str] = field(default_factory=list)

    def add(self, images: np.ndarray, names: np.ndarray) -> None:
        """Look at images [n, H, W, channels] with their names [n]."""
        flat = images.reshape(len(images), -1)
        largest = flat.max(axis=1)
        self.brightest = max(self.brightest, int(largest.max()))
        self.blank += names[largest - flat.min(axis=1) <= 1].astype(str).tolist()


def predict_file(workdir: Path, inputs: Path, output: Path, scores: Sequence[str] | None) -> None:
    """Predict all images of a folder or file, and write one row (of a segmenter: one set of maps) for each.

    Pictures that cannot be used are left out and listed, with the reason, beside the output.

    Args:
      workdir: of a finished run.
      inputs: see `open_images`.
      output: see `write_prediction` and `MapWriter`; it must not be there yet.
      scores: see `Predictor.predict`.

    Raises:
      UserError: something given is wrong, and nothing was written; or some pictures could not be used, and the others
        were predicted.
    """
    if processes.is_one_of_several():
        raise UserError('--mode=predict is for one process, with all of its devices; start it without a job')
    compiler.keep_compilations()
    predictor = load(workdir)
    # What it must be comes before what is in its way.
    (check_folder if predictor.is_segmenter else check_table)(output)
    check_output(output)
    scores = predictor.asked(scores)
    images = open_images(inputs, Form(predictor.image_shape, predictor.resizes))
    say(f'{numbered(len(images), "image")}; {", ".join(scores)}')
    policy = predictor.policy
    if policy is None:
        say(f'no decisions: {predictor.no_policy}')
    else:
        added = '' if policy.score in scores else ', which is computed for it'
        say(f'decisions by the policy on {policy.score}{added}')
    began = time.monotonic()
    problems: list[tuple[str, str]] = []
    seen = _Seen()
    parts = _parts(predictor, images, scores, problems, seen)
    if predictor.is_segmenter:
        first = next(parts)
        with MapWriter(output) as maps:
            maps.write(first)
            for part in parts:
                maps.write(part)
        count = maps.num_images
    else:
        found = join(list(parts))
        write_prediction(found, output)
        count = len(found)
    say(f'{output}: {count:,} predictions in {time.monotonic() - began:.1f} s')
    if seen.brightest < _DARK and (note := _too_dark(workdir, seen.brightest)):
        say(f'WARNING: {note}')
    elif seen.blank:
        say(f'WARNING: {_blank(seen.blank, len(images))}')
    if problems:
        write_failed(failed_file(output), problems)
        raise UserError(
            f"{_listed(problems, len(images))}\nthe other {count:,} are predicted in '{output}'; these are left out, "
            f"and listed in '{failed_file(output)}'"
        )


def _parts(
    predictor: Predictor,
    images: NewImages,
    scores: Sequence[str],
    problems: list[tuple[str, str]],
    seen: _Seen,
) -> Iterator[Prediction]:
    """Yield the predictions of the images that can be used, and note the others with the reason, and look at those.

    Raises:
      UserError: none of the pictures, or of the first of them, can be used.
    """
    batch = predictor.batch_size
    of_batch = batch * int(np.prod(predictor.image_shape))
    # Of a segmenter, the probabilities of every pixel take many times the memory of the image.
    size = batch if predictor.is_segmenter else max(1, PART_BYTES // of_batch) * batch
    is_any = False
    with tqdm.tqdm(total=len(images), desc='predicting', unit=' images', delay=2.0, disable=None) as bar:
        for start in range(0, len(images), size):
            stop = min(start + size, len(images))
            some = images.read(start, stop)
            problems += [(str(images.ids[number]), reason) for number, reason in some.problems]
            is_any |= len(some.images) > 0
            if not is_any and (stop == len(images) or len(problems) >= MOST_FAILED):
                raise UserError(_listed(problems, len(images)))
            if len(some.images):
                seen.add(some.images, images.ids[some.numbers])
                yield predictor.predict(some.images, images.ids[some.numbers], scores, numbers=some.numbers)
            bar.update(stop - start)


def _too_dark(workdir: Path, brightest: int) -> str:
    """Return a sentence where the images that the run was tested on reach far larger values than these; else ''."""
    try:
        known = int(read_npz(workdir / 'evaluation' / 'images.npz')['images'].max())
    except DAMAGE:
        # Only for this sentence, and a run may keep none of its images.
        return ''
    if known < 2 * brightest:
        return ''
    return (
        f'no value of these images is over {brightest}, and those that the run was tested on reach {known}. If '
        'they are on another scale (0 to 16, 0 to 1), bring them to 0 to 255 first; as they are, the network sees them '
        'as nearly black'
    )


def _blank(names: Sequence[str], total: int) -> str:
    return (
        f'{len(names):,} of {numbered(total, "image")} are nearly of one value all over, such as {names[0]!r}: '
        'nothing can be seen on them. A 16-bit picture whose values end at 255 is black: save it with 8 bits'
    )


def _listed(problems: Sequence[tuple[str, str]], total: int) -> str:
    """Return which pictures cannot be used, the first with their reasons."""
    if len(problems) == total == 1:
        return problems[0][1]
    lines = [f'{len(problems):,} of the {total:,} pictures cannot be used:']
    lines += [f'  - {reason}' for _, reason in problems[:_NAMED]]
    return '\n'.join(lines + [f'  - and {len(problems) - _NAMED:,} more'] * (len(problems) > _NAMED))
