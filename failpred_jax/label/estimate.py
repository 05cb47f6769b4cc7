"""What the labels of an audit say: an unbiased error rate, with an interval that holds where errors are few.

The estimate is the mean of what the model expects of every unit, corrected by what the labels say:

  mean(q) + sum over labeled units of (wrong - q) / inclusion / N,     q = 1 - P(correct)

which is unbiased whatever the confidence is worth. Its usual interval (estimate +- z s) is far too narrow where errors
are few: of a confident error that was not drawn, the sample's variance knows nothing. So the interval holds every rate
theta that the estimate does not contradict, where its variance is the larger one of

- the sample's (Horvitz & Thompson), and
- that of a population with the error rate theta, whose logits of q are those of the model, shifted to give theta and
  flattened as far as the labels allow: by the lower confidence bound of the slope of a logistic regression of the
  errors on the model's logits. An overconfident model has confident errors, and this is how it is found out. Some
  errors stray, whatever the confidence says (a label is wrong, an image is damaged): a share of all units is taken to
  be the other way round, as many as in the labels and a prior for those that were not drawn.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit, ndtri

from failpred_jax.decide.binomial import share_interval
from failpred_jax.errors import UserError

# The bound of the slope is one-sided, at 90 %; and before any label the slope is 1, give or take a half.
_SLOPE_Z, _SLOPE_PRIOR = 1.2816, 0.5
_FLATTEST = 0.02
# Before any label, as if one of so many had strayed.
_STRAY_PRIOR = 200
# Probabilities of an error are kept within this of 0 and 1; units are counted at so many levels per unit of logit.
_CLIP, _LEVELS = 1e-6, 25
_SHIFTS = np.linspace(-30, 30, 241)
# Error rates that are tried: denser where they are small.
_RATES = np.linspace(0, 1, 4001) ** 2


class Estimate(NamedTuple):
    """An error rate, estimated from few labels.

    Attributes:
      value: the estimate, in [0, 1].
      low, high: its interval.
      labels: labeled units behind it.
      errors: wrong predictions among them; their share is no estimate, since the sample is not uniform.
      units: of the pool, that it is about.
      uniform_width: of the exact interval that a uniform sample of as many labels would have at this error rate.
      slope: of the errors on the model's logits: 1 where the confidence is calibrated, below it where it is
        overconfident.
    """

    value: float
    low: float
    high: float
    labels: int
    errors: int
    units: int
    uniform_width: float
    slope: float


def estimate_mean(
    wrong: np.ndarray,
    rows: np.ndarray,
    p_correct: np.ndarray,
    inclusion: np.ndarray,
    inside: np.ndarray | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the error rate of a pool, or of a part of it, from the labels of an audit.

    Args:
      wrong: [n] bool, whether the prediction of each labeled unit is wrong.
      rows: [n] int, their places in the pool.
      p_correct: [N] float64 in [0, 1], what the model says of each unit of the pool.
      inclusion: [N] float64 in (0, 1], the probability with which each unit was drawn.
      inside: [N] bool, the units that the rate is of, known before any label; None for all.
      level: of the interval.

    Raises:
      UserError: there are no such units, or no label.

    Reference: Zrnic & Candes, "Active statistical inference", ICML 2024, eq. (4); Sarndal, Swensson & Wretman, "Model
      assisted survey sampling", 1992, section 6.3 (difference estimator); the interval inverts a score test, as
      Wilson's does for a share (JASA 1927).
    """
    if not len(rows):
        raise UserError('there is no label to estimate from')
    part = np.ones(len(p_correct), bool) if inside is None else inside
    num_units = int(part.sum())
    if not num_units:
        raise UserError('there are no units to estimate the error rate of')
    q = np.clip(1 - p_correct, _CLIP, 1 - _CLIP)
    slope, spread = fit_slope(logit(q[rows]), wrong)
    stray = stray_share(q[rows], wrong)
    counted = part[rows]
    rows, wrong = rows[counted], wrong[counted]
    drawn = (wrong - q[rows]) / inclusion[rows]
    value = float(q[part].mean() + drawn.sum() / num_units)
    sampled = len(rows) / max(len(rows) - 1, 1) * float(np.sum((1 - inclusion[rows]) * drawn**2)) / num_units**2
    flat = float(np.clip(slope - _SLOPE_Z * spread, _FLATTEST, 1))
    rates, variances = _variance_by_rate(q[part], inclusion[part], flat, stray)
    z = float(ndtri((1 + level) / 2))
    allowed = z**2 * np.maximum(np.interp(_RATES, rates, variances), sampled)
    low, high = _ends((_RATES - value) ** 2 - allowed)
    value = min(max(value, 0.0), 1.0)
    expected = share_interval(round(value * len(rows)), len(rows), level) if len(rows) else (0.0, 1.0)
    return Estimate(
        value,
        min(low, value),
        max(high, value),
        len(rows),
        int(wrong.sum()),
        num_units,
        expected[1] - expected[0],
        slope,
    )


def fit_slope(logits: np.ndarray, wrong: np.ndarray) -> tuple[float, float]:
    """Return the slope of a logistic regression of errors [n] on logits [n] of their probability, and its deviation.

    How units were drawn does not matter to it, since that depends on the logits alone. A prior keeps it finite where
    the errors are few or separable.
    """
    columns = np.stack([np.ones(len(logits)), logits], axis=1)
    prior, center, found = np.diag([0.01, 1 / _SLOPE_PRIOR**2]), np.array([0.0, 1.0]), np.array([0.0, 1.0])
    information = prior
    for _ in range(100):
        p = expit(columns @ found)
        information = (columns * (p * (1 - p))[:, None]).T @ columns + prior
        step = np.linalg.solve(information, columns.T @ (wrong - p) - prior @ (found - center))
        found = found + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return float(found[1]), float(np.sqrt(np.linalg.inv(information)[1, 1]))


def stray_share(q: np.ndarray, wrong: np.ndarray) -> float:
    """Return of which share of units an error has nothing to do with its probability q [n], by errors wrong [n].

    What errors there are more than q says, each counted by how sure it was (1 - 2 q)^2, with a prior of one in
    _STRAY_PRIOR; at most 1/2.
    """
    sure = (1 - 2 * q) ** 2
    return min(0.5, float((1 + max(0.0, sure @ (wrong - q))) / (_STRAY_PRIOR + sure.sum())))


def _variance_by_rate(q: np.ndarray, inclusion: np.ndarray, flat: float, stray: float) -> tuple[np.ndarray, np.ndarray]:
    """Return error rates, rising, and the estimate's variance in a population of each.

    An error has the probability expit(flat logit(q) + shift), and of a share of all units it is the other way round.
    Units of almost the same logit are counted together, which makes two million as quick as two thousand.
    """
    level, of = np.unique(np.round(logit(q) * _LEVELS).astype(np.int64), return_inverse=True)
    count = np.bincount(of)
    weight = np.bincount(of, (1 - inclusion) / inclusion) / len(q) ** 2
    at, share = level / _LEVELS, count / len(q)
    mean = expit(at)
    expected = expit(flat * at[None] + _SHIFTS[:, None])
    expected = expected + stray * (1 - 2 * expected)
    rates = expected @ share
    variances = (expected * (1 - mean) ** 2 + (1 - expected) * mean**2) @ weight
    return rates, variances


def _ends(over: np.ndarray) -> tuple[float, float]:
    """Return the ends of the interval of rates where `over` is 0 or less; where there are none, the nearest rate."""
    inside = np.flatnonzero(over <= 0)
    if not len(inside):
        nearest = float(_RATES[int(np.argmin(over))])
        return nearest, nearest

    def crossing(outer: int, inner: int) -> float:
        if not 0 <= outer < len(_RATES):
            return float(_RATES[inner])
        part = over[outer] / (over[outer] - over[inner])
        return float(_RATES[outer] + part * (_RATES[inner] - _RATES[outer]))

    return crossing(inside[0] - 1, inside[0]), crossing(inside[-1] + 1, inside[-1])
