"""Numbers of a column in words, and the edges of bins of about equally many units: exact for integers of any size."""

from typing import Any

import numpy as np

from failpred_jax.readers.written import numbers_of


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


def quantities(values: np.ndarray, more_than: int) -> np.ndarray:
    """Return a column [N], of words as numbers where they are a quantity of more than so many distinct values.

    Words that are names stay words, such as versions of which two are one number: 1.1 and 1.10.
    """
    found = numbers_of(values, more_than) if values.dtype.kind == 'U' else None
    return values if found is None else found


def joined(first: np.ndarray, second: np.ndarray, more_than: int) -> np.ndarray:
    """Return two columns [N] and [M] as one, which one file may write as numbers and the other may not: [N + M].

    They are numbers where what one of them writes in words is a quantity, or where both have numbers; else words.
    """
    if (first.dtype.kind == 'U') == (second.dtype.kind == 'U'):
        return np.concatenate([first, second])
    both = [quantities(one, 0) for one in (first, second)]
    if all(one.dtype.kind in 'iuf' for one in both):
        found = np.concatenate(both)
        if len(np.unique(found)) > more_than:
            return found
    return np.concatenate([one.astype(str) for one in (first, second)])
