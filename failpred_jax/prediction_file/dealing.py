"""A table whose rows say which part they belong to, in a column `part` or `split`: its columns as arrays of the parts.

Columns of a table are of equal length, but parts are not. So the natural table has one row per unit of any part.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

COLUMNS = ('part', 'split')
EVALUATED = ('test', 'evaluated')
_PREFIX = {
    **dict.fromkeys(EVALUATED, ''),
    **dict.fromkeys(('val', 'valid', 'validation'), 'val_'),
    **dict.fromkeys(('cal', 'calibration'), 'cal_'),
    **dict.fromkeys(('train', 'training'), 'train_'),
}


def deal_parts(arrays: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the arrays of all parts, and sentences on it; as they are, with none, where no column deals them.

    A column deals them if it is named `part` or `split`, all of its words are names of parts, 'test' (or 'evaluated')
    and others among them, and no array is of a part by its name already.
    """
    name = next((name for name in COLUMNS if name in arrays), '')
    if not name or any(other.startswith(('val_', 'cal_', 'train_')) for other in arrays):
        return arrays, ()
    column = np.asarray(arrays[name])
    if column.ndim != 1 or column.dtype.kind not in 'US':
        return arrays, ()
    words = np.char.lower(np.char.strip(column.astype(str)))
    known = set(np.unique(words).tolist())
    if not known <= set(_PREFIX) or len({_PREFIX[word] for word in known}) < 2 or not known & set(EVALUATED):
        return arrays, ()
    prefixes = np.array([_PREFIX[word] for word in words.tolist()])
    found: dict[str, Any] = {}
    for other, array in arrays.items():
        if other == name:
            continue
        if other == 'class_names' or len(np.shape(array)) == 0 or len(array) != len(column):
            found[other] = array
            continue
        for prefix in dict.fromkeys(_PREFIX.values()):
            rows = np.flatnonzero(prefixes == prefix)
            if len(rows):
                found[prefix + other] = np.asarray(array)[rows]
    counts = ', '.join(f"{int((words == word).sum()):,} '{word}'" for word in sorted(known))
    return found, (f"the column '{name}' says which part each row belongs to: {counts}",)
