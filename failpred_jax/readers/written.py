"""Cells of a table of text that a number would not give back: versions such as 1.10, codes such as 0123, 50 %."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# A decimal of more distinct values than this is a quantity, however it is written.
MOST_DISTINCT = 1000
# So many rows mostly tell that there are more.
_HEAD = 20_000
# How a number is written by whoever has nothing but the number. A float64 keeps 15 digits.
_PLAIN = r'(0|-?[1-9][0-9]*)(\.0)?|-?((0|[1-9][0-9]*)\.[0-9]*[1-9]|[1-9](\.[0-9]*[1-9])?e[+-][0-9]{2,3}|inf)'
_CODE, _LONG = r'[+-]?0[0-9]+', r'[+-]?[0-9]{16,}'
_SCIENTIFIC = re.compile(r'-?[0-9]\.([0-9]+)[eE][+-][0-9]{2,3}')
_DECIMAL = re.compile(r'[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf', re.IGNORECASE)


def words_of(
    table: pa.Table,
    arrays: Mapping[str, np.ndarray],
    names: Collection[str],
    notes: Iterable[str],
    read: Callable[[Collection[str]], pa.Table],
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the columns that stay as they are written, name -> [N] words ('' where missing), and all notes.

    Args:
      table: as its types were guessed.
      arrays: what was made of it, by name.
      names: of the columns that are asked for.
      notes: sentences on the table.
      read: names as the table has them -> a table of words, of these columns alone.
    """
    asked = {raw: name for raw in table.column_names if (name := raw.strip().removeprefix('\ufeff')) in names}
    asked = {
        raw: name for raw, name in asked.items() if name in arrays and _is_changed(table.column(raw), arrays[name])
    }
    found, told = {}, list(notes)
    if not asked:
        return {}, tuple(told)
    texts = read(asked)
    for raw, name in asked.items():
        column = table.column(raw)
        # Parsed again, it has the empty rows at the end again.
        words = _call('utf8_trim_whitespace', texts.column(raw).slice(0, len(column)))
        words = _call('if_else', column.is_valid(), words, '')
        if not _loses(words, column, arrays[name]):
            continue
        found[name] = np.array(words.to_pylist(), str)
        told = [note for note in told if not note.startswith(f"'{name}' holds percentages")]
        if pair := _two_of_one(words):
            told.append(f"'{name}' holds '{pair[0]}' and '{pair[1]}', which are one number: its words stay as written")
    return found, tuple(told)


def _is_changed(column: pa.ChunkedArray, values: np.ndarray) -> bool:
    return values.dtype.kind not in 'SU' or pa.types.is_temporal(column.type)


def _loses(words: pa.ChunkedArray, column: pa.ChunkedArray, values: np.ndarray) -> bool:
    """Return whether the values that a column was read as do not give its words back."""
    kind = column.type
    if pa.types.is_boolean(kind):
        # With gaps, truth values are 1 and 0.
        return bool(column.null_count) or not _all_match(words, 'True|False')
    if pa.types.is_temporal(kind):
        return _any(_call('not_equal', words, column.cast(pa.string()).fill_null('')))
    points = _call('replace_substring', words, options=pc.ReplaceSubstringOptions(',', '.'))
    is_float = values.dtype.kind == 'f'
    if _any(_matching(points, _CODE)) or (is_float and _any(_matching(points, _LONG))):
        return True
    if _has_many(points.slice(0, _HEAD)):
        return False
    if _all_match(points, _PLAIN):
        return is_float and _is_twice_whole(points)
    formatted = _SCIENTIFIC.fullmatch(next((word for cell in points if (word := cell.as_py())), ''))
    if formatted and _all_match(points, rf'-?[0-9]\.[0-9]{{{len(formatted[1])}}}[eE][+-][0-9]{{2,3}}'):
        # As NumPy writes every number of a table.
        return False
    return not _has_many(points)


def numbers_of(words: np.ndarray, more_than: int) -> np.ndarray | None:
    """Return words [N] as float64 where they are a quantity, NaN where they are empty; None where they are names.

    A quantity has more than so many distinct values, no two of which are one number, and is not written as every
    number is: a format with types would hold it as numbers if it were one.
    """
    distinct, place = np.unique(words, return_inverse=True)
    texts = [str(word).strip().removesuffix('%').strip().replace(',', '.') for word in distinct.tolist()]
    known = [text for text in texts if text]
    if len(known) <= more_than or not all(_DECIMAL.fullmatch(text) for text in known):
        return None
    if any(re.fullmatch(f'{_CODE}|{_LONG}', text) for text in known) or len(set(map(Decimal, known))) < len(known):
        return None
    if all(re.fullmatch(_PLAIN, text) for text in known) and not any('%' in word for word in distinct.tolist()):
        return None
    share = [100 if '%' in word else 1 for word in distinct.tolist()]
    return np.array([float(text) / of if text else np.nan for text, of in zip(texts, share, strict=True)])[
        place.reshape(-1)
    ]


def _two_of_one(words: pa.ChunkedArray) -> tuple[str, str] | None:
    """Return two words that are one number; None where there are none, or too many to look at."""
    first: dict[Decimal, str] = {}
    for word in words.slice(0, 10**6).unique().to_pylist():
        try:
            number = Decimal(word.rstrip('% ').replace(',', '.'))
        except InvalidOperation:
            continue
        if first.setdefault(number, word) != word:
            return first[number], word
    return None


def _is_twice_whole(words: pa.ChunkedArray) -> bool:
    """Return whether one whole number is written with a decimal point and without."""
    cut = _call('replace_substring_regex', words, options=pc.ReplaceSubstringOptions(r'\.0$', ''))
    others = words.filter(_call('equal', words, cut)).unique()
    return _any(_call('is_in', cut.filter(_call('not_equal', words, cut)), options=pc.SetLookupOptions(others)))


def _has_many(words: pa.ChunkedArray) -> bool:
    return _call('count_distinct', words).as_py() > MOST_DISTINCT


def _all_match(words: pa.ChunkedArray, pattern: str) -> bool:
    return not _any(_call('invert', _matching(words, f'{pattern}|')))


def _matching(words: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    return _call('match_substring_regex', words, options=pc.MatchSubstringOptions(f'^({pattern})$'))


def _any(found: pa.ChunkedArray) -> bool:
    return bool(_call('any', found).as_py())


def _call(name: str, *arguments: Any, options: Any = None) -> Any:
    return pc.call_function(name, list(arguments), options)
