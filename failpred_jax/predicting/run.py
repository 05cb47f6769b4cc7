"""All images of a folder or file through a finished run, a part at a time, into one file that appears whole."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tqdm

from failpred_jax import compiler, processes
from failpred_jax.console import say
from failpred_jax.errors import UserError
from failpred_jax.predicting.inputs import Form, NewImages, open_images
from failpred_jax.predicting.outputs import check_output, write_prediction
from failpred_jax.predictor import Prediction, Predictor, join, load

# Images are held a part at a time.
PART_BYTES = 2**27


def predict_file(workdir: Path, inputs: Path, output: Path, scores: Sequence[str] | None) -> None:
    """Predict all images of a folder or file, and write one row for each.

    Args:
      workdir: of a finished run.
      inputs: see `open_images`.
      output: see `write_prediction`; it must not be there yet.
      scores: see `Predictor.predict`.

    Raises:
      UserError: something given is wrong; nothing was written then.
    """
    if processes.is_one_of_several():
        raise UserError('--mode=predict is for one process, with all of its devices; start it without a job')
    check_output(output)
    compiler.keep_compilations()
    predictor = load(workdir)
    scores = predictor.asked(scores)
    images = open_images(inputs, Form(predictor.image_shape, predictor.resizes))
    say(f'{len(images):,} images; {", ".join(scores)}')
    policy = predictor.policy
    decides = f'decisions by the policy on {policy.score}' if policy else f'no decisions: {predictor.no_policy}'
    say(decides)
    began = time.monotonic()
    found = join(list(_parts(predictor, images, scores)))
    write_prediction(found, output)
    seconds = time.monotonic() - began
    say(f'{output}: {len(found):,} predictions in {seconds:.1f} s')


def _parts(predictor: Predictor, images: NewImages, scores: Sequence[str]) -> Iterator[Prediction]:
    batch = predictor.batch_size
    size = max(1, PART_BYTES // (batch * int(np.prod(predictor.image_shape)))) * batch
    with tqdm.tqdm(total=len(images), desc='predicting', unit=' images', delay=2.0, disable=None) as bar:
        for start in range(0, len(images), size):
            stop = min(start + size, len(images))
            yield predictor.predict(
                images.read(start, stop), images.ids[start:stop], scores, numbers=np.arange(start, stop)
            )
            bar.update(stop - start)
