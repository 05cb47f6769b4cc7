"""From a table's columns to named arrays: numbered columns stacked, lists made rows, index columns left out."""

import re
from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from failpred_jax.errors import UserError
from failpred_jax.readers.reading import Arrays

# Columns of these names, followed by '_' and a number (or the name of a class), are the columns of one array.
STACKED = ('logits', 'probs', 'log_probs', 'features')
PREFIXES = ('', 'val_', 'train_', 'cal_')
# Only ASCII digits: str.isdigit also takes superscripts, which int() refuses.
_NUMBERED = re.compile(r'(?P<stem>(?:val_|train_|cal_)?(?:logits|probs|log_probs|features))_(?P<number>[0-9]{1,6})')
_NAMED = re.compile(r'(?P<stem>(?:val_|train_|cal_)?(?:logits|probs|log_probs))_(?P<name>.+)')
_PERCENT = re.compile(r'\s*[+-]?[0-9]{1,15}(?:[.,][0-9]{1,15})?[ \xa0]?%\s*')
# What pandas and Arrow call an index that was written along.
_INDEX = re.compile(r'(Unnamed: [0-9]+(_level_[0-9]+)?|__index_level_[0-9]+__)?')


def to_arrays(table: pa.Table, where: str, as_text: Collection[str] = ()) -> Arrays:
    """Return the arrays of a table.

    Columns `logits_0, logits_1, ...` (or `logits_cat, logits_dog, ...`, whose names become `class_names`) are stacked
    to [N, C]. A column without a name is an index and is left out, with a note.

    Args:
      table: its columns may hold numbers, words, truth values, or lists of equally many numbers.
      where: the name of the file, for messages.
      as_text: columns whose cells stay words, percentages too.

    Raises:
      UserError: two columns of one name, columns that are not numbered without gaps, or types that are no arrays.
    """
    names = [name.strip().removeprefix('\ufeff') for name in table.column_names]
    twice = sorted({name for name in names if names.count(name) > 1 and not _INDEX.fullmatch(name)})
    if twice:
        raise UserError(
            f'{where} has several columns named {", ".join(map(repr, twice))}; rename or drop all but one of each'
        )
    index = [name for name in names if _INDEX.fullmatch(name)]
    notes = [f'{len(index)} column without a name (an index written along?) is left out'] if index else []
    columns = {
        name: _to_numpy(column, name, where)
        for name, column in zip(names, table.columns, strict=True)
        if not _INDEX.fullmatch(name)
    }
    for name, column in columns.items():
        shares = None if name in as_text else _from_percentages(column)
        if shares is not None:
            columns[name] = shares
            notes.append(f"'{name}' holds percentages, such as {column[0]!s}: read as fractions")
    arrays, class_names = _stack(columns, where)
    if class_names:
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


def _stack(columns: dict[str, np.ndarray], where: str) -> tuple[dict[str, np.ndarray], list[str]]:
    numbered: dict[str, dict[int, str]] = {}
    named: dict[str, dict[str, str]] = {}
    for name in columns:
        if found := _NUMBERED.fullmatch(name):
            numbered.setdefault(found['stem'], {})[int(found['number'])] = name
        elif found := _NAMED.fullmatch(name):
            named.setdefault(found['stem'], {})[found['name']] = name
    arrays, class_names = dict(columns), []
    for stem, parts in numbered.items():
        if stem in named:
            raise UserError(f"{where} numbers some columns of '{stem}' and names others: {_few(named[stem].values())}")
        if sorted(parts) != list(range(len(parts))):
            raise UserError(
                f"{where}: the columns '{stem}_0, {stem}_1, ...' are not numbered from 0 without gaps; they are "
                f'{_few(f"{stem}_{i}" for i in sorted(parts))}'
            )
        arrays[stem] = _stacked(stem, [arrays.pop(parts[i]) for i in sorted(parts)], columns, where)
    for stem, parts in named.items():
        if class_names and list(parts) != class_names:
            raise UserError(f"{where}: the columns of '{stem}' name other classes, or in another order, than others do")
        class_names = list(parts)
        arrays[stem] = _stacked(stem, [arrays.pop(column) for column in parts.values()], columns, where)
    return arrays, class_names


def _stacked(stem: str, parts: list[np.ndarray], columns: dict[str, np.ndarray], where: str) -> np.ndarray:
    if stem in columns:
        raise UserError(f"{where} has both a column '{stem}' and numbered or named columns of it; keep one")
    for part in parts:
        if part.ndim != 1 or part.dtype.kind in 'US':
            raise UserError(f"{where}: the columns of '{stem}' must hold one number per row; some hold {part.dtype}")
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


def _few(names: Iterable[str], most: int = 6) -> str:
    listed = list(names)
    return ', '.join(listed[:most]) + (', ...' if len(listed) > most else '')
