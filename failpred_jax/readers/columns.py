"""From a table's columns to named arrays: numbered columns stacked, lists made rows, index columns left out."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from failpred_jax.errors import UserError
from failpred_jax.readers.reading import Arrays

# Columns of these names, followed by '_' and a number (or the name of a class), are the columns of one array; capitals,
# and blanks or dots for '_', are as good. Only ASCII digits: str.isdigit also takes superscripts, which int() refuses.
_PART = r'(?P<part>(?:val|train|cal)[_ .])?'
_NUMBERED = re.compile(
    _PART + r'(?P<stem>labels|logits|probs|log[_ .]probs|features)[_ .](?P<number>-?[0-9]{1,6})', re.IGNORECASE
)
_NAMED = re.compile(_PART + r'(?P<stem>labels|logits|probs|log[_ .]probs)[_ .](?P<name>.+)', re.IGNORECASE)
# What must be readable; other columns are left out if they are not.
_NEEDED = re.compile(
    r'(val_|train_|cal_)?(label|target|y_|prob|log|correct|predict|confidence|features|mask|id|group).*'
)
_PERCENT = re.compile(r'\s*[+-]?[0-9]{1,15}(?:[.,][0-9]{1,15})?[ \xa0]?%\s*')
# What pandas and Arrow call an index that was written along.
_INDEX = re.compile(r'(Unnamed: [0-9]+(_level_[0-9]+)?|__index_level_[0-9]+__)?')


def to_arrays(table: pa.Table, where: str, as_text: Collection[str] = ()) -> Arrays:
    """Return the arrays of a table.

    Columns `logits_0, logits_1, ...` (or `logits_cat, logits_dog, ...`, whose names become `class_names`, as numbers do
    that are not 0 to C - 1) are stacked to [N, C]. A column without a name is an index and is left out, with a note.

    Args:
      table: its columns may hold numbers, words, truth values, or lists of equally many numbers.
      where: the name of the file, for messages.
      as_text: columns whose cells stay words, percentages too.

    Raises:
      UserError: two columns of one name, columns that are not numbered without gaps, or types that are no arrays.
    """
    names = [name.strip().removeprefix('\ufeff') for name in table.column_names]
    twice = sorted(name for name, times in Counter(names).items() if times > 1 and not _INDEX.fullmatch(name))
    if twice:
        raise UserError(
            f'{where} has several columns named {", ".join(map(repr, twice))}; rename or drop all but one of each'
        )
    index = [name for name in names if _INDEX.fullmatch(name)]
    notes = [f'{len(index)} column without a name (an index written along?) is left out'] if index else []
    columns = {}
    for name, column in zip(names, table.columns, strict=True):
        if _INDEX.fullmatch(name):
            continue
        if _is_of_no_use(column.type) and not _NEEDED.fullmatch(name.lower()):
            notes.append(f"the column '{name}' holds {column.type}, which cannot be sliced by: it is left out")
            continue
        columns[name] = _to_numpy(column, name, where)
    for name, column in columns.items():
        shares = None if name in as_text else _from_percentages(column)
        if shares is not None:
            columns[name] = shares
            notes.append(f"'{name}' holds percentages, such as {column[0]!s}: read as fractions")
    arrays, class_names = _stack(columns, where)
    if class_names:
        # Numbers stay numbers: labels that are numbers are then these, and not places in a list.
        if isinstance(class_names[0], int):
            notes.append(f'the numbers of the columns are taken as names of the classes: {_few(map(str, class_names))}')
        arrays.setdefault('class_names', np.array(class_names))
    return Arrays(arrays, tuple(notes))


def _from_percentages(column: np.ndarray) -> np.ndarray | None:
    """Return words that all are percentages as fractions (an empty cell as NaN); None for any other column."""
    if column.dtype.kind != 'U' or column.ndim != 1 or not len(column) or not _PERCENT.fullmatch(str(column[0])):
        return None
    words = column.tolist()
    if not all(_PERCENT.fullmatch(word) or not word.strip() for word in words):
        return None
    return np.array([float(w.strip().rstrip('% \xa0').replace(',', '.')) / 100 if w.strip() else np.nan for w in words])


def _stack(columns: dict[str, np.ndarray], where: str) -> tuple[dict[str, np.ndarray], list[str] | list[int]]:
    """Return the columns with those of one array stacked, and the names of the classes; none if they are 0 to C - 1."""
    numbered, named = _called(columns, where)
    arrays, class_names = dict(columns), []
    for stem in [stem for stem in named if stem.endswith('labels')]:
        outputs = next((parts for other, parts in named.items() if not other.endswith('labels')), {})
        # 'labels_source' may be any column: one-hot labels name the classes that the outputs name.
        parts = named.pop(stem)
        if outputs and set(parts) >= set(outputs):
            arrays[stem] = _stacked(stem, [arrays.pop(parts[name]) for name in outputs], columns, where)
    for stem, parts in numbered.items():
        if stem in named:
            raise UserError(f"{where} numbers some columns of '{stem}' and names others: {_few(named[stem].values())}")
        numbers = sorted(parts)
        if numbers != list(range(len(parts))):
            if stem.endswith('features'):
                raise UserError(
                    f"{where}: the columns '{stem}_0, {stem}_1, ...' are not numbered from 0 without gaps; they are "
                    f'{_few(f"{stem}_{i}" for i in numbers)}'
                )
            class_names = _agreeing(class_names, numbers, stem, where)
        arrays[stem] = _stacked(stem, [arrays.pop(parts[i]) for i in numbers], columns, where)
    for stem, parts in named.items():
        class_names = _agreeing(class_names, list(parts), stem, where)
        arrays[stem] = _stacked(stem, [arrays.pop(column) for column in parts.values()], columns, where)
    return arrays, class_names


def _called(columns: Iterable[str], where: str) -> tuple[dict[str, dict[int, str]], dict[str, dict[str, str]]]:
    """Return array -> the numbers of its columns, and array -> the names, where it has columns that are named.

    Where two are of one number, as 012 and 12 are, the numbers are names.
    """
    numbered: dict[str, dict[str, str]] = {}
    named: dict[str, dict[str, str]] = {}
    for name in columns:
        if found := _NUMBERED.fullmatch(name):
            numbered.setdefault(_stem(found), {})[found['number']] = name
        elif found := _NAMED.fullmatch(name):
            named.setdefault(_stem(found), {})[found['name']] = name
    of_numbers: dict[str, dict[int, str]] = {}
    for stem, parts in numbered.items():
        of_numbers[stem] = {}
        for written, name in parts.items():
            other = of_numbers[stem].setdefault(int(written), name)
            if other != name and stem.endswith('features'):
                raise UserError(f"{where}: '{name}' and '{other}' have one number; keep one")
        if len(of_numbers[stem]) < len(parts):
            named[stem] = {**parts, **named.get(stem, {})}
            del of_numbers[stem]
    return of_numbers, named


def _stem(found: re.Match[str]) -> str:
    return re.sub(r'[ .]', '_', f'{found["part"] or ""}{found["stem"]}'.lower())


def _agreeing(known: list[Any], names: list[Any], stem: str, where: str) -> list[Any]:
    """Return the names of the classes. Raises UserError where the columns of another array name others."""
    if known and names != known:
        raise UserError(f"{where}: the columns of '{stem}' name other classes, or in another order, than others do")
    return names


def _stacked(stem: str, parts: list[np.ndarray], columns: dict[str, np.ndarray], where: str) -> np.ndarray:
    if stem in columns:
        raise UserError(f"{where} has both a column '{stem}' and numbered or named columns of it; keep one")
    for i, part in enumerate(parts):
        if part.dtype.kind in 'US':
            other = next(((row, word) for row, word in enumerate(part.tolist()) if not is_number(word)), None)
            if other is not None:
                raise UserError(
                    f"{where}: the columns of '{stem}' must hold one number per row; one holds '{other[1]}' in row "
                    f'{other[0] + 1}'
                )
            # Numbers as words, as a format with types has them of a table that was read with dtype=str.
            parts[i] = part.astype(np.float64)
        if part.ndim != 1:
            raise UserError(f"{where}: the columns of '{stem}' must hold one number per row; one holds lists")
    return np.stack(parts, axis=-1)


def _to_numpy(column: pa.ChunkedArray, name: str, where: str) -> np.ndarray:
    """Return a column as [N], or [N, K] for lists; a missing number is NaN, a missing word ''."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _rows(column, name, where)
    if pa.types.is_boolean(kind) and not column.null_count:
        return column.to_numpy()
    if pa.types.is_boolean(kind):
        return column.cast(pa.int8()).cast(pa.float64()).fill_null(np.nan).to_numpy()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if column.null_count and pa.types.is_integer(kind):
            column = column.cast(pa.float64(), safe=False)
        return column.fill_null(np.nan).to_numpy() if column.null_count else column.to_numpy()
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return np.array(column.fill_null('').to_pylist(), dtype=str)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_temporal(kind):
        return np.array(column.cast(pa.string()).fill_null('').to_pylist(), dtype=str)
    raise UserError(
        f"{where}: column '{name}' holds {kind}; it must hold numbers, words, truth values or lists of numbers"
    )


def _rows(column: pa.ChunkedArray, name: str, where: str) -> np.ndarray:
    lengths = pc.call_function('list_value_length', [column]).unique().to_pylist()
    if len(lengths) != 1 or lengths[0] is None:
        raise UserError(
            f"{where}: column '{name}' holds lists of different lengths ({_few(map(str, lengths))}); every row must "
            'have equally many numbers'
        )
    flat = pc.call_function('list_flatten', [column])
    while isinstance(flat, pa.ChunkedArray) and flat.num_chunks == 1:
        flat = flat.chunk(0)
    values = _to_numpy(flat if isinstance(flat, pa.ChunkedArray) else pa.chunked_array([flat]), name, where)
    return values.reshape(len(column), lengths[0], *values.shape[1:])


def is_number(word: str) -> bool:
    """Return whether a word is a number as Python writes one."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_of_no_use(kind: pa.DataType) -> bool:
    """Return whether these are cells that no array is made of: records, maps, bytes."""
    return (
        pa.types.is_nested(kind)
        and not pa.types.is_list(kind)
        and not pa.types.is_large_list(kind)
        and (not pa.types.is_fixed_size_list(kind))
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _few(names: Iterable[str], most: int = 6) -> str:
    listed = list(names)
    return ', '.join(listed[:most]) + (', ...' if len(listed) > most else '')
