"""Thresholds that are chosen on validation units, and what they give on test units.

The risk at a coverage that is read off the test set says how good the best threshold would have been. A user has to
choose the threshold beforehand, and gets the risk and the coverage below.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import betaincinv

from failpred_jax.errors import UserError
from failpred_jax.metrics.curves import ThresholdCounts, threshold_counts
from failpred_jax.metrics.ranking import check_inputs
from failpred_jax.metrics.walk import STANDARD
from failpred_jax.metrics.weighted import has_grades
from failpred_jax.results import WorkingPoint
from failpred_jax.types import Array


def working_points(
    val_confidence: Array,
    val_correct: Array,
    confidence: Array,
    correct: Array,
    coverages: Sequence[float] = STANDARD.coverage,
    risks: Sequence[float] = STANDARD.risk,
    level: float = 0.95,
) -> tuple[WorkingPoint, ...]:
    """Choose thresholds on validation units and measure them on test units.

    Args:
      val_confidence: [M] of any real type, higher means more confident.
      val_correct: [M] bool.
      confidence: [N], of the same score.
      correct: [N] bool, or float grades in [0, 1], whose risk is 1 - grade and has no interval.
      coverages: shares of the units to accept, in (0, 1].
      risks: shares of errors to allow among the accepted, in (0, 1).
      level: of the intervals, in (0, 1).

    Returns:
      One WorkingPoint for each coverage, then one for each risk.

    Raises:
      UserError: there is no validation or no test unit, or a confidence is NaN.

    Reference: El-Yaniv & Wiener, JMLR 2010 (selective risk and coverage); Clopper & Pearson, Biometrika 1934.
    """
    if not np.size(val_correct) or not np.size(correct):
        raise UserError('there is no validation unit or no test unit; working points need some of both')
    on_val = threshold_counts(np.asarray(val_confidence), np.asarray(val_correct))
    graded = has_grades(correct)
    if not graded:
        _, correct, _ = check_inputs(confidence, correct, None)
    confidence, lost = np.asarray(confidence).ravel(), 1.0 - np.asarray(correct, np.float64).ravel()
    if np.issubdtype(confidence.dtype, np.floating) and np.isnan(confidence).any():
        raise UserError(f'confidence holds {np.count_nonzero(np.isnan(confidence))} NaN; repair the score')
    points = [('coverage', target, _at_coverage(on_val, target)) for target in coverages]
    points += [('risk', target, _at_risk(on_val, target)) for target in risks]
    found = []
    for aim, target, row in points:
        threshold = np.inf if row is None else on_val.threshold[row]
        accepted = np.zeros(len(lost), bool) if row is None else confidence >= threshold
        count, errors = int(accepted.sum()), float(lost[accepted].sum())
        val_units, val_right = (0, 0) if row is None else (int(on_val.units[row]), float(on_val.correct[row]))
        found.append(
            WorkingPoint(
                aim,
                float(target),
                float(threshold),
                val_units / int(on_val.units[-1]),
                (val_units - val_right) / val_units if val_units else np.nan,
                count / len(lost),
                errors / count if count else np.nan,
                *binomial_interval(count, len(lost), level),
                *((np.nan, np.nan) if graded else binomial_interval(round(errors), count, level)),
            )  # fmt: skip
        )
    return tuple(found)


def _at_coverage(counts: ThresholdCounts, target: float) -> int:
    """Return the row of the largest threshold that accepts at least this share."""
    # Read to nine decimals, so that 0.8 of 10 is 8.
    return int(np.argmax(counts.units >= np.ceil(round(target * int(counts.units[-1]), 9))))


def _at_risk(counts: ThresholdCounts, target: float) -> int | None:
    """Return the row of the smallest threshold whose accepted units have at most this share of errors, or None."""
    good = np.flatnonzero(counts.units - counts.correct <= target * counts.units + 1e-9)
    return int(good[-1]) if len(good) else None


def binomial_interval(count: int, total: int, level: float) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share, (NaN, NaN) for no trial.

    Reference: Clopper & Pearson, Biometrika 1934.
    """
    if not total:
        return np.nan, np.nan
    tail = (1 - level) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return low, high
