"""Ranking metrics of units that count as much as they are worth, or are right by a share: plain NumPy, many at once.

The walk (walk.py) counts units; here a unit has any weight, and may be right in part. Units come as sums at levels of
falling confidence, with any leading axes: one row is a resample, a slice, or the data themselves. At whole weights and
with units that are right or wrong, the values are those of the walk.
"""

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.metrics.failure import fpr_name
from failpred_jax.metrics.ranking import names
from failpred_jax.metrics.selective import coverage_name, risk_name
from failpred_jax.metrics.walk import STANDARD, Points
from failpred_jax.registry import METRICS
from failpred_jax.types import Array

# Two sums that differ by less than this share of the whole are equal up to rounding.
ROUNDING = 1e-9
# Of the largest weight, as a power of 2, up to which weights are taken in their own unit.
_MOST_EXPONENT = 100
# Why a metric has no value for grades.
UNGRADED = 'undefined: it needs right or wrong, and correct holds grades (right_at=0.5 makes them right or wrong)'


def is_graded(correct: np.ndarray) -> bool:
    """Return whether `correct` holds grades between 0 and 1, and not only what is right or wrong."""
    correct = np.asarray(correct)
    return correct.dtype.kind == 'f' and not bool(((correct == 0) | (correct == 1)).all())


def has_grades(correct: Array) -> bool:
    """Return `is_graded`, and whether all are within [0, 1]."""
    found = np.asarray(correct)
    return is_graded(found) and bool(((found >= 0) & (found <= 1)).all())


def graded_names(points: Points = STANDARD) -> tuple[str, ...]:
    """Return the ranking metrics that have a meaning for grades: those of a mean risk, the risk being 1 - grade."""
    operating = {*map(risk_name, points.coverage), *map(coverage_name, points.risk)}
    has_grades = {name for name in METRICS if METRICS[name].has_grades}
    return tuple(name for name in names(points) if name in operating | has_grades)


def weighted_values(right: np.ndarray, wrong: np.ndarray, points: Points = STANDARD) -> dict[str, np.ndarray]:
    """Return every failure and selective metric from sums at levels of falling confidence.

    Args:
      right: [..., L] float64, weight of what is right at each level: sum of weight x grade.
      wrong: [..., L] float64, sum of weight x (1 - grade).
      points: operating points.

    Returns:
      {name: [...] float64}, NaN where undefined. Of grades, only those of `graded_names` mean anything, and 'e_aurc'
      needs `best_graded_aurc`.

    Reference: as each metric in METRICS, with sums of weights for counts, as scikit-learn's `sample_weight`.
    """
    units = right + wrong
    all_right, all_units = np.cumsum(right, axis=-1), np.cumsum(units, axis=-1)
    all_wrong = np.maximum(all_units - all_right, 0)
    total, total_right, total_wrong = (sums[..., -1:] for sums in (all_units, all_right, all_wrong))
    right_above, wrong_above, units_above = all_right - right, np.maximum(all_wrong - wrong, 0), all_units - units
    risk = _ratio(all_wrong, all_units)
    # The first risk is carried to coverage 0.
    risk_above = np.where(units_above > ROUNDING * total, _ratio(wrong_above, units_above), risk)
    some, any_right, any_wrong = (sums[..., 0] > 0 for sums in (total, total_right, total_wrong))
    n, r, w = (sums[..., 0] for sums in (total, total_right, total_wrong))
    aurc = _ratio((units * (risk + risk_above)).sum(axis=-1), 2 * n)
    error_rate = _ratio(w, n)
    kept = 1 - error_rate
    found = {
        'accuracy': _where(some, _ratio(r, n)),
        'num_errors': w,
        'auroc': _where(any_right & any_wrong, _ratio((wrong * (all_right + right_above)).sum(axis=-1), 2 * r * w)),
        'aupr_success': _where(any_right, _ratio((right * _ratio(all_right, all_units)).sum(axis=-1), r)),
        'aupr_error': _where(
            any_wrong, _ratio((wrong * _ratio(total_wrong - wrong_above, total - units_above)).sum(axis=-1), w)
        ),
    }
    for tpr in points.tpr:
        at = _first(all_right >= tpr * total_right * (1 - ROUNDING))
        found[fpr_name(tpr)] = _where(any_right & any_wrong, _ratio(_take(all_wrong, at), w))
    found['aurc'] = _where(some, aurc)
    found['e_aurc'] = _where(some, aurc - (error_rate + kept * np.log(np.where(kept > 0, kept, 1))))
    found['augrc'] = _where(some, _ratio((units * (all_wrong + wrong_above)).sum(axis=-1), 2 * n * n))
    for coverage in points.coverage:
        at = _first(all_units >= coverage * total * (1 - ROUNDING))
        found[risk_name(coverage)] = _where(some, _take(risk, at))
    for level in points.risk:
        good = (all_wrong <= level * all_units + ROUNDING * total) & (units > 0)
        found[coverage_name(level)] = _where(some, _ratio(np.where(good, all_units, 0).max(axis=-1), n))
    return found


def best_graded_aurc(weight: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """Return the AURC of ordering units by their grades, in the limit of many units with the same grades.

    Args:
      weight: [..., L] float64, weight of the units at each level of rising risk.
      risk: [..., L] float64, their mean risk.

    Returns:
      [...] float64. With risks of 0 and 1 it is e + (1 - e) ln(1 - e), as E-AURC has it.

    Reference: Geifman, Uziel & El-Yaniv, ICLR 2019, "E-AURC": the integral of the selective risk of the best ranking.
    """
    lost = weight * risk
    above, lost_above = np.cumsum(weight, axis=-1) - weight, np.cumsum(lost, axis=-1) - lost
    # Within a level, the risk at coverage above + t is (lost_above + risk t) / (above + t).
    grows = np.log1p(_ratio(weight, above))
    area = (risk * weight + np.where(above > 0, (lost_above - risk * above) * grows, 0)).sum(axis=-1)
    return _ratio(area, weight.sum(axis=-1))


def in_range(weight: np.ndarray) -> np.ndarray:
    """Return weights [N] float64 in another unit where products of theirs would leave float64.

    No figure depends on the unit but 'num_errors', their sum over what is wrong. The factor is a power of 2, which
    changes no digit.
    """
    exponent = int(np.frexp(weight.max(initial=0))[1])
    return weight if abs(exponent) <= _MOST_EXPONENT else np.ldexp(weight, -exponent)


def falling_levels(confidence: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the place [N] of each unit among the distinct confidences, the highest being 0, and how many there are."""
    distinct, place = np.unique(confidence, return_inverse=True)
    return (len(distinct) - 1 - place.reshape(-1)).astype(np.int64), len(distinct)


def values_of_units(
    confidence: np.ndarray, correct: np.ndarray, weight: np.ndarray | None = None, points: Points = STANDARD
) -> dict[str, float]:
    """Return the metrics of units that have weights, or grades.

    Args:
      confidence: [N] of any real type, ranked exactly.
      correct: [N] bool, or float grades in [0, 1].
      weight: [N] float64 >= 0, or None for 1 each; their unit does not matter (`in_range`).
      points: operating points.

    Returns:
      {name: float}: every failure and selective metric; of grades, those of `graded_names`.

    Raises:
      UserError: a confidence is NaN.
    """
    confidence, correct = np.asarray(confidence), np.asarray(correct)
    if not ((correct >= 0) & (correct <= 1)).all():
        raise UserError('correct holds values outside [0, 1]; give truth values, or grades from 0 to 1')
    if confidence.dtype.kind == 'f' and np.isnan(confidence).any():
        raise UserError(
            f'confidence holds {int(np.isnan(confidence).sum())} NaN among {confidence.size} values; a ranking needs '
            'numbers (infinities are allowed): repair the score, or mask those units'
        )
    grade = correct.astype(np.float64)
    weight = np.ones(len(grade)) if weight is None else in_range(weight)
    level, count = falling_levels(confidence)
    right, wrong = (np.bincount(level, values, count) for values in (weight * grade, weight * (1 - grade)))
    found = {name: float(value) for name, value in weighted_values(right, wrong, points).items()}
    if not is_graded(correct):
        return found
    place, num_grades = falling_levels(grade)
    of_grade = np.bincount(place, weight, num_grades)
    best = best_graded_aurc(of_grade, 1 - np.unique(grade)[::-1])
    found['e_aurc'] = found['aurc'] - float(best)
    return {name: found[name] for name in graded_names(points)}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, 0 where the whole is 0."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)


def _where(defined: np.ndarray, value: np.ndarray) -> np.ndarray:
    return np.where(defined, value, np.nan)


def _first(reached: np.ndarray) -> np.ndarray:
    """Return the first level at which something is reached; the last, if rounding hides it."""
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1), reached.shape[-1] - 1)


def _take(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, at[..., None], axis=-1)[..., 0]
