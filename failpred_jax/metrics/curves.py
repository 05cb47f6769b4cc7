"""Curves over all distinct thresholds, and their thinning for figures."""

import functools
from typing import NamedTuple

import jax
import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.metrics.ranking import check_inputs
from failpred_jax.metrics.sorting import COUNTED, THRESHOLD, sort_order
from failpred_jax.metrics.weighted import has_grades
from failpred_jax.types import Array


class Curve(NamedTuple):
    """Points of a curve, from the highest threshold (little is accepted) to the lowest (all is).

    Attributes:
      x: [P] float64.
      y: [P] float64.
      threshold: [P] float64, accept when confidence >= threshold; infinite at a point where nothing is accepted.
    """

    x: np.ndarray
    y: np.ndarray
    threshold: np.ndarray


class ThresholdCounts(NamedTuple):
    """What lies above each of the P distinct confidences, itself included, falling.

    Attributes:
      threshold: [P] float64.
      units: [P] int64.
      correct: [P] int64; of grades their sum, float64.
    """

    threshold: np.ndarray
    units: np.ndarray
    correct: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        return self.units - self.correct


_sort = jax.jit(sort_order)


def threshold_counts(confidence: Array, correct: Array, mask: Array | None = None) -> ThresholdCounts:
    """Count units and correct ones above every distinct confidence; one sort serves all curves.

    Args:
      confidence: [...] of any real type, higher means more confident.
      correct: [...] bool, or float grades in [0, 1].
      mask: [...] bool or None.

    Returns:
      ThresholdCounts.

    Raises:
      UserError: as `failure_metrics`, and where no unit is counted.
    """
    grades = np.asarray(correct).reshape(-1) if has_grades(correct) else None
    right = np.ones(np.shape(correct), bool) if grades is not None else correct
    exact, correct, mask = check_inputs(confidence, right, mask)
    confidence = np.asarray(confidence).reshape(-1)
    counted = np.ones(confidence.shape, bool) if mask is None else np.asarray(mask)
    if not counted.any():
        raise UserError('no unit is counted, so there is no curve')
    if np.isnan(confidence[counted].astype(np.float64)).any():
        raise UserError('confidence holds NaN; a curve needs numbers: repair the score, or mask those units')
    if grades is not None:
        order, flags = (np.asarray(x) for x in _sort(exact, mask))
        ends = np.flatnonzero((flags & (THRESHOLD | COUNTED)) == (THRESHOLD | COUNTED))
        total: np.ndarray = np.cumsum(np.where(counted[order], grades[order], 0.0))
        return ThresholdCounts(confidence[order[ends]].astype(np.float64), ends + 1, total[ends])
    right = np.asarray(correct)
    if mask is not None:
        confidence, right = confidence[counted], right[counted]
    # Counts above a threshold do not depend on the order of equal ones, so NumPy's sort will do, the fastest on a CPU.
    order = np.argsort(confidence, kind='stable')[::-1]
    falling = confidence[order]
    ends = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)
    return ThresholdCounts(falling[ends].astype(np.float64), ends + 1, np.cumsum(right[order], dtype=np.int64)[ends])


def roc_curve(counts: ThresholdCounts) -> Curve:
    """Return errors accepted (x, FPR) against correct ones accepted (y, TPR), from (0, 0); NaN where undefined.

    Reference: scikit-learn roc_curve(correct, confidence, drop_intermediate=False).
    """
    return _from_start(counts, _share(counts.errors, counts.errors[-1]), _share(counts.correct, counts.correct[-1]))


def precision_recall_curve(counts: ThresholdCounts, of: str = 'success') -> Curve:
    """Return recall (x) against precision (y) at every distinct threshold.

    Args:
      counts: from `threshold_counts`.
      of: 'success' to find correct units at confidence >= threshold, 'error' to find errors at confidence <= threshold.

    Returns:
      Curve of rising recall; NaN where there is nothing to find.

    Reference: scikit-learn precision_recall_curve, without its added point at recall 0.
    """
    if of == 'success':
        return Curve(_share(counts.correct, counts.correct[-1]), counts.correct / counts.units, counts.threshold)
    if of != 'error':
        raise ValueError(f"of is '{of}'; allowed: success, error")
    units = counts.units[-1] - np.concatenate([[0], counts.units[:-1]])
    errors = counts.errors[-1] - np.concatenate([[0], counts.errors[:-1]])
    recall = _share(errors, counts.errors[-1])
    return Curve(recall[::-1], (errors / units)[::-1], counts.threshold[::-1])


def risk_coverage_curve(counts: ThresholdCounts, generalized: bool = False) -> Curve:
    """Return coverage (x) against the selective or generalized risk (y): the curve whose area is AURC or AUGRC.

    Args:
      counts: from `threshold_counts`.
      generalized: errors accepted over all units, from (0, 0), instead of over accepted ones, whose first value is
        carried to coverage 0.

    Reference: Geifman, Uziel & El-Yaniv, ICLR 2019; generalized: Traub et al., NeurIPS 2024.
    """
    total = counts.units[-1]
    if generalized:
        return _from_start(counts, counts.units / total, counts.errors / total)
    risk = counts.errors / counts.units
    return _from_start(counts, counts.units / total, risk, first=risk[0])


def accuracy_rejection_curve(counts: ThresholdCounts) -> Curve:
    """Return the share of units rejected (x, falling) against the accuracy of those kept (y).

    Reference: Nadeem, Zucker & Hanczar, MLSB 2009.
    """
    return Curve(1 - counts.units / counts.units[-1], counts.correct / counts.units, counts.threshold)


def _share(part: np.ndarray, whole: int) -> np.ndarray:
    return part / whole if whole else np.full(part.shape, np.nan)


def _from_start(counts: ThresholdCounts, x: np.ndarray, y: np.ndarray, first: float = 0.0) -> Curve:
    return Curve(*(np.concatenate([[a], b]) for a, b in ((0.0, x), (first, y), (np.inf, counts.threshold))))


def thin_curve(curve: Curve, tolerance: float = 1e-3) -> Curve:
    """Leave out points of a curve that a figure does not need.

    Args:
      curve: [P] points.
      tolerance: largest distance of a point that is left out from the straight line between its kept neighbors.

    Returns:
      Curve with the first and last point and as many between as the tolerance asks for.

    Reference: Douglas & Peucker, Cartographica 1973; all segments are split at once in each round.
    """
    x, y = (np.nan_to_num(values) for values in (curve.x, curve.y))
    kept = np.unique([0, x.size - 1])
    while kept.size > 1:
        start, end = (np.repeat(ends, np.diff(kept)) for ends in (kept[:-1], kept[1:]))
        away = _distance(x, y, start, end)
        too_far = np.maximum.reduceat(away, kept[:-1]) > tolerance
        if not too_far.any():
            break
        segments = zip(kept[:-1][too_far], kept[1:][too_far], strict=True)
        kept = np.union1d(kept, [first + np.argmax(away[first:last]) for first, last in segments])
    return Curve(*(values[kept] for values in curve))


def _distance(x: np.ndarray, y: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance of each point but the last from the line between the points `start` and `end`."""
    along_x, along_y = x[end] - x[start], y[end] - y[start]
    to_x, to_y = x[:-1] - x[start], y[:-1] - y[start]
    length = along_x**2 + along_y**2
    part = np.clip((to_x * along_x + to_y * along_y) / np.where(length > 0, length, 1), 0, 1)
    return np.hypot(to_x - part * along_x, to_y - part * along_y)


CURVES = {
    'roc': roc_curve,
    'precision_recall_success': precision_recall_curve,
    'precision_recall_error': functools.partial(precision_recall_curve, of='error'),
    'risk_coverage': risk_coverage_curve,
    'generalized_risk_coverage': functools.partial(risk_coverage_curve, generalized=True),
    'accuracy_rejection': accuracy_rejection_curve,
}
