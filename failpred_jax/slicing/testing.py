"""Exact tests of slices, corrected for how many there are."""

import numpy as np
from scipy.special import betainc
from scipy.stats import hypergeom


def more_than(errors: np.ndarray | int, units: np.ndarray | int, rate: float) -> np.ndarray:
    """Return the p-value of so many errors or more among so many units where each is wrong with this rate: [...]."""
    errors = np.asarray(errors, np.float64)
    # The tail itself: 1 less the rest of the distribution would be 0 below 1e-16, and wrong well above it.
    tail = betainc(np.maximum(errors, 1), np.maximum(units - errors + 1, 1), rate)
    return np.where(errors <= 0, 1.0, np.where(errors > units, 0.0, tail))


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
