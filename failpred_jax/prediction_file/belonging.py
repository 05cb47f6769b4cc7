"""What a unit belongs to, what it is called, and what it counts."""

from collections.abc import Mapping

import numpy as np


def read_group(
    given: Mapping[str, np.ndarray], kept: np.ndarray, prefix: str, problems: list[str]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the group [N] int64 of each unit that is kept, and the names [G] of the groups; None for none.

    Args:
      given: arrays by name, without their prefix.
      kept: flat, which units count.
      prefix: of the part, for messages.
      problems: sentences for the user, added to.
    """
    if 'group' not in given:
        return None, None
    values = given['group'].reshape(-1)[kept]
    name = f"'{prefix}group'"
    if values.dtype.kind not in 'biufSU':
        problems.append(f'{name} has type {values.dtype}; it must hold words or numbers')
        return None, None
    missing = int(np.isnan(values).sum()) if values.dtype.kind == 'f' else 0
    if values.dtype.kind in 'SU':
        values = _text(values)
        missing = int((values == '').sum())
    if missing:
        problems.append(
            f'{name} is missing for {missing:,} units; a unit that belongs to no other needs a value of its own'
        )
        return None, None
    names, group = np.unique(values, return_inverse=True)
    return group.reshape(-1).astype(np.int64), names


def read_ids(given: Mapping[str, np.ndarray], kept: np.ndarray) -> np.ndarray | None:
    """Return the names [N] of the units that are kept, as words; None for none."""
    if 'id' not in given:
        return None
    values = given['id'].reshape(-1)[kept]
    if values.dtype.kind == 'f' and np.isfinite(values).all() and (values == np.round(values)).all():
        values = values.astype(np.int64)
    return _text(values)


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


def _text(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == 'S':
        return np.char.strip(np.char.decode(values, 'utf-8', 'replace'))
    return np.char.strip(values.astype(str))
