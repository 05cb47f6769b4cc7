"""The limit of strangeness that calibration units set, and the laws of what new units then do."""

import math

import numpy as np
from scipy.special import betaincinv, betaln


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

    It follows Beta(N + 1 - l, l), l = floor((N + 1) alpha), where no strangeness ties and nothing else enters a set.
    Ties (`ties_at_limit`) and a class that is in every set only raise it: mean and low end then are bounds from below,
    and the high end says nothing.

    Reference: Vovk, "Conditional validity of inductive conformal predictors", ACML 2012; Angelopoulos & Bates, 2021,
      section 3.2.
    """
    rank = conformal_rank(num_units, alpha)
    if not rank:
        return 1.0, 1.0, 1.0
    low, high = (float(betaincinv(num_units + 1 - rank, rank, q)) for q in ((1 - level) / 2, (1 + level) / 2))
    return (num_units + 1 - rank) / (num_units + 1), low, high


def ties_at_limit(strange: np.ndarray, alpha: float) -> bool:
    """Return whether the strangeness [N] of true labels ties where limits may lie, in all but one of 1,000 draws."""
    _, low, high = coverage_law(len(strange), alpha, 0.999)
    around = np.sort(strange)[math.floor(low * len(strange)) : math.ceil(high * len(strange))]
    return bool((around[1:] == around[:-1]).any())


def missed_by_chance(num_units: int, alpha: float, num_new: int) -> np.ndarray:
    """Return the probability that at most j of so many new units lie over the limit: [num_new + 1] float64, j rising.

    Both draws count, that of the calibration units and that of the new ones. As all N + M of them may come in any
    order, the number over the l-th greatest of the N is beta-binomial with (M, l, N + 1 - l), l = floor((N + 1) alpha).
    It is 0 for certain where N is too small for any limit, and where strangeness ties, it is no greater.

    Reference: Marques, "Universal distribution of the empirical coverage in split conformal prediction", arXiv
      2303.02770.
    """
    rank = conformal_rank(num_units, alpha)
    if not rank:
        return np.ones(num_new + 1)
    missed = np.arange(num_new + 1.0)
    # Binomial coefficient times a quotient of beta functions; what does not depend on j is divided out.
    log = betaln(missed + rank, num_new - missed + num_units + 1 - rank) - betaln(missed + 1, num_new - missed + 1)
    rising = np.cumsum(np.exp(log - log.max()))
    return rising / rising[-1]
