"""Costs instead of rates: Chow's rule with a reviewer who errs, and an expected cost that is promised."""

import math
from dataclasses import dataclass

import numpy as np

from failpred_jax.calibrate.checks import between_0_and_1, confidence_units
from failpred_jax.decide.binomial import mean_p_value
from failpred_jax.decide.certificate import Certificate, nothing
from failpred_jax.decide.sequence import last_passed
from failpred_jax.errors import UserError
from failpred_jax.types import Array


@dataclass(frozen=True)
class Costs:
    """What decisions cost, in any unit.

    Attributes:
      error: an error that nobody catches; greater than 0.
      review: handing a unit to a reviewer; 0 or greater.
      reviewer_error: the probability that the reviewer errs as well; at least 0 and less than 1.

    Raises:
      UserError: one of them is outside.
    """

    error: float
    review: float
    reviewer_error: float = 0.0

    def __post_init__(self) -> None:
        if not (self.error > 0 and math.isfinite(self.error)):
            raise UserError(f'the cost of an error is {self.error:g}; it must be greater than 0')
        if not (self.review >= 0 and math.isfinite(self.review)):
            raise UserError(f'the cost of a review is {self.review:g}; it must be 0 or greater')
        if not 0 <= self.reviewer_error < 1:
            raise UserError(
                f"the reviewer's error rate is {self.reviewer_error:g}; it must be at least 0 and less than 1"
            )

    @property
    def of_review(self) -> float:
        """The expected cost of a unit that is reviewed."""
        return self.review + self.reviewer_error * self.error

    def of_decisions(self, accepted: np.ndarray, correct: np.ndarray) -> np.ndarray:
        """Return the expected cost of each unit: [...] bool, [...] bool -> [...] float64."""
        return np.where(accepted, np.where(correct, 0.0, self.error), self.of_review)


def chow_threshold(costs: Costs) -> float:
    """Return the P(correct) from which accepting is at least as cheap as a review; 0 where a review never pays.

    A unit is escalated where (1 - p) c_error > c_review + h c_error, h the reviewer's error rate. What comes out is
    cheapest on average where P(correct) is calibrated; it is no promise.

    Reference: Chow, "On optimum recognition error and reject tradeoff", IEEE Transactions on Information Theory 1970.
    """
    return max(0.0, 1 - costs.of_review / costs.error)


def certify_cost(
    confidence: Array, correct: Array, costs: Costs, limit: float, thresholds: Array, delta: float = 0.05
) -> Certificate:
    """Return the threshold of largest coverage, of some fixed beforehand, whose expected cost per unit is promised.

    With probability at least 1 - delta over the draw of the calibration units, the expected cost of a new unit is at
    most `limit`. The cost falls and rises again as more is accepted, so thresholds are tested in the order in which
    they are given, up to the first that fails: begin with that of least cost on other units, go on to looser ones.

    Args:
      confidence: [N] of any real type.
      correct: [N] bool (or 0 and 1).
      costs: of an error and of a review.
      limit: the promised cost per unit; greater than 0.
      thresholds: [J] in the order of testing, fixed without these units.
      delta: in (0, 1).

    Raises:
      UserError: what is given is not what it should be.

    Reference: Angelopoulos et al., "Learn then test", 2025, section 3; Bates et al., JACM 2021, section 3.1.1.
    """
    between_0_and_1(delta=delta)
    if not limit > 0:
        raise UserError(f'the promised cost is {limit:g}; it must be greater than 0')
    confidence, correct = confidence_units(confidence, correct, is_finite=False)
    thresholds = np.asarray(thresholds)
    num_units, highest = len(confidence), max(costs.error, costs.of_review)
    accepted = confidence[:, None] > thresholds
    mean = costs.of_decisions(accepted, correct[:, None]).mean(axis=0)
    if limit >= highest:
        passes = np.ones(len(thresholds), bool)
    else:
        passes = mean_p_value(mean / highest, num_units, limit / highest) <= delta
    chosen = int(last_passed(passes, np.ones(len(thresholds), bool)))
    if chosen < 0:
        reason = (
            f'not certified: the units cost {mean[0]:.4g} each at the first threshold, which is not far enough below '
            f'{limit:g} for {num_units:,} units'
        )
        return nothing('cost', limit, delta, num_units, reason)
    return Certificate(
        'cost',
        thresholds[chosen].item(),
        limit,
        delta,
        num_units,
        int(accepted[:, chosen].sum()),
        int((accepted[:, chosen] & ~correct).sum()),
    )


def cost_order(confidence: Array, correct: Array, costs: Costs, num_thresholds: int = 50) -> np.ndarray:
    """Return thresholds for `certify_cost` from other units: that of least cost first, then looser ones.

    Args:
      confidence: [N] of any real type, of units that are not the calibration units.
      correct: [N] bool.
      costs: of an error and of a review.
      num_thresholds: the most that are returned.

    Returns:
      [J] of the confidence's type, falling, with -inf (everything is accepted) at the end of floating ones.
    """
    confidence, correct = confidence_units(confidence, correct, is_finite=False)
    falling = np.unique(np.quantile(confidence, np.linspace(0, 1, num_thresholds), method='nearest'))[::-1]
    cost = costs.of_decisions(confidence[:, None] > falling, correct[:, None]).mean(axis=0)
    falling = falling[int(np.argmin(cost)) :]
    return np.append(falling, falling.dtype.type(-np.inf)) if falling.dtype.kind == 'f' else falling
