"""Two ends, as every result has them."""

from typing import NamedTuple


class Interval(NamedTuple):
    """A confidence interval, or limits; NaN ends where there is none."""

    low: float
    high: float
