"""Exact tests of slices, corrected for how many there are."""

import numpy as np
from scipy.stats import hypergeom

from failpred_jax.decide.binomial import at_most


def more_than(errors: np.ndarray | int, units: np.ndarray | int, rate: float) -> np.ndarray:
    """Return the p-value of so many errors or more among so many units where each is wrong with this rate: [...]."""
    found = 1 - at_most(np.asarray(errors) - 1, units, rate)
    return np.clip(found, 0, 1)


def more_in_second(first: int, of_first: int, second: int, of_second: int) -> float:
    """Return the p-value of Fisher's exact test that the share `second / of_second` is no larger than the first one.

    Reference: Fisher, "The design of experiments", 1935, chapter 2.
    """
    return float(hypergeom.sf(second - 1, of_first + of_second, first + second, of_second))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values [M] adjusted by Holm's method: rejecting those up to alpha errs in any with probability alpha.

    Reference: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
    """
    order = np.argsort(p_values, kind='stable')
    steps = (len(p_values) - np.arange(len(p_values))) * p_values[order]
    found = np.empty(len(p_values))
    found[order] = np.minimum(1, np.maximum.accumulate(steps))
    return found
