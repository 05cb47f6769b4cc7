"""Numbers of a column in words, and the edges of bins of about equally many units: exact for integers of any size."""

from typing import Any

import numpy as np


def in_words(values: np.ndarray) -> list[str]:
    """Return numbers or truth values [N] as words that tell different ones apart; NaN is ''.

    Whole numbers have all their digits, others six where that is enough.
    """
    distinct, place = np.unique(values, return_inverse=True)
    short = [_in_words(value, 6) for value in distinct.tolist()]
    if len(set(short)) < len(short):
        short = [_in_words(value, 17) for value in distinct.tolist()]
    return [short[i] for i in place.reshape(-1).tolist()]


def _in_words(value: Any, digits: int) -> str:
    if value != value:
        return ''
    is_whole = isinstance(value, bool | int) or (value.is_integer() and abs(value) < 2**53)
    return str(value if isinstance(value, bool) else int(value)) if is_whole else f'{value:.{digits}g}'


def edges_of(known: np.ndarray, num_bins: int) -> np.ndarray:
    """Return the distinct inner edges of bins of about equally many of these numbers [N], in their own type.

    The edge k of K is the smallest number that at least k / K of all are not greater than.
    """
    ordered = np.sort(known)
    places = [-(-k * len(ordered) // num_bins) - 1 for k in range(1, num_bins)]
    return np.unique(ordered[places]) if len(ordered) else ordered
