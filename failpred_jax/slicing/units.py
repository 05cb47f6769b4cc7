"""The units that are searched for slices, and how they are divided."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from failpred_jax.errors import UserError

_HALVES, _ONE_OF_EACH = 0x68616C66, 0x6F6E65


@dataclass(frozen=True)
class SliceUnits:
    """N units.

    Attributes:
      wrong: [N] bool, whether each is predicted wrongly; None where nobody knows.
      confidence: [N] of any real type, or None.
      predicted: [N] words, the class predicted, or None.
      columns: name -> [N] words, numbers or truth values.
      features: [N, D] float, by which units are near one another, or None.
      group: [N], equal for units that belong together and err together; None where each stands alone.
    """

    wrong: np.ndarray | None
    confidence: np.ndarray | None = None
    predicted: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    features: np.ndarray | None = None
    group: np.ndarray | None = None

    def __len__(self) -> int:
        known = (self.wrong, self.confidence, self.predicted, self.features, *self.columns.values())
        return next(len(array) for array in known if array is not None)

    @property
    def members(self) -> np.ndarray:
        """The group of each unit by number, [N] int; a group of its own where there are none."""
        if self.group is None:
            return np.arange(len(self))
        return np.unique(self.group, return_inverse=True)[1].reshape(-1)


def halves(units: SliceUnits, seed: int) -> np.ndarray:
    """Return which units are in the half that is searched, [N] bool; the others test. A group is never in both.

    Raises:
      UserError: there is one group only, so that nothing is left to test on.
    """
    members = units.members
    count = int(members.max()) + 1
    if count < 2:
        raise UserError(
            "all units belong to one group, and a group is never searched and tested in: without 'group' units count "
            'as '
            'independent of one another'
        )
    order = np.random.default_rng([seed, _HALVES]).permutation(count)
    return (order < count // 2)[members]


def one_of_each(members: np.ndarray, inside: np.ndarray, seed: int) -> np.ndarray:
    """Return one unit, drawn by the seed, of each group among the units that are inside: [N] bool.

    Units of a group err together, but one of each are independent.
    """
    rows = np.flatnonzero(inside)
    rows = rows[np.random.default_rng([seed, _ONE_OF_EACH]).permutation(len(rows))]
    _, first = np.unique(members[rows], return_index=True)
    found = np.zeros(len(members), bool)
    found[rows[first]] = True
    return found
