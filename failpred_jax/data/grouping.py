"""What belongs together (the pictures of a patient, the frames of a video) stays in one part."""

from collections.abc import Mapping

import numpy as np

from failpred_jax.data.parts import some
from failpred_jax.errors import UserError


def shuffled(count: int, groups: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Return a permutation of examples, [count] integers, in which the examples of a group stand side by side."""
    if groups is None:
        return rng.permutation(count)
    _, group_of = np.unique(groups, return_inverse=True)
    place = rng.permutation(group_of.max() + 1)
    return np.argsort(place[group_of], kind='stable')


def whole_groups(order: np.ndarray, wanted: int, groups: np.ndarray | None) -> int:
    """Return how many of the first examples to take so that no group is cut: `wanted`, or the nearest there is.

    Args:
      order: examples, those of a group side by side.
      wanted: how many of them.
      groups: of all examples; None cuts anywhere.
    """
    if groups is None or not 0 < wanted < len(order):
        return wanted
    in_order = groups[order]
    borders = np.flatnonzero(in_order[1:] != in_order[:-1]) + 1
    # One group alone cannot be shared: the parts' own checks say that one is empty.
    return int(borders[np.argmin(np.abs(borders - wanted))]) if len(borders) else len(order)


def check_groups(groups: Mapping[str, np.ndarray]) -> None:
    """Refuse a group that stands in two parts of a source.

    Args:
      groups: part -> group of each of its examples.

    Raises:
      UserError: naming some.
    """
    seen: dict[object, str] = {}
    for part, of_part in groups.items():
        distinct = np.unique(of_part).tolist()
        twice = [group for group in distinct if group in seen]
        if twice:
            raise UserError(
                f'{len(twice)} groups stand in two parts, such as {some(twice, 3)} in {seen[twice[0]]} and {part}; '
                'what belongs together must not be trained on and tested with: correct the column of the split, or '
                'leave it out, and whole groups are split'
            )
        seen |= dict.fromkeys(distinct, part)
