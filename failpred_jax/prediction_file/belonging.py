"""What a unit belongs to, what it is called, and what it counts."""

from collections.abc import Mapping

import numpy as np

from failpred_jax.errors import numbered
from failpred_jax.prediction_file.labels import as_words, is_missing, missing_problem
from failpred_jax.prediction_file.places import Places

# From here on, not every whole number is a float64.
_EXACT = 2.0**53


def read_group(
    given: Mapping[str, np.ndarray], kept: np.ndarray, prefix: str, problems: list[str], places: Places
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the group [N] int64 of each unit that is kept, and the names [G] of the groups; None for none.

    Args:
      given: arrays by name, without their prefix.
      kept: flat, which units count.
      prefix: of the part, for messages.
      problems: sentences for the user, added to.
      places: where the units are in the file.
    """
    if 'group' not in given:
        return None, None
    missing = kept & is_missing(given['group'].reshape(-1))
    values = given['group'].reshape(-1)[kept]
    name = f"'{prefix}group'"
    if values.dtype.kind not in 'biufSU':
        problems.append(f'{name} has type {values.dtype}; it must hold words or numbers')
        return None, None
    if missing.any():
        told = missing_problem(missing, f'{prefix}group', prefix, places)
        problems.append(f'{told}; a unit that belongs to no other needs a value of its own')
        return None, None
    if _are_rounded(values, name, problems):
        return None, None
    if values.dtype.kind in 'SU':
        values = as_words(values)
    names, group = np.unique(values, return_inverse=True)
    return group.reshape(-1).astype(np.int64), names


def read_ids(given: Mapping[str, np.ndarray], kept: np.ndarray, prefix: str, problems: list[str]) -> np.ndarray | None:
    """Return the names [N] of the units that are kept, as words; None for none."""
    if 'id' not in given:
        return None
    values = given['id'].reshape(-1)[kept]
    return None if _are_rounded(values, f"'{prefix}id'", problems) else as_words(values)


def repeated_ids(ids: np.ndarray | None, kept: np.ndarray, prefix: str, places: Places) -> list[str]:
    """Return a sentence where a few of the units that are kept have the id [N] of another; none where most have.

    Where most ids repeat, each names what several rows belong to.
    """
    if ids is None:
        return []
    distinct, place, count = np.unique(ids, return_inverse=True, return_counts=True)
    is_repeated = (count > 1) & (distinct != '')
    repeated = is_repeated[place.reshape(-1)]
    if not repeated.any() or 2 * repeated.sum() > len(ids):
        return []
    first = np.zeros(kept.shape, bool)
    word = ids[repeated.argmax()]
    first[kept] = ids == word
    what, where = numbered(int(is_repeated.sum()), 'value'), places.named(first)
    stand = 'stands' if is_repeated.sum() == 1 else 'stand'
    return [f"{what} of '{prefix}id' {stand} in more than one row, such as '{word}' ({where}): twice by mistake?"]


def _are_rounded(values: np.ndarray, name: str, problems: list[str]) -> bool:
    """Return whether these are whole numbers so large that decimals do not tell neighbors apart, and say so."""
    if values.dtype.kind != 'f':
        return False
    large = np.isfinite(values) & (np.abs(values) >= _EXACT) & (values == np.round(values))
    if large.any():
        problems.append(
            f'{name} holds whole numbers as decimals (float), such as {float(values[large][0]):.0f}: from 2^53 on '
            'neighbors become equal; give them as integers or as words'
        )
    return bool(large.any())


def read_weight(
    given: Mapping[str, np.ndarray], kept: np.ndarray, prefix: str, problems: list[str]
) -> np.ndarray | None:
    """Return what each unit that is kept counts, [N] float64; None for none."""
    if 'weight' not in given:
        return None
    values = given['weight'].reshape(-1)[kept]
    if values.dtype.kind not in 'biuf':
        problems.append(f"'{prefix}weight' has type {values.dtype}; it must hold numbers")
        return None
    values = values.astype(np.float64)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        problems.append(
            f"'{prefix}weight' holds {int(bad.sum()):,} values that are negative or not finite, such as "
            f'{values[bad][0]:g}; a weight is 0 or greater'
        )
        return None
    if not values.any():
        problems.append(f"'{prefix}weight' is 0 for every unit")
        return None
    return values
