"""A table whose rows say which part they belong to, in a column `part` or `split`: its columns as arrays of the parts.

Columns of a table are of equal length, but parts are not. So the natural table has one row per unit of any part.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.prediction_file.places import Places

COLUMNS = ('part', 'split')
TEST = 'test'
# What each part is called elsewhere. 'holdout' and 'eval' are not here: to some they are validation, to others test.
_NAMES = {
    '': (TEST, 'testing', 'evaluated'),
    'val_': ('val', 'valid', 'validation', 'dev', 'development'),
    'cal_': ('cal', 'calib', 'calibration'),
    'train_': ('train', 'training'),
}
_PREFIX = {name: prefix for prefix, names in _NAMES.items() for name in names}
PREFIXES = tuple(prefix for prefix in _NAMES if prefix)


class Dealt(NamedTuple):
    """What a column of parts makes of the arrays.

    Attributes:
      arrays: by name, with the prefix of their part.
      notes: sentences on it.
      rows: prefix -> [N] int, where the units of the part stood; empty where nothing was dealt.
    """

    arrays: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    rows: Mapping[str, np.ndarray] = {}


def deal_parts(arrays: Mapping[str, Any], where: str) -> Dealt:
    """Return the arrays of all parts; as they are where no column deals them.

    A column deals them if it is named `part` or `split`, at least one of its words is the name of a part, and no array
    is of a part by its name already. If all rows are of the part 'test', there is nothing to deal.

    Args:
      arrays: by name.
      where: the name of the file, for messages.

    Raises:
      UserError: the column names parts, but not for every row, or none is 'test'.
    """
    of_parts = {name: words for name in COLUMNS if name in arrays and _name_parts(words := _words(arrays[name]))}
    if not of_parts or any(other.startswith(PREFIXES) for other in arrays):
        return Dealt(arrays)
    name, words = next(iter(of_parts.items()))
    known = np.isin(words, list(_PREFIX))
    counts = ', '.join(f"{int((words == word).sum()):,} '{word}'" for word in np.unique(words[known]).tolist())
    otherwise = f"; a column '{name}' that is no column of parts needs another name"
    if not known.all():
        bad = str(words[~known][0])
        usual = ', '.join(names[0] for names in _NAMES.values())
        raise UserError(
            f"the column '{name}' of {where} says which part a row belongs to, but {_holds(bad)} in "
            f'{Places().named(~known & (words == bad))}; every row must say {usual}, or one of their usual names'
            f'{otherwise}'
        )
    prefixes = np.array([_PREFIX[word] for word in words.tolist()])
    if (prefixes != '').all():
        raise UserError(
            f"the column '{name}' of {where} says which part a row belongs to, and no row is of the part '{TEST}', "
            f'which is what is evaluated (there are {counts}): name the rows to evaluate so{otherwise}'
        )
    if (prefixes == '').all():
        return Dealt(arrays)
    places = {prefix: np.flatnonzero(prefixes == prefix) for prefix in _NAMES}
    places = {prefix: rows for prefix, rows in places.items() if len(rows)}
    found: dict[str, Any] = {}
    for other, array in arrays.items():
        if other == name:
            continue
        if other == 'class_names' or len(np.shape(array)) == 0 or len(array) != len(words):
            found[other] = array
            continue
        for prefix, rows in places.items():
            found[prefix + other] = np.asarray(array)[rows]
    return Dealt(found, (f"the column '{name}' says which part each row belongs to: {counts}",), places)


def _words(column: Any) -> np.ndarray:
    """Return the cells of a column as words in small letters, '' where one is missing; no words if it holds others."""
    values = np.asarray(column)
    if values.dtype.kind == 'O':
        # As pandas has a column of words, in which what is missing is None or NaN.
        values = np.array([x if isinstance(x, str) else '' for x in values.reshape(-1)]).reshape(values.shape)
    if values.ndim != 1 or values.dtype.kind not in 'US':
        return np.array([], str)
    words = np.char.decode(values, 'utf-8', 'replace') if values.dtype.kind == 'S' else values
    return np.char.lower(np.char.strip(words))


def _name_parts(words: np.ndarray) -> bool:
    return bool(np.isin(words, list(_PREFIX)).any())


def _holds(word: str) -> str:
    return f"holds '{word}'" if word else 'is empty'
