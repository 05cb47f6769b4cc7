"""How prediction sets did on labeled units: coverage and size, by class, by size and by group, with exact intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from failpred_jax.decide.binomial import share_interval
from failpred_jax.types import Array


@dataclass(frozen=True)
class SetRow:
    """Some of the units.

    Attributes:
      name: what they share.
      num_units: how many there are.
      num_covered: those whose set holds the true class.
      mean_size: classes in a set, on average; NaN without a unit.
      low, high: exact interval of the coverage.
      gap: coverage less what is promised, with its sign: over 0 is more than promised; NaN without a unit.
    """

    name: str
    num_units: int
    num_covered: int
    mean_size: float
    low: float
    high: float
    gap: float

    @property
    def coverage(self) -> float:
        """The share whose set holds the true class."""
        return self.num_covered / self.num_units if self.num_units else float('nan')


@dataclass(frozen=True)
class SetMeasures:
    """Sets, measured.

    Attributes:
      overall: all units.
      size_low, size_high: interval of the mean size.
      by_class: one row per true class.
      by_size: one row per size of set, the largest together.
      by_group: one row per group, in order of their names.
      empty: share of empty sets.
      single: share of sets of one class.
    """

    overall: SetRow
    size_low: float
    size_high: float
    by_class: Sequence[SetRow] = field(default_factory=tuple)
    by_size: Sequence[SetRow] = field(default_factory=tuple)
    by_group: Sequence[SetRow] = field(default_factory=tuple)
    empty: float = 0.0
    single: float = 0.0


def measure_sets(
    sets: Array,
    labels: Array,
    alpha: float,
    class_names: Sequence[str] = (),
    level: float = 0.95,
    groups: np.ndarray | None = None,
) -> SetMeasures:
    """Return coverage and size of sets.

    Args:
      sets: [N, C] bool.
      labels: [N] int in [0, C).
      alpha: what is promised is a coverage of 1 - alpha.
      class_names: C names; () for numbers.
      level: of the intervals.
      groups: [N], or None.
    """
    sets, labels = np.asarray(sets), np.asarray(labels)
    covered, size = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    names = list(class_names) or [str(i) for i in range(sets.shape[1])]
    of_size: Mapping[str, np.ndarray] = {
        **{f'{n} class' + 'es' * (n != 1): size == n for n in range(5)},
        '5 classes or more': size >= 5,
    }
    spread = 1.96 * float(size.std(ddof=1)) / np.sqrt(len(size)) if len(size) > 1 else 0.0

    def row(name: str, inside: np.ndarray) -> SetRow:
        units, hits = int(inside.sum()), int(covered[inside].sum())
        low, high = share_interval(hits, units, level)
        mean = float(size[inside].mean()) if units else float('nan')
        return SetRow(name, units, hits, mean, low, high, hits / units - (1 - alpha) if units else float('nan'))

    return SetMeasures(
        overall=row('all', np.ones(len(labels), bool)),
        size_low=float(size.mean() - spread),
        size_high=float(size.mean() + spread),
        by_class=tuple(row(names[c], labels == c) for c in range(sets.shape[1])),
        by_size=tuple(row(name, inside) for name, inside in of_size.items() if inside.any()),
        by_group=() if groups is None else tuple(row(str(one), groups == one) for one in np.unique(groups)),
        empty=float((size == 0).mean()),
        single=float((size == 1).mean()),
    )
