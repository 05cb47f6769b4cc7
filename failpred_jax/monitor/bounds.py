"""Bounds on what calibration units say of all units: of a mean in [0, 1], and of a share."""

import math

import numpy as np
from scipy.special import betaincinv

# A gambler keeps a tenth of the wealth, whatever a value is.
_MOST = 0.9
# What is taken for the mean and the variance of an error probability before any was seen: it steers the first bets
# only.
_MEAN, _VARIANCE = 0.05, 0.01
_BISECTIONS = 30


def mean_upper_bound(values: np.ndarray, delta: float, seed: int = 0) -> float:
    """Return a bound that the mean of independent values in [0, 1] exceeds with probability at most delta.

    A mean is ruled out if a gambler who bets on lower values ever becomes 1 / delta times as rich. The bets follow how
    little the values vary, so the bound is far below Hoeffding's.

    Args:
      values: [N] float64 in [0, 1].
      delta: in (0, 1).
      seed: of the order in which the values are bet on, which the bound depends on a little.

    Reference: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024, section 4.
    """
    values = np.random.default_rng([seed, 11]).permutation(np.asarray(values, np.float64))
    if not len(values) or values.min() >= 1:
        return 1.0
    bets = _bets(values, delta)
    # The wealth rises with the mean that is tried, so all above one that is ruled out are ruled out too.
    low, high = float(values.mean()), 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        wealth = np.cumsum(np.log1p(np.minimum(bets, _MOST / (1 - middle)) * (middle - values)))
        low, high = (low, middle) if wealth.max() >= -math.log(delta) else (middle, high)
    return high


def _bets(values: np.ndarray, delta: float) -> np.ndarray:
    """Return what is bet on each of values [N], by those before it: [N] float64, 0 or greater."""
    seen = np.arange(2, len(values) + 2)
    mean = (_MEAN + np.cumsum(values)) / seen
    variance = (_VARIANCE + np.cumsum((values - mean) ** 2)) / seen
    before = np.concatenate([[_VARIANCE], variance[:-1]])
    return np.sqrt(-2 * math.log(delta) / (len(values) * before))


def share_upper_bound(count: int, num_units: int, delta: float) -> float:
    """Return the Clopper-Pearson bound: the true share is at most this with probability at least 1 - delta."""
    if count >= num_units:
        return 1.0
    return float(betaincinv(count + 1, num_units - count, 1 - delta))


def share_interval(count: int, num_units: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a share; (0, 1) of no units.

    The same as `decide.binomial.share_interval`, which needs JAX, as monitoring does not.

    Reference: Clopper & Pearson, Biometrika 1934.
    """
    if not num_units:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = float(betaincinv(count, num_units - count + 1, tail)) if count else 0.0
    return low, share_upper_bound(count, num_units, tail)
