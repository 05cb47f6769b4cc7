"""Shares of units: how many are accepted for certain, how many can be reviewed, and what error rate that leaves."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from failpred_jax.calibrate.checks import between_0_and_1, confidence_units
from failpred_jax.calibrate.selective import risk_upper_bound
from failpred_jax.decide.binomial import share_interval
from failpred_jax.decide.certificate import Number
from failpred_jax.decide.risks import impossible_share
from failpred_jax.errors import UserError
from failpred_jax.types import Array


@dataclass(frozen=True)
class Floor:
    """A threshold that was chosen for its coverage, and the error rate that goes with it.

    Attributes:
      threshold: accept where `confidence > threshold`; -inf accepts everything.
      coverage: promised share of new units that is accepted, with probability at least 1 - delta.
      risk_bound: the error rate among accepted new units is at most this, with probability at least 1 - delta.
      num_units: calibration units.
      num_accepted: those of them over the threshold.
      num_errors: errors among these.
      delta: of each of the two promises; both hold together at twice that.
    """

    threshold: Number
    coverage: float
    risk_bound: float
    num_units: int
    num_accepted: int
    num_errors: int
    delta: float


def threshold_for_coverage(confidence: Array, correct: Array, coverage: float, delta: float = 0.05) -> Floor:
    """Return the strictest threshold that accepts a share `coverage` of new units with probability 1 - delta or more.

    The k-th highest of N confidences cuts off a share of new units that follows Beta(k, N - k + 1); the smallest k that
    will do is taken. Ties only add to what is accepted.

    Args:
      confidence: [N] of any real type.
      correct: [N] bool (or 0 and 1).
      coverage: in (0, 1).
      delta: in (0, 1).

    Raises:
      UserError: what is given is not what it should be, or there are too few units for the promise.

    Reference: Wilks, Annals of Mathematical Statistics 1941 (tolerance limits); Clopper & Pearson 1934 for the bound.
    """
    between_0_and_1(coverage=coverage, delta=delta)
    confidence, correct = confidence_units(confidence, correct, is_finite=False)
    num_units = len(confidence)
    sizes = np.arange(1, num_units + 1)
    enough = betaincinv(sizes, num_units - sizes + 1, delta) >= coverage
    if not enough.any():
        needed = math.ceil(math.log(delta) / math.log(coverage) - 1e-9)
        raise UserError(
            f'a coverage of {coverage:g} cannot be promised at delta = {delta:g} with {num_units:,} calibration units, '
            f'unless everything is accepted: it needs {needed:,}'
        )
    return _floor(confidence, correct, int(sizes[enough][0]), coverage, delta)


def threshold_for_budget(confidence: Array, correct: Array, budget: float, delta: float = 0.05) -> Floor:
    """Return the threshold that hands at most a share `budget` of new units to reviewers, and the risk that leaves.

    A budget and a promised error rate cannot both be chosen: this keeps the budget, and `risk_bound` is what yields.
    Arguments and errors as in `threshold_for_coverage`, whose coverage is 1 - budget.
    """
    between_0_and_1(budget=budget)
    return threshold_for_coverage(confidence, correct, 1 - budget, delta)


def _floor(confidence: np.ndarray, correct: np.ndarray, size: int, coverage: float, delta: float) -> Floor:
    num_units = len(confidence)
    lowest = np.sort(confidence)[num_units - size]
    below = confidence[confidence < lowest]
    threshold = below.max().item() if len(below) else -math.inf
    accepted = confidence >= lowest
    num_accepted, num_errors = int(accepted.sum()), int((accepted & ~correct).sum())
    bound = risk_upper_bound(num_errors, num_accepted, delta)
    return Floor(threshold, coverage, bound, num_units, num_accepted, num_errors, delta)


def accepted_share(confidence: Array, threshold: Number, delta: float = 0.05) -> float:
    """Return a share of new units that a threshold accepts at least, with probability 1 - delta or more.

    It holds for all thresholds at once, so also for one that these units chose.

    Args:
      confidence: [N] of any real type, of the calibration units.
      threshold: accept where `confidence > threshold`.
      delta: in (0, 0.5].

    Reference: Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", Annals of Probability 1990,
      corollary 1.
    """
    confidence = np.asarray(confidence)
    if threshold == -math.inf:
        return 1.0
    share = float(np.mean(confidence > threshold))
    return max(0.0, share - math.sqrt(math.log(1 / delta) / (2 * len(confidence))))


def least_rejected(correct: Array, risk: float, level: float = 0.95) -> tuple[float, float]:
    """Return what any score must reject for an error rate of `risk`: of these units, and at least of new ones.

    Args:
      correct: [N] bool.
      risk: in (0, 1).
      level: with this probability or more the second is no more than what new units need.

    Returns:
      (share by the error rate of these units, share by the lower end of its exact interval).
    """
    between_0_and_1(risk=risk, level=level)
    correct = np.asarray(correct, bool)
    num_errors, num_units = int((~correct).sum()), correct.size
    low, _ = share_interval(num_errors, num_units, 2 * level - 1 if level > 0.5 else level)
    return impossible_share(num_errors / num_units, risk), impossible_share(low, risk)
