"""Whether units of one part also stand in another: what was fitted on them would be judged on what it was fitted on.

Units are the same where what is known of them is: their label and outputs, or their confidences and whether they are
right. Values that are rounded, or shares of a few votes, are equal by chance: as many as chance would give say nothing.
Where both parts name their units, units with equal values and equal names are the same too, beyond what chance gives
where parts are numbered each from 0.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from failpred_jax.data.disjoint import row_hashes

_FEW_KINDS = 3
# Numbers with no more decimals are rounded: equal ones need not be of one unit.
_DECIMALS = 4
# Units by which it is judged whether values repeat.
_LOOKED_AT = 2000
# Rows of which copies are made at once, to hash them.
_ROWS = 1 << 16


class Known(NamedTuple):
    """What is known of the units of a part.

    Attributes:
      kinds: [N] int64, equal for units of which all that is known is equal, in this process.
      can_identify: whether units are known by several columns of numbers at full precision, which chance does not
        repeat.
      ids: [N], or None.
    """

    kinds: np.ndarray
    can_identify: bool
    ids: np.ndarray | None


class Shared(NamedTuple):
    """Units that stand in another part.

    Attributes:
      units: how many.
      by_name: whether their names tell, with their values; the values alone otherwise.
      is_most: whether they are most of those that can be told apart.
      is_copy: whether the other part holds the same values in the same order.
    """

    units: int
    by_name: bool = False
    is_most: bool = False
    is_copy: bool = False


def known_of(columns: Sequence[np.ndarray], outputs: Sequence[np.ndarray], ids: np.ndarray | None) -> Known:
    """Return what is known of the units of a part.

    Args:
      columns: [N, ...] each, all that two units have to share to be the same.
      outputs: [N, ...] each, the numbers among them as they were given, which may be rounded.
      ids: [N], or None.
    """
    num_units = len(columns[0])
    kinds = np.empty(num_units, np.int64)
    for start in range(0, num_units, _ROWS):
        at = slice(start, start + _ROWS)
        some = [np.ascontiguousarray(column[at]) for column in columns]
        rows = [column.reshape(len(column), math.prod(column.shape[1:])).view(np.uint8) for column in some]
        kinds[at] = row_hashes(np.concatenate(rows, axis=1))
    return Known(kinds, _can_identify(outputs, num_units), None if ids is None else np.asarray(ids))


def shared_between(own: Known, theirs: Known) -> Shared:
    """Return which of one part's units stand in another, beyond what chance would give."""
    num_units, kinds, of_theirs = len(own.kinds), _Kinds(own.kinds), _Kinds(theirs.kinds)
    if not num_units or not len(theirs.kinds):
        return Shared(0)
    # The same rows in the same order, be they alone of their kind or not; a few kinds of rows prove nothing.
    if len(kinds.kinds) > _FEW_KINDS and np.array_equal(own.kinds, theirs.kinds):
        return Shared(num_units, is_most=True, is_copy=True)
    can_identify = own.can_identify and theirs.can_identify
    single = kinds.kinds[kinds.counts == 1]
    shared = int(np.isin(single, of_theirs.kinds if can_identify else of_theirs.kinds[of_theirs.counts == 1]).sum())
    chance = max(of_theirs.by_chance(num_units, can_identify), kinds.by_chance(len(theirs.kinds), can_identify))
    # Values that repeat within the part do not identify its units.
    is_enough = can_identify or 2 * len(single) > num_units
    found = Shared(shared, is_most=is_enough and 2 * (shared - chance) > len(single))
    by_values = found if _is_beyond(shared, chance) else Shared(0)
    if own.ids is None or theirs.ids is None:
        return by_values
    names, their_names = own.ids.tolist(), theirs.ids.tolist()
    named = set(zip(their_names, theirs.kinds.tolist(), strict=True))
    shared = sum(unit in named for unit in zip(names, own.kinds.tolist(), strict=True))
    # Units of one name that have nothing to do with each other are of one kind as often as any two.
    chance = len(set(names) & set(their_names)) * kinds.agreement_with(of_theirs)
    if shared <= by_values.units or not _is_beyond(shared, chance):
        return by_values
    return Shared(shared, by_name=True, is_most=2 * (shared - chance) > num_units)


def _is_beyond(count: int, chance: float) -> bool:
    return count > chance + 3 * math.sqrt(chance)


class _Kinds:
    """The kinds of a part's units, and how many are of each."""

    def __init__(self, of_units: np.ndarray):
        self.kinds, self.counts = np.unique(of_units, return_counts=True)

    def by_chance(self, num_drawn: int, can_identify: bool) -> float:
        """Return how many of so many units drawn anew at most are of a kind of which exactly one unit of this part is.

        Of N units, N2 pairs of which are of a kind that no other has, a new unit is of one that stands there once with
        probability 2 N2 / N.

        Reference: Good, Biometrika 1953, "The population frequencies of species and the estimation of population
          parameters", eq. 9.
        """
        pairs = int((self.counts == 2).sum())
        if can_identify and not pairs:
            return 0.0
        return 2 * (pairs + 3 * math.sqrt(pairs + 1)) * num_drawn / self.counts.sum()

    def agreement_with(self, others: '_Kinds') -> float:
        """Return with which probability a unit of this part and one of the other are of one kind."""
        _, at, of_others = np.intersect1d(self.kinds, others.kinds, assume_unique=True, return_indices=True)
        return float(self.counts[at] @ others.counts[of_others] / (self.counts.sum() * others.counts.sum()))


def _can_identify(outputs: Sequence[np.ndarray], num_units: int) -> bool:
    fine, num_units = 0, min(num_units, _LOOKED_AT)
    for output in outputs:
        for column in np.asarray(output[:num_units], np.float64).reshape(num_units, math.prod(output.shape[1:])).T:
            with np.errstate(invalid='ignore'):
                is_rounded = np.abs(column - np.round(column, _DECIMALS)) <= 1e-6 * np.maximum(1, np.abs(column))
            # Saturated values are round as well; some that are not are enough. Shares of a few votes repeat.
            some = column[~is_rounded]
            fine += len(some) > 0.1 * num_units and 2 * len(np.unique(some)) > len(some)
            if fine == 2:
                return True
    return False
