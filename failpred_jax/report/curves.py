"""What figures need of a confidence score besides the curves of `metrics`: thinning, histograms, reliability bins.

Curves come from counts at thresholds (`failpred_jax.metrics.threshold_counts`), which are exact.
"""

import functools
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from failpred_jax import metrics
from failpred_jax.metrics import ThresholdCounts

Curve = tuple[np.ndarray, np.ndarray]
# At which the page tells of scores.
COVERAGES = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.5)
RISKS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
# More rows of counts than this are more than a page can show, and hundreds of MB for millions of units.
_MOST_ROWS = 200_000

_reliability_bins = functools.partial(jax.jit, static_argnames=('num_bins', 'equal_mass'))(metrics.reliability_bins)


def thin_counts(counts: ThresholdCounts, num: int = 300, keep: Sequence[int] = ()) -> ThresholdCounts:
    """Return about `num` rows of the counts: half spread over units, half over errors, so that both ends keep detail.

    The rows kept are exact; nothing is averaged.

    Args:
      counts: of a score.
      num: rows to keep.
      keep: further rows to keep; the first and last always are.
    """
    size = len(counts.threshold)
    if size <= num:
        return counts
    half = max(num // 2, 2)
    by_units = np.searchsorted(counts.units, np.linspace(counts.units[0], counts.units[-1], half))
    by_errors = np.searchsorted(counts.errors, np.linspace(counts.errors[0], counts.errors[-1], num - half))
    rows = np.unique(np.concatenate([[0, size - 1], keep, by_units, by_errors]).astype(int).clip(0, size - 1))
    return ThresholdCounts(*(column[rows] for column in counts))


def shown_counts(counts: ThresholdCounts, thresholds: Sequence[float] = ()) -> ThresholdCounts:
    """Return counts of which all is kept that a page tells: where there are very many rows, some of them.

    Args:
      counts: of a score.
      thresholds: over which the row that accepts all is kept too.
    """
    if len(counts.threshold) <= _MOST_ROWS:
        return counts
    keep = [row_at_coverage(counts, coverage) for coverage in COVERAGES]
    keep += [row for risk in RISKS if (row := row_at_risk(counts, risk)) is not None]
    keep += [rows_over(counts, threshold) - 1 for threshold in thresholds]
    return thin_counts(counts, _MOST_ROWS // 10, [row for row in keep if row >= 0])


def rows_over(counts: ThresholdCounts, threshold: float) -> int:
    """Return how many rows have a higher threshold."""
    return int(np.count_nonzero(counts.threshold > threshold))


def row_at_coverage(counts: ThresholdCounts, coverage: float) -> int:
    """Return the row of the strictest threshold that still accepts at least this share of the units."""
    target = np.ceil(coverage * counts.units[-1] - 1e-9)
    return min(int(np.searchsorted(counts.units, target)), len(counts.units) - 1)


def row_at_risk(counts: ThresholdCounts, risk: float) -> int | None:
    """Return the row that accepts most while its error rate stays at or below `risk`, or None if there is none."""
    rows = np.flatnonzero(counts.errors <= risk * counts.units)
    return int(rows[-1]) if len(rows) else None


def curve_of(name: str, counts: ThresholdCounts) -> Curve | None:
    """Return one of `metrics.CURVES` as (x [P], y [P]), or None where it is undefined (no errors, none correct)."""
    curve = metrics.CURVES[name](counts)
    return None if np.isnan(curve.x).any() or np.isnan(curve.y).any() else (curve.x, curve.y)


def histogram(confidence: np.ndarray, correct: np.ndarray, num_bins: int = 40) -> dict[str, np.ndarray]:
    """Return a score's histogram for correct and for wrong units.

    Args:
      confidence: [N] float. Values in [0, 1] get bins over [0, 1]; others bins between the 0.5 % and 99.5 %
        quantiles; values outside (infinities too) are counted in the outer bins.
      correct: [N] bool.
      num_bins: K.

    Returns:
      'edges' [K + 1] float64, 'correct' [K] int64, 'wrong' [K] int64, whose sums are N.
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    finite = confidence[np.isfinite(confidence)]
    low, high = 0.0, 1.0
    if finite.size and (finite.min() < 0 or finite.max() > 1 or finite.size < confidence.size):
        low, high = np.quantile(finite, [0.005, 0.995])
        if low == high:
            low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, num_bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side='right') - 1, 0, num_bins - 1)
    return {
        'edges': edges,
        'correct': np.bincount(place[correct], minlength=num_bins),
        'wrong': np.bincount(place[~correct], minlength=num_bins),
    }


def reliability(confidence: np.ndarray, correct: np.ndarray, num_bins: int = 15) -> dict[str, np.ndarray]:
    """Return mean confidence, accuracy and count in equal-width bins of [0, 1].

    Args:
      confidence: [N] float in [0, 1].
      correct: [N] bool, or float grades in [0, 1].
      num_bins: K.

    Returns:
      'confidence' [K] and 'accuracy' [K] float64 (NaN in an empty bin), 'count' [K] int64.
    """
    # A calibrated sum of floats may end a rounding error outside [0, 1].
    correct = np.asarray(correct, np.float32 if metrics.is_graded(correct) else bool)
    bins = _reliability_bins(np.clip(confidence, 0, 1).astype(np.float32), correct, num_bins=num_bins)
    return {
        'confidence': np.asarray(bins.confidence, np.float64),
        'accuracy': np.asarray(bins.accuracy, np.float64),
        'count': np.asarray(bins.count, np.int64),
    }


def reliability_of_histogram(edges: np.ndarray, correct: np.ndarray, wrong: np.ndarray) -> dict[str, np.ndarray]:
    """Return `reliability` from a histogram, taking each unit to sit in the middle of its bin."""
    edges = np.asarray(edges, np.float64)
    count = np.asarray(correct, np.int64) + np.asarray(wrong, np.int64)
    with np.errstate(invalid='ignore'):
        accuracy = np.asarray(correct) / count
    middle = (edges[:-1] + edges[1:]) / 2
    return {'confidence': np.where(count > 0, middle, np.nan), 'accuracy': accuracy, 'count': count}


def calibration_error(bins: Mapping[str, np.ndarray]) -> float:
    """Return the expected calibration error in [0, 1]: the gap of each bin, weighted by its count."""
    gap = np.abs(np.nan_to_num(bins['confidence']) - np.nan_to_num(bins['accuracy']))
    return float((gap * bins['count']).sum() / max(bins['count'].sum(), 1))
