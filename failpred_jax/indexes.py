"""The index of pandas objects says which unit is which; as arrays, they would be read by position, in silence."""

from typing import Any


def index_of(value: Any) -> Any:
    """Return the index of a Series or DataFrame of any library that has one, or None."""
    index = getattr(value, 'index', None)
    return index if hasattr(index, 'equals') and hasattr(value, 'iloc') else None


def difference(name: str, value: Any, other: str, first: Any) -> str:
    """Return a sentence where two objects of one length have different indexes, so that rows may be of different units.

    Args:
      name, other: what they are called.
      value, first: of any type; only those with an index are compared.
    """
    index, theirs = index_of(value), index_of(first)
    if index is None or theirs is None or len(index) != len(theirs) or index.equals(theirs):
        return ''
    row = next((row for row, (a, b) in enumerate(zip(index, theirs, strict=True)) if a != b), 0)
    return (
        f"'{name}' and '{other}' have different indexes: row {row + 1} is {index[row]!r} in one and {theirs[row]!r} in "
        f'the other. Bring them into one order ({name}.loc[{other}.index]), or, if their rows are the same units '
        'already, drop the index of both: .reset_index(drop=True)'
    )
