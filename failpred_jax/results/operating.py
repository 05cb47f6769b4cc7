"""What a score gives at thresholds chosen on validation data, and within each predicted class."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WorkingPoint:
    """A threshold for one aim; accept where confidence >= threshold.

    Attributes:
      aim: 'coverage' (accept at least this share) or 'risk' (as many as possible with at most this share of errors).
      target: the share that was aimed at, in (0, 1).
      threshold: chosen on validation; infinite where no threshold reaches the risk, so that nothing is accepted. In
        metrics.json it is then left out, as are all values below that are NaN.
      val_coverage, val_risk: share accepted, and of those the share of errors, on validation; the risk is too good
        where it was the aim.
      coverage, risk: the same on test; the risk is NaN where nothing is accepted.
      coverage_low, coverage_high, risk_low, risk_high: exact binomial intervals of the test values, for independent
        units; NaN where there is no value, or the units are pixels, which are not independent.
    """

    aim: str
    target: float
    threshold: float = math.inf
    val_coverage: float = math.nan
    val_risk: float = math.nan
    coverage: float = math.nan
    risk: float = math.nan
    coverage_low: float = math.nan
    coverage_high: float = math.nan
    risk_low: float = math.nan
    risk_high: float = math.nan


@dataclass(frozen=True)
class ClassFailures:
    """How well each score finds the errors among the units predicted as one class.

    Attributes:
      classes: [K] the predicted classes, rising: all, or those with most errors where there are many.
      num_units: [K] units predicted as the class.
      num_errors: [K] of them, those predicted wrongly.
      scores: score -> metric -> [K] value; NaN where undefined. metrics.json has {class: value} instead, without these.
      note: what the figures rest on where it is not every class and unit, in a sentence; else ''.
    """

    classes: tuple[int, ...] = ()
    num_units: tuple[int, ...] = ()
    num_errors: tuple[int, ...] = ()
    scores: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    note: str = ''
