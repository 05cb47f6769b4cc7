"""A certified threshold, and what was seen where it was certified."""

import math
from dataclasses import dataclass

import numpy as np

Number = int | float


@dataclass(frozen=True)
class Certificate:
    """A threshold with a promise, or the reason why there is none.

    Attributes:
      kind: what is promised: 'selective', 'generalized', 'expected' or 'cost'.
      threshold: accept where `confidence > threshold`; -inf accepts everything; inf, nothing, where nothing is
        certified. An integer confidence has an integer threshold, which no float would hold exactly.
      target: the promised limit.
      delta: the promise fails with at most this probability over the draw of the calibration units; NaN for 'expected',
        which holds on average.
      num_units: calibration units.
      num_accepted: those of them over the threshold.
      num_errors: errors among these.
      reason: why nothing is certified; '' where something is.
      needs: the fewest units that could have done; 0 where something is certified.
    """

    kind: str
    threshold: Number
    target: float
    delta: float
    num_units: int
    num_accepted: int = 0
    num_errors: int = 0
    reason: str = ''
    needs: int = 0

    @property
    def is_certified(self) -> bool:
        """Whether there is a promise."""
        return not self.reason

    @property
    def coverage(self) -> float:
        """The share of the calibration units over the threshold."""
        return self.num_accepted / self.num_units if self.num_units else 0.0


def nothing(kind: str, target: float, delta: float, num_units: int, reason: str, needs: int = 0) -> Certificate:
    """Return a certificate of nothing, for a reason."""
    return Certificate(kind, math.inf, target, delta, num_units, reason=reason, needs=needs)


def accepts(confidence: np.ndarray, threshold: Number) -> np.ndarray:
    """Return what a threshold accepts: [N] bool."""
    if math.isinf(threshold):
        return np.full(len(confidence), threshold < 0)
    return confidence > threshold
