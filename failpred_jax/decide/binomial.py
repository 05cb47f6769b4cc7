"""Exact binomial statements about an error rate: tests, bounds, and how many units they need."""

import math

import numpy as np
from scipy.special import betainc, betaincinv

from failpred_jax.calibrate.selective import risk_upper_bound
from failpred_jax.types import Array


def units_needed(risk: float, delta: float) -> int:
    """Return how many units without an error show an error rate of at most `risk`: ceil(ln delta / ln(1 - risk)).

    With fewer, not even a perfect result would do: 59 for 5 %, 299 for 1 %, at delta = 0.05.
    """
    # A quotient that rounding puts a hair above an integer would ask for a unit too many.
    return max(1, math.ceil(math.log(delta) / math.log1p(-risk) - 1e-9))


def most_errors(num_units: Array | int, risk: float, delta: float) -> np.ndarray:
    """Return the largest number of errors among so many units that still shows an error rate of at most `risk`.

    It is the greatest c for which c errors or fewer have probability at most delta where the error rate is `risk`.

    Args:
      num_units: [...] int, 0 or greater.
      risk: in (0, 1).
      delta: in (0, 1).

    Returns:
      [...] int64; -1 where no number of errors would do, since there are fewer than `units_needed`.
    """
    num_units = np.asarray(num_units, np.int64)
    sizes, place = np.unique(num_units, return_inverse=True)
    # Halving: so many errors as `found` pass, so many as `fails` do not.
    found, fails = np.full(len(sizes), -1), sizes.copy()
    while (open_ones := fails - found > 1).any():
        middle = (found + fails) // 2
        passes = at_most(middle, sizes, risk) <= delta
        found = np.where(open_ones & passes, middle, found)
        fails = np.where(open_ones & ~passes, middle, fails)
    return found[place].reshape(num_units.shape)


def at_most(count: Array, num_units: Array | int, rate: float) -> np.ndarray:
    """Return the binomial probability of so many errors or fewer: [...] float64; 0 for fewer than none."""
    count, num_units = np.asarray(count, np.float64), np.asarray(num_units, np.float64)
    inside = np.clip(count, 0, np.maximum(num_units - 1, 0))
    found = betainc(np.maximum(num_units - inside, 1), inside + 1, 1 - rate)
    return np.where(count < 0, 0.0, np.where(count >= num_units, 1.0, found))


def share_interval(count: int, num_units: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a share: it covers with probability at least `level`.

    Reference: Clopper & Pearson, Biometrika 1934.
    """
    if num_units == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = float(betaincinv(count, num_units - count + 1, tail)) if count else 0.0
    return low, risk_upper_bound(count, num_units, tail)


def mean_p_value(mean: Array, num_units: int, limit: float) -> np.ndarray:
    """Return a p-value of the hypothesis that the mean of a loss in [0, 1] is over `limit`.

    Args:
      mean: [...] float, the mean loss of the units.
      num_units: independent units behind it.
      limit: in (0, 1).

    Reference: Bates, Angelopoulos, Lei, Malik & Jordan, "Distribution-free, risk-controlling prediction sets", JACM
      2021, section 3.1.1 (Hoeffding's and Bentkus' inequalities, the smaller of the two).
    """
    mean = np.asarray(mean, np.float64)
    low = np.clip(np.minimum(mean, limit), 1e-300, 1 - 1e-16)
    distance = low * np.log(low / limit) + (1 - low) * np.log((1 - low) / (1 - limit))
    hoeffding = np.exp(-num_units * distance)
    # Rounding must not lift a whole number of losses to the next one.
    bentkus = math.e * at_most(np.ceil(num_units * mean - 1e-9), num_units, limit)
    return np.where(mean >= limit, 1.0, np.minimum(1, np.minimum(hoeffding, bentkus)))
