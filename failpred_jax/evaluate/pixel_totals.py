"""What is counted over the pixels of a test set, image by image, and the metrics that the counts give."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from failpred_jax import metrics as metric_room
from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.collect import predictions
from failpred_jax.evaluate.scoring import Fitted
from failpred_jax.evaluate.table import RESAMPLES_SEED, add_resampled
from failpred_jax.metrics import CalibrationSums, LevelCounts
from failpred_jax.types import Array, DatasetInfo

# Thresholds kept of each score for the report's curves.
CURVE_POINTS = 400
HISTOGRAM_BINS = 40
# Wider limits than this are told to the reader of the table.
TOLD_WIDTH = 1e-3


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

    def curves(self) -> dict[str, Any]:
        """Return {'counts', 'histogram'} for the report: thresholds with what lies above them, and binned counts."""
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
        return {
            'counts': {'threshold': thresholds[rows], 'units': units[rows], 'correct': right[rows]},
            'histogram': {'edges': bins, 'correct': in_bins[0], 'wrong': in_bins[1]},
        }


_count = jax.jit(metric_room.update_counts)


@dataclass
class ClassTotals:
    """What is counted of the classifier itself.

    Attributes:
      confusion: [C, C] int64, rows labels.
      surprise: float, sum of -log p of the label over valid pixels.
      squared: float, sum of the squared distances between probabilities and one-hot labels.
      accuracy: one number an image, NaN for an image without valid pixels.
    """

    confusion: np.ndarray
    surprise: float
    squared: float
    accuracy: list[float]

    def add(self, logits: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Add an image: logits [H W, C], labels and mask [H W]; returns which pixels are correct, [H W] bool."""
        num_classes = logits.shape[-1]
        predicted = predictions(logits)
        correct = predicted == labels
        flat = labels[mask].astype(np.int64) * num_classes + predicted[mask]
        self.confusion += np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)
        shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
        log_probs = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
        of_label = np.take_along_axis(log_probs, np.where(mask, labels, 0)[:, None], axis=-1)[:, 0]
        probs = np.exp(log_probs)
        self.surprise -= float(of_label[mask].sum())
        # |p - e_y|^2 = |p|^2 - 2 p_y + 1
        self.squared += float((np.sum(probs**2, axis=-1) - 2 * np.exp(of_label) + 1)[mask].sum())
        self.accuracy.append(float(correct[mask].mean()) if mask.any() else float('nan'))
        return correct


def to_metrics(
    classes: ClassTotals,
    totals: Mapping[str, ScoreTotals],
    info: DatasetInfo,
    options: EvaluateConfig,
    fitted: Fitted,
    unavailable: Mapping[str, str],
) -> dict[str, Any]:
    num_pixels = int(classes.confusion.sum())
    num_right = int(np.trace(classes.confusion))
    classifier = metric_room.segmentation_metrics(classes.confusion)
    if info.ignore_label is not None and info.ignore_label < info.num_classes:
        # Its pixels are left out, so an overlap with them has no meaning; predicting it is an error like any other.
        classifier['iou'][info.ignore_label] = float('nan')
        classifier['mean_iou'] = float(np.nanmean(classifier['iou']))
    scores: dict[str, Any] = {}
    undefined: dict[str, str] = {}
    for name, of_score in totals.items():
        found = metric_room.compute_streamed(of_score.total)
        undefined |= metric_room.undefined_reasons(found.values)
        notes = [*fitted.notes.get(name, ())]
        width = found.high['aurc'] - found.low['aurc']
        if not np.isnan(width) and width > TOLD_WIDTH:
            notes.append(
                f'counted at levels: its AURC lies between {found.low["aurc"]:.5f} and {found.high["aurc"]:.5f}'
            )
        limits = {metric: [found.low[metric], found.high[metric]] for metric in found.values}
        scores[name] = {**found.values, 'limits': limits, 'notes': notes}
        if of_score.calibration is not None:
            scores[name]['calibration'] = metric_room.calibration_from_sums(of_score.calibration)
    metrics = {
        'classifier': {
            **classifier,
            'accuracy': num_right / num_pixels if num_pixels else float('nan'),
            'multiclass_nll': classes.surprise / max(num_pixels, 1),
            'multiclass_brier': classes.squared / max(num_pixels, 1),
            'num_errors': num_pixels - num_right,
            'num_units': num_pixels,
        },
        'scores': scores,
        'curves': {name: of_score.curves() for name, of_score in totals.items()},
        'unavailable': dict(unavailable),
        'undefined': undefined,
    }
    if options.resamples and totals and len(classes.accuracy) > 1:
        drawn = metric_room.bootstrap_clusters(
            {name: of_score.clusters for name, of_score in totals.items()},
            {name: {m: scores[name][m] for m in scores[name]['limits']} for name in totals},
            num_resamples=options.resamples,
            seed=RESAMPLES_SEED,
        )
        add_resampled(metrics, drawn, options.interval)
    return metrics
