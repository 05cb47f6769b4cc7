"""What is counted over the pixels of a test set, image by image, and the metrics that the counts give."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax
import numpy as np

from failpred_jax import metrics as metric_room
from failpred_jax.evaluate.tally import RESAMPLES_SEED
from failpred_jax.metrics import CalibrationSums, LevelCounts, Resamples
from failpred_jax.outcomes import predicted_classes
from failpred_jax.results import ClassifierResult, Confusion, Interval, ScoreCurves, ScoreResult
from failpred_jax.threads import in_threads
from failpred_jax.types import Array, DatasetInfo

# Thresholds kept of each score for the report's curves.
CURVE_POINTS = 400
HISTOGRAM_BINS = 40
# Wider limits than this are told to the reader of the table.
TOLD_WIDTH = 1e-3
# Of an image, so that what is computed of them in double precision stays in a core's cache.
_PIXELS_AT_ONCE = 1 << 13


def valid_pixels(labels: np.ndarray, ignore_label: int | None) -> np.ndarray:
    """Return which pixels count: the shape of `labels`, bool."""
    return np.ones(labels.shape, bool) if ignore_label is None else labels != ignore_label


class ScoreTotals:
    """What is counted of one score, image by image.

    Args:
      sample: [...] float32, confidences of validation pixels, which set the levels.
      sample_correct: [...] bool.
      num_clusters: G, groups of images that are resampled together.
      is_probability: whether its calibration is measured.
    """

    def __init__(self, sample: np.ndarray, sample_correct: np.ndarray, num_clusters: int, is_probability: bool):
        self.levels = metric_room.levels_from(sample)
        self.total = metric_room.init_counts(self.levels)
        self.edges = metric_room.coarse_edges(self._count(sample, sample_correct, np.ones(sample.shape, bool)))
        zeros = np.zeros((num_clusters, len(self.edges)), np.int64)
        self.clusters = metric_room.ClusterCounts(zeros, zeros.copy())
        self.calibration: CalibrationSums | None = None
        self.is_probability = is_probability

    def _count(self, confidence: Array, correct: Array, mask: Array) -> LevelCounts:
        return _count(metric_room.init_counts(self.levels), self.levels, confidence, correct, mask)

    def add(self, confidence: Array, correct: Array, mask: Array, cluster: int) -> None:
        """Add an image: confidence [H W] float32, correct and mask [H W] bool."""
        counts = self._count(confidence, correct, mask)
        self.total = metric_room.merge_counts(self.total, counts)
        for into, new in zip(self.clusters, (counts.correct, counts.errors), strict=True):
            into[cluster] += metric_room.coarsen(np.asarray(new), self.edges)
        if self.is_probability:
            sums = metric_room.calibration_sums(confidence, correct, mask)
            self.calibration = sums if self.calibration is None else jax.tree.map(np.add, self.calibration, sums)

    def result(self) -> ScoreResult:
        """Return the metrics of what was counted, with limits for what levels cannot know."""
        found = metric_room.compute_streamed(self.total)
        notes = []
        width = found.high['aurc'] - found.low['aurc']
        if not np.isnan(width) and width > TOLD_WIDTH:
            notes.append(
                'counted at levels: its AURC x1000 lies between '
                f'{1000 * found.low["aurc"]:.2f} and {1000 * found.high["aurc"]:.2f}'
            )
        return ScoreResult(
            metrics=found.values,
            limits={
                metric: Interval(found.low[metric], found.high[metric])
                for metric, value in found.values.items()
                if not np.isnan(value)
            },
            calibration={} if self.calibration is None else metric_room.calibration_from_sums(self.calibration),
            notes=tuple(notes),
        )

    def curves(self) -> ScoreCurves:
        """Return thresholds with what lies above them, and binned counts, for the report."""
        correct, errors = (np.asarray(x, np.int64) for x in (self.total.correct, self.total.errors))
        filled = np.flatnonzero(correct + errors)[::-1]
        units, right = np.cumsum((correct + errors)[filled]), np.cumsum(correct[filled])
        wrong = units - right
        half = CURVE_POINTS // 2
        # Half spread over pixels, half over errors, so that both ends of every curve stay sharp.
        rows = [np.searchsorted(x, np.linspace(x[0], x[-1], half)) for x in (units, wrong)]
        rows = np.unique(np.concatenate([[0, len(filled) - 1], *rows]).clip(0, len(filled) - 1))
        # JSON has no infinity.
        thresholds = np.nan_to_num(np.asarray(self.levels, np.float64)[filled])
        low, high = 0.0, 1.0
        if thresholds.min() < 0 or thresholds.max() > 1:
            low, high = np.quantile(thresholds, [0.005, 0.995])
        bins = np.linspace(low, high if high > low else low + 1, HISTOGRAM_BINS + 1)
        place = np.clip(np.searchsorted(bins, thresholds, side='right') - 1, 0, HISTOGRAM_BINS - 1)
        in_bins = [np.bincount(place, x[filled], HISTOGRAM_BINS).astype(np.int64) for x in (correct, errors)]
        return ScoreCurves(thresholds[rows], units[rows], right[rows], bins, *in_bins)


_count = jax.jit(metric_room.update_counts)


@dataclass
class ClassTotals:
    """What is counted of the classifier itself.

    Attributes:
      confusion: [C, C] int64, rows labels.
      surprise: float, sum of -log p of the label over valid pixels.
      squared: float, sum of the squared distances between probabilities and one-hot labels.
      accuracy: one number per image, NaN for an image without valid pixels.
    """

    confusion: np.ndarray
    surprise: float
    squared: float
    accuracy: list[float]

    def add(self, logits: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Add an image: logits [H W, C], labels and mask [H W]; returns which pixels are correct, [H W] bool."""
        num_classes = logits.shape[-1]
        predicted = np.asarray(predicted_classes(logits))
        correct = predicted == labels
        flat = labels[mask].astype(np.int64) * num_classes + predicted[mask]
        self.confusion += np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)
        parts = range(0, len(labels), _PIXELS_AT_ONCE)
        found = np.zeros((len(parts), 2))

        def add_up(number: int) -> None:
            part = slice(parts[number], parts[number] + _PIXELS_AT_ONCE)
            found[number] = _errors_of(logits[part], np.where(mask[part], labels[part], 0), mask[part])

        in_threads(add_up, range(len(parts)))
        surprise, squared = found.sum(axis=0)
        self.surprise += float(surprise)
        self.squared += float(squared)
        self.accuracy.append(float(correct[mask].mean()) if mask.any() else float('nan'))
        return correct

    def result(self, info: DatasetInfo) -> ClassifierResult:
        """Return the metrics of what was counted."""
        found = metric_room.classifier_from_confusion(Confusion.from_dense(self.confusion), 'segmentation')
        num_pixels = found.num_units or float('nan')
        metrics = {
            **found.metrics,
            'multiclass_nll': self.surprise / num_pixels,
            'multiclass_brier': self.squared / num_pixels,
        }
        per_class = dict(found.per_class)
        if info.ignore_label is not None and info.ignore_label < info.num_classes:
            # Its pixels are left out, so an overlap with them has no meaning; predicting it is an error like any other.
            iou = np.array(per_class['iou'])
            iou[info.ignore_label] = np.nan
            per_class['iou'] = iou
            metrics['mean_iou'] = float(np.nanmean(iou)) if np.isfinite(iou).any() else float('nan')
        return replace(found, metrics=metrics, per_class=per_class)


def _errors_of(logits: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Return the sums over pixels of -log p of the label, and of |p - e_y|^2, of logits [N, C] and labels [N]."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    odds = np.exp(shifted)
    total = odds.sum(axis=-1)
    log_of_label = np.take_along_axis(shifted, labels[:, None], axis=-1)[:, 0] - np.log(total)
    # |p - e_y|^2 = |p|^2 - 2 p_y + 1
    squared = np.einsum('nc,nc->n', odds, odds) / total**2 - 2 * np.exp(log_of_label) + 1
    return -float(log_of_label[mask].sum()), float(squared[mask].sum())


def bootstrap_images(
    totals: Mapping[str, ScoreTotals], scores: Mapping[str, ScoreResult], num_resamples: int, block_length: int
) -> Resamples:
    """Return every score's metrics on the same resamples of whole images, or of blocks of so many clusters in a row."""
    return metric_room.bootstrap_clusters(
        {name: of_score.clusters for name, of_score in totals.items()},
        {name: scores[name].metrics for name in totals},
        num_resamples=num_resamples,
        seed=RESAMPLES_SEED,
        block_length=block_length,
    )
