"""What pandas says besides numbers: columns have names, which are those of classes, and rows have an index.

As arrays, frames would be read by position alone, in silence, whatever their names and indexes say.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from failpred_jax.indexes import difference, index_of
from failpred_jax.prediction_file.part import OUTPUTS
from failpred_jax.prediction_file.shifts import split_shifts

# Further names of outputs; the columns of these and of one-hot labels are classes.
_OUTPUTS = (*OUTPUTS, 'probabilities', 'logprobs')
_LABELS = ('labels', 'label', 'y_true', 'target', 'targets')
_SHOWN = 5


def without_frames(arrays: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return arrays by name, frames with the columns of their classes in one order.

    Args:
      arrays: name -> array of any framework, or a pandas or polars frame or series.
      problems: sentences for the user, added to: rows of different indexes, columns that are other classes.

    Returns:
      The arrays; 'class_names' among them where only frames name the classes.
    """
    frames = {name: value for name, value in arrays.items() if len(_columns(value)) > 1}
    shifted = split_shifts(list(arrays), [])
    places = {name: shifted.get(name) or _place(name) for name in arrays}
    _check_indexes(arrays, places, problems)
    found = dict(arrays)
    given = arrays.get('class_names')
    names = [] if given is None else [_word(name) for name in np.asarray(given).tolist()]
    by_class = {name: frames[name] for name in frames if places[name][1] in (*_OUTPUTS, *_LABELS)}
    # Outputs first: without class names, the order of the evaluated ones is that of the classes.
    for name in sorted(by_class, key=lambda name: (places[name][1] in _LABELS, places[name][0] != '')):
        columns = _classes(by_class[name], places[name][1])
        numbers = [str(number) for number in range(len(columns))]
        wanted = numbers if sorted(columns) == sorted(numbers) and sorted(columns) != sorted(names) else names
        if not wanted and len(set(columns)) == len(columns):
            names = wanted = columns
            # Numbers stay numbers: labels are then these, and no places in a list.
            are_numbers = all(column.isdecimal() for column in columns)
            found['class_names'] = np.array(columns, int if are_numbers else str)
        found[name] = _in_order(frames[name], columns, wanted, name, 'the classes are', problems)
    features = [name for name in frames if places[name][1] == 'features']
    for name in features[1:]:
        first = [_word(column) for column in _columns(frames[features[0]])]
        columns = [_word(column) for column in _columns(frames[name])]
        found[name] = _in_order(frames[name], columns, first, name, f"those of '{features[0]}' are", problems)
    return found


def _columns(value: Any) -> list:
    """Return the names of the columns of a frame; none of anything else."""
    columns = getattr(value, 'columns', None)
    return [] if columns is None or not hasattr(value, 'to_numpy') else list(columns)


def _word(name: Any) -> str:
    """Return a name as a word; True and 1.0 are the number 1."""
    is_whole = isinstance(name, bool | int | float | np.number | np.bool_) and float(name).is_integer()
    return str(int(name)) if is_whole else name.decode() if isinstance(name, bytes) else str(name)


def _classes(frame: Any, stem: str) -> list[str]:
    """Return the names of classes that the columns have: 'a', or 'probs_a' as in a table."""
    columns = [_word(column) for column in _columns(frame)]
    for prefix in (f'{stem}_', *(f'{name}_' for name in OUTPUTS)):
        if all(column.startswith(prefix) for column in columns):
            return [column.removeprefix(prefix) for column in columns]
    return columns


def _in_order(
    frame: Any, columns: list[str], wanted: list[str], name: str, others: str, problems: list[str]
) -> np.ndarray:
    """Return the numbers of a frame, its columns in an order."""
    values = frame.to_numpy()
    if columns == wanted and len(set(columns)) == len(columns):
        return values
    if len(set(columns)) < len(columns) or set(columns) != set(wanted):
        but = f', but {others} {_some(wanted)}' if wanted else ', some alike'
        problems.append(
            f"the columns of '{name}' are named {_some(columns)}{but}; rename the columns, "
            f'or give the numbers alone, in that order: {name}.to_numpy()'
        )
        return values
    place = {column: number for number, column in enumerate(columns)}
    return values[:, [place[column] for column in wanted]]


def _some(names: list[str]) -> str:
    return ', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')


def _place(name: str) -> tuple[str, str]:
    """Return (prefix of the part, name within it)."""
    prefix = next((prefix for prefix in ('val_', 'train_', 'cal_') if name.startswith(prefix)), '')
    return prefix, name.removeprefix(prefix)


def _check_indexes(arrays: Mapping[str, Any], places: Mapping[str, tuple[str, str]], problems: list[str]) -> None:
    """Say where rows of one part have different indexes, so that they may be of different units."""
    first: dict[str, str] = {}
    for name, value in arrays.items():
        if name == 'class_names' or index_of(value) is None:
            continue
        other = first.setdefault(places[name][0], name)
        if told := difference(name, value, other, arrays[other]):
            problems.append(told)
