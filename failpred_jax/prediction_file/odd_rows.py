"""A few rows that are no class probabilities among many that are: which they are says more than that there are some."""

from collections.abc import Callable

import numpy as np

from failpred_jax.errors import numbered
from failpred_jax.prediction_file.rows import Rows

# A row of probabilities that sums to 1 within this is one.
SUM_TOLERANCE = 1e-3
# Rounding may take a row this far from 1, whatever its type.
ROUNDED_TOLERANCE = 0.01
_LOOKED_AT = 2000
_SHOWN = 3
# Which of the kept rows, [M] bool -> where they are in the file, as ' (rows 3, 5)'; or ''.
Named = Callable[[np.ndarray], str]


def few_others(rows: Rows, sums: np.ndarray, full: str, allowed: float, named: Named) -> str:
    """Return what is said where most rows of probabilities are some, and others are none; '' where most are none.

    Args:
      rows: M of them.
      sums: [M] float64, of the rows.
      full: what the user calls them.
      allowed: how far rounding may take the sum of a row from 1.
      named: where rows are.
    """
    bad = ~_are_probabilities(rows, allowed)
    if 2 * bad.sum() >= len(bad):
        return ''
    such = ', '.join(f'{total:.4g}' for total in sums[bad][:_SHOWN]) + (', ...' if bad.sum() > _SHOWN else '')
    return (
        f"'{full}' of {numbered(int(bad.sum()), 'unit')} of {len(bad):,}{named(bad)} do not sum to 1 (but to {such}) "
        f'or are outside [0, 1], and those of all others are probabilities: mend these rows, take them out, or leave '
        "such units out with a 'mask' that is False there"
    )


def mostly_probabilities(rows: Rows, name: str, full: str, allowed: float, named: Named) -> list[str]:
    """Return a sentence on logits of which most rows are probabilities, so that they may be some; none for others."""
    some = np.concatenate(list(rows.some(_LOOKED_AT)))
    if 2 * _is_probable(some, allowed).sum() <= len(some):
        return []
    bad = ~_are_probabilities(rows, allowed)
    if 2 * bad.sum() >= len(bad):
        return []
    return [
        f"the rows of '{full}' sum to 1, as probabilities do, but for {numbered(int(bad.sum()), 'unit')}{named(bad)}: "
        f"treated as {name}; if they are probabilities, mend these rows, and name them '{full.replace(name, 'probs')}'"
    ]


def _are_probabilities(rows: Rows, allowed: float) -> np.ndarray:
    return rows.each(lambda block: _is_probable(block, allowed))


def _is_probable(block: np.ndarray, allowed: float) -> np.ndarray:
    sums = block.sum(axis=-1)
    is_inside = ((block >= -SUM_TOLERANCE) & (block <= 1 + ROUNDED_TOLERANCE)).all(axis=-1)
    return is_inside & (np.abs(sums - 1) <= allowed) & (sums > 0)
