"""What was measured of parts of the units: those of one site, one scanner, one age; or of all of them, weighted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from failpred_jax.results.interval import Interval


@dataclass(frozen=True)
class SliceScore:
    """How well one score finds the errors of a slice.

    Attributes:
      metrics: metric -> value; NaN where undefined.
      intervals: metric -> interval, each for itself: not corrected for the number of slices.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Slice:
    """Some of the units.

    Attributes:
      by: the column that tells them apart; 'weight' where all units count as much as that column says.
      name: its value, or range of values.
      num_units: units in it.
      num_groups: groups of them that are resampled together; 0 where each unit stands for itself.
      num_errors: of the units, those predicted wrongly; 0 where units are graded.
      accuracy: the share of correct predictions, or the mean grade.
      accuracy_interval: NaN ends where there is none.
      scores: score -> how well it finds the errors; empty where they are too few.
      unavailable: why there are no scores, or no intervals; '' if there are.
    """

    by: str
    name: str
    num_units: int = 0
    num_groups: int = 0
    num_errors: int = 0
    accuracy: float = np.nan
    accuracy_interval: Interval = Interval(np.nan, np.nan)
    scores: Mapping[str, SliceScore] = field(default_factory=dict)
    unavailable: str = ''
