"""The evaluation of a segmenter: every pixel is a unit, and counts, while memory holds one batch of images.

Scores are fitted on a sample of pixels. Then one pass over the test images adds every valid pixel to integer counts
(metrics/streaming.py), from which the metrics come, with limits for what the counts cannot know. Intervals draw whole
images again (metrics/clusters.py). A uniform sample of the pixels is kept for predictions.npz, and the maps of a few
images for the report.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import numpy as np

from failpred_jax.config import EvaluateConfig
from failpred_jax.console import phase
from failpred_jax.data.lazy import blocks
from failpred_jax.errors import given
from failpred_jax.evaluate.collect import Reader
from failpred_jax.evaluate.faults import drop_undefined
from failpred_jax.evaluate.parts import PixelStream
from failpred_jax.evaluate.pixel_totals import ClassTotals, ScoreTotals, bootstrap_images, valid_pixels
from failpred_jax.evaluate.scoring import Fitted, Plan, compute_scores
from failpred_jax.evaluate.tally import Tally
from failpred_jax.metrics import without_shared_pass
from failpred_jax.outcomes import is_correct, predicted_classes
from failpred_jax.registry import SCORES
from failpred_jax.results import About, Predictions
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.threads import in_threads
from failpred_jax.types import Examples

T = TypeVar('T')

# Images are resampled in at most so many groups of neighbors, which bounds the memory of their counts.
MAX_CLUSTERS = 1000
_TOO_FEW = 'no intervals are given: they need two images or more, or two blocks of config.evaluate.block_length'
# Images shown as maps, of the best, around the median, and of the worst.
SHOWN_OF_EACH = 2


@dataclass(frozen=True)
class Sample:
    """Valid pixels drawn uniformly from a set of label maps.

    Attributes:
      places: [N, P] int32, which pixels of each image, counted row by row; padded with 0.
      mask: [N, P] bool, False for padding.
      labels: [number of pixels] int32, those of the drawn ones, image by image.
    """

    places: np.ndarray
    mask: np.ndarray
    labels: np.ndarray

    @property
    def image_of(self) -> np.ndarray:
        """[number of pixels] int64, the image that each of the drawn ones is of."""
        return np.nonzero(self.mask)[0]


def draw_pixels(labels: np.ndarray, ignore_label: int | None, num_pixels: int, seed: int) -> Sample:
    """Return `num_pixels` valid pixels of label maps [N, H, W] (or all, if fewer), drawn without replacement."""
    num_valid = np.array(
        [np.count_nonzero(valid_pixels(image, ignore_label)) for block in blocks(labels) for image in block]
    )
    total = int(num_valid.sum())
    if total <= num_pixels:
        drawn = np.arange(total)
    else:
        drawn = np.sort(np.random.default_rng(seed).choice(total, num_pixels, replace=False, shuffle=False))
    ends = np.cumsum(num_valid)
    image_of = np.searchsorted(ends, drawn, side='right')
    count = np.bincount(image_of, minlength=len(labels))
    width = max(int(count.max(initial=0)), 1)
    mask = np.arange(width)[None, :] < count[:, None]
    places = np.zeros((len(labels), width), np.int32)
    picked = np.empty(len(drawn), np.int32)
    first = np.cumsum(count) - count
    for i, label in enumerate(image.reshape(-1) for block in blocks(labels) for image in block):
        own = slice(first[i], first[i] + count[i])
        rank = drawn[own] - (ends[i] - num_valid[i])
        places[i, : count[i]] = np.flatnonzero(valid_pixels(label, ignore_label))[rank]
        picked[own] = label[places[i, : count[i]]]
    return Sample(places, mask, picked)


def collect_pixels(reader: Reader, examples: Examples, sample: Sample) -> ScoreInputs:
    """Return what scores read of the sampled pixels: fields [number of pixels, ...], on the host."""
    parts, start = [], 0
    for found, real in reader.batches(examples, places=sample.places):
        keep = sample.mask[start : start + real]
        parts.append(jax.tree.map(lambda x, real=real, keep=keep: x[:real][keep], found))
        start += real
    return jax.tree.map(lambda *columns: np.concatenate(columns), *parts)


def count_pixels(
    stream: PixelStream, plan: Plan, fitted: Fitted, validation: Predictions | None, options: EvaluateConfig
) -> Tally:
    """Count every score of the plan on all valid pixels of the test images.

    Args:
      stream: the test images.
      plan, fitted: the scores, and their fits.
      validation: the validation pixels, which set the levels.
      options: what is measured.
    """
    if validation is None:
        raise ValueError('the levels at which pixels are counted come from validation pixels; there are none')
    test, info = stream.examples, stream.info
    num_clusters = min(len(test.labels), MAX_CLUSTERS)
    totals = {
        name: ScoreTotals(confidence, validation.correct, num_clusters, name in SCORES and SCORES[name].is_probability)
        for name, confidence in validation.confidences.items()
    }
    unavailable = dict(fitted.unavailable)
    classes = ClassTotals(np.zeros((info.num_classes,) * 2, np.int64), 0.0, 0.0, [])
    sample = draw_pixels(test.labels, info.ignore_label, options.sample_pixels, stream.seed)
    kept: dict[str, list[np.ndarray]] = {'logits': [], **{name: [] for name in totals}}
    for number, label, pixels, confidences, lost in _told(_images(stream.reader, plan, fitted, test), len(test.labels)):
        labels, mask = _flat_labels(label, info.ignore_label)
        drop_undefined({name: confidences[name][mask] for name in totals if name in confidences}, lost)
        # A score that a single image cannot have is no score of the set.
        for name in [name for name in totals if name in lost]:
            del totals[name], kept[name]
            unavailable[name] = f'test image {number}: {lost[name]}'
        logits = np.asarray(pixels.logits)
        correct = classes.add(logits, labels, mask)
        places = sample.places[number][sample.mask[number]]
        adding = functools.partial(_add, correct=correct, mask=mask, cluster=number * num_clusters // len(test.labels))
        in_threads(adding, [(of_score, confidences[name]) for name, of_score in totals.items()])
        for name, values in {'logits': logits, **{name: confidences[name] for name in totals}}.items():
            kept[name].append(values[places])
    arrays = {name: np.concatenate(parts) for name, parts in kept.items()}
    logits = arrays.pop('logits')
    scores = {name: of_score.result() for name, of_score in totals.items()}
    # In groups of images, where there are more images than groups.
    block_length = max(1, round(options.block_length * num_clusters / len(classes.accuracy)))
    can_resample = num_clusters // block_length > 1
    return Tally(
        classifier=classes.result(info),
        scores=scores,
        unavailable=unavailable,
        kept=Predictions(
            sample.labels, logits, np.asarray(is_correct(logits, sample.labels)), arrays, About(group=sample.image_of)
        ),
        resamples=bootstrap_images(totals, scores, options.resamples, block_length)
        if options.resamples and totals and can_resample
        else None,
        undefined={
            metric.name: 'not measured: it does not follow from counts of pixels' for metric in without_shared_pass()
        },
        curves={name: of_score.curves() for name, of_score in totals.items()},
        maps=_maps(stream, plan, fitted, np.array(classes.accuracy), list(totals)),
        notes=() if can_resample or not options.resamples else (_TOO_FEW,),
    )


def _add(item: tuple[ScoreTotals, np.ndarray], correct: np.ndarray, mask: np.ndarray, cluster: int) -> None:
    item[0].add(item[1], correct, mask, cluster)


def _told(images: Iterator[T], total: int) -> Iterator[T]:
    """Yield the images, and tell how far they are."""
    with phase('measuring pixels', total, 'images') as measuring:
        for image in images:
            yield image
            measuring.add()


def _flat_labels(label_map: np.ndarray, ignore_label: int | None) -> tuple[np.ndarray, np.ndarray]:
    labels = label_map.reshape(-1).astype(np.int32)
    return labels, valid_pixels(labels, ignore_label)


def _images(
    reader: Reader, plan: Plan, fitted: Fitted, examples: Examples, numbers: np.ndarray | None = None
) -> Iterator[tuple[int, np.ndarray, ScoreInputs, dict[str, np.ndarray], dict[str, str]]]:
    """Yield, for each image in order: its row, label map [H, W], ScoreInputs [H W, ...], score -> [H W] or why not."""
    row = 0
    for found, real in reader.batches(examples, numbers):
        maps = examples.labels[row : row + real]
        for i in range(real):
            pixels = jax.tree.map(lambda x, i=i: x[i].reshape(-1, *x.shape[3:]), found)
            # A void label may lie outside the classes; its pixels are masked, so any class will do.
            labels = np.minimum(maps[i].reshape(-1), pixels.logits.shape[-1] - 1).astype(np.int32)
            yield (
                row,
                maps[i],
                pixels,
                *compute_scores(plan, pixels._replace(labels=labels), fitted, is_told=False, is_compiled=True),
            )
            row += 1


def shown_images(accuracy: np.ndarray) -> np.ndarray:
    """Return which images to show, best first: those of highest, of middle and of lowest accuracy [N], NaN left out."""
    order = np.argsort(-accuracy, kind='stable')
    order = order[: np.count_nonzero(~np.isnan(accuracy))]
    middle = max((len(order) - SHOWN_OF_EACH) // 2, 0)
    places: Sequence[int] = [
        *range(SHOWN_OF_EACH),
        *range(middle, middle + SHOWN_OF_EACH),
        *range(len(order) - SHOWN_OF_EACH, len(order)),
    ]
    return order[sorted({place for place in places if 0 <= place < len(order)})]


def _maps(
    stream: PixelStream, plan: Plan, fitted: Fitted, accuracy: np.ndarray, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return image, label, prediction and the named confidence maps of a few images; see results/folder.py."""
    test, ignore_label = stream.examples, stream.info.ignore_label
    chosen = shown_images(accuracy)
    images = given(test.images, 'images')[chosen]
    examples = Examples(images, test.labels[chosen])
    size = test.labels.shape[1:]
    maps: dict[str, list] = {}
    for _, _, pixels, confidences, _ in _images(stream.reader, plan, fitted, examples, chosen):
        maps.setdefault('prediction', []).append(np.asarray(predicted_classes(pixels.logits)).reshape(size))
        for name in names:
            maps.setdefault(f'confidence_{name}', []).append(confidences[name].reshape(size))
    return {
        'image': images,
        # Void is no class of the maps.
        'label': np.where(valid_pixels(examples.labels, ignore_label), examples.labels.astype(np.int32), -1),
        'index': chosen,
        'accuracy': accuracy[chosen],
        **{name: np.stack(rows) for name, rows in maps.items()},
    }
