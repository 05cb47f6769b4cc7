"""What a slice can be made of: values and ranges of columns, classes, clusters and levels of confidence."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from failpred_jax.errors import UserError, nearest
from failpred_jax.slicing.units import SliceUnits
from failpred_jax.slicing.values import edges_of, in_words, quantities

CLUSTER, PREDICTED, CONFIDENCE = 'cluster', 'predicted class', 'confidence'
# Numbers with more distinct values are cut at quantiles; of words, the most frequent ones are looked at.
MOST_VALUES, MOST_WORDS, NUM_BINS = 12, 30, 8
LEVELS = ('lowest third', 'middle third', 'highest third')


class Condition(NamedTuple):
    """A value or a range of one column.

    Attributes:
      column: its name.
      name: the condition in words.
      mask: [N] bool, the units that meet it.
    """

    column: str
    name: str
    mask: np.ndarray


def conditions_of(
    units: SliceUnits, cluster: np.ndarray | None, columns: Sequence[str] | None = None
) -> list[Condition]:
    """Return every condition that slices are made of; none of them knows which units are wrong.

    Args:
      units: N units.
      cluster: [N] int, or None.
      columns: names of the columns to search; None for all.

    Raises:
      UserError: there is no such column.
    """
    found: list[Condition] = []
    for name, values in chosen_columns(units.columns, columns).items():
        found += _of_column(name, values)
    if units.predicted is not None:
        found += _of_words(PREDICTED, units.predicted.astype(str))
    if cluster is not None:
        found += [Condition(CLUSTER, f'cluster {k}', cluster == k) for k in np.unique(cluster)]
    if units.confidence is not None:
        level = confidence_levels(units.confidence)
        found += [Condition(CONFIDENCE, f'confidence in the {LEVELS[k]}', level == k) for k in np.unique(level)]
    return [one for one in found if one.mask.any() and not one.mask.all()]


def chosen_columns(there: Mapping[str, np.ndarray], names: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Return the columns that are named, or all. Raises UserError for a name that is none of them."""
    for name in names or ():
        if name not in there:
            raise UserError(
                f"there is no column '{name}'{nearest(name, there)} (columns: {', '.join(there) or 'none'})"
            )
    return {name: there[name] for name in (there if names is None else names)}


def confidence_levels(confidence: np.ndarray) -> np.ndarray:
    """Return 0, 1 or 2 for each unit [N]: the third of the units in which its confidence is; ties stand together."""
    values = np.asarray(confidence)
    edges = np.unique(np.quantile(values, (1 / 3, 2 / 3), method='inverted_cdf'))
    level = np.searchsorted(edges, values, side='left')
    # Of many equal confidences, fewer levels are left: the highest is then the last of them.
    return np.where(level == len(edges), 2, level)


def _of_column(name: str, values: np.ndarray) -> Iterator[Condition]:
    values = quantities(values, MOST_VALUES)
    if values.dtype.kind in 'SU':
        words = np.char.decode(values, 'utf-8', 'replace') if values.dtype.kind == 'S' else values
        yield from _of_words(name, words)
    elif values.dtype.kind == 'b' or (values.dtype.kind in 'iuf' and _is_discrete(values)):
        yield from _of_words(name, np.array(in_words(values)))
    elif values.dtype.kind in 'iuf':
        yield from _of_numbers(name, values)
    else:
        raise UserError(f"column '{name}' has type {values.dtype}; it must hold words, numbers or truth values")


def _is_discrete(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)] if values.dtype.kind == 'f' else values
    return len(np.unique(known)) <= MOST_VALUES


def _of_words(column: str, words: np.ndarray) -> Iterator[Condition]:
    distinct, place, count = np.unique(words, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    for i in np.sort(np.argsort(-count, kind='stable')[:MOST_WORDS]):
        yield Condition(column, f'{column} = {distinct[i] or "(missing)"}', place == i)


def _of_numbers(column: str, values: np.ndarray) -> Iterator[Condition]:
    """Yield bins of about equally many units, and what is up to and over each of their edges."""
    missing = np.isnan(values) if values.dtype.kind == 'f' else np.zeros(len(values), bool)
    if missing.any():
        yield Condition(column, f'{column} = (missing)', missing)
    edges = edges_of(values[~missing], NUM_BINS)
    names = in_words(edges)
    for (low, high), (from_, to) in zip(itertools.pairwise(edges), itertools.pairwise(names), strict=True):
        yield Condition(column, f'{from_} < {column} <= {to}', (values > low) & (values <= high))
    for edge, name in zip(edges, names, strict=True):
        yield Condition(column, f'{column} <= {name}', values <= edge)
        yield Condition(column, f'{column} > {name}', values > edge)
