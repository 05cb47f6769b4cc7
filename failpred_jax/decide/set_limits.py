"""The limit of strangeness that calibration units set, and the law that the true coverage then follows."""

import math

import numpy as np
from scipy.special import betaincinv


def conformal_rank(num_units: int, alpha: float) -> int:
    """Return l = floor((N + 1) alpha): the limit is the l-th greatest strangeness; 0 where N is too small for any."""
    # A rank that rounding puts a hair below an integer would cost a unit.
    return math.floor((num_units + 1) * alpha + 1e-9)


def least_units(alpha: float) -> int:
    """Return the fewest units with which a class can be left out of a set: 19 at alpha = 0.05."""
    return math.ceil(1 / alpha - 1e-9) - 1


def conformal_limit(strange: np.ndarray, alpha: float) -> float:
    """Return the l-th greatest of the strangeness [N] of true labels, or inf where there are too few units."""
    rank = conformal_rank(len(strange), alpha)
    return float(np.partition(strange, len(strange) - rank)[len(strange) - rank]) if rank else math.inf


def coverage_law(num_units: int, alpha: float, level: float = 0.9) -> tuple[float, float, float]:
    """Return (mean, low, high) of the true coverage over draws of so many calibration units.

    It follows Beta(N + 1 - l, l), l = floor((N + 1) alpha), where no strangeness ties; ties only raise it.

    Reference: Vovk, "Conditional validity of inductive conformal predictors", ACML 2012; Angelopoulos & Bates, 2021,
      section 3.2.
    """
    rank = conformal_rank(num_units, alpha)
    if not rank:
        return 1.0, 1.0, 1.0
    low, high = (float(betaincinv(num_units + 1 - rank, rank, q)) for q in ((1 - level) / 2, (1 + level) / 2))
    return (num_units + 1 - rank) / (num_units + 1), low, high
