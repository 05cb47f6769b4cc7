"""What is given for an option or a flag, as the type that it has: on the command line, in a config file, or in JSON.

A value is taken wherever it can mean one thing only: one number for a tuple of numbers, '0.1' or NumPy's 0.1 for 0.1,
2.0 for 2, a Path for its text. Paths may begin with ~.
"""

import ast
import os
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Counters on the devices are of 32 bits.
LARGEST_INTEGER = 2**31 - 1
LARGEST_FLOAT = 3.4e38

_NAMES = {int: 'an integer', str: 'a string', bool: 'True or False'}
_EXAMPLES = {int: '0,1,2', float: '0.5,0.25', str: 'sam,swa'}
_TRUTHS = {'true': True, 't': True, '1': True, 'false': False, 'f': False, '0': False}


def converted(kind: Any, value: Any, largest: float = LARGEST_INTEGER) -> Any:
    """Return a value as `kind`: int, float, bool, str, or a tuple of one of these, such as tuple[int, ...].

    Args:
      kind: the type of the option.
      value: what is given; a text is read as on the command line.
      largest: integers may have this size.

    Raises:
      TypeError: it cannot be taken as that; the words say what it must be.
    """
    # NumPy's scalars and arrays, and those of others who follow it.
    if hasattr(value, 'tolist'):
        value = value.tolist()
    if isinstance(kind, types.GenericAlias):
        return _tuple(typing.get_args(kind)[0], value, largest)
    if kind is str:
        return from_home(_text(value))
    if isinstance(value, str):
        value = _read(kind, value)
    if kind is float:
        # Compared before it is converted: an integer may be larger than any float.
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_FLOAT:
            raise TypeError('a finite number')
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind is bool and type(value) is int and value in (0, 1):
        value = bool(value)
    if type(value) is not kind:
        _refused(kind)
    if kind is int and abs(value) > largest:
        raise TypeError(f'an integer from -{largest:,} to {largest:,}')
    return value


def from_home(path: str) -> str:
    """Return a path with the home folder for a ~ at its beginning, which a shell leaves in --flag=~/folder.

    Raises:
      TypeError: there is no such home folder; a folder called ~ would be one that nobody wants.
    """
    if not path.startswith('~'):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        user = path.partition('/')[0]
        raise TypeError(f"a path that is there, and there is no home folder '{user}'; write './{path}' for a "
                        'folder of that name') from None  # fmt: skip


def number_words(text: str) -> str:
    """Return what a text that is no number must be, in words that show how this one may have been meant."""
    percent = re.fullmatch(r'\s*(\d+(?:\.\d*)?)\s*%\s*', text)
    if percent:
        return f'a share, such as {float(percent[1]) / 100:g}'
    decimal = re.fullmatch(r'\s*([+-]?\d*),(\d+)\s*', text)
    return f'a number, such as {decimal[1] or 0}.{decimal[2]}' if decimal else 'a number, such as 0.05'


def _text(value: Any) -> str:
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    # A text of another class, such as a member of an enumeration, would be compared and printed as that.
    return str.__str__(value) if isinstance(value, str) else _refused(str)


def _refused(kind: type) -> typing.NoReturn:
    raise TypeError(_NAMES[kind])


def _read(kind: type, text: str) -> Any:
    """Return the number or the truth that a text holds; the text itself where it holds none."""
    if kind is bool:
        return _TRUTHS.get(text.strip().lower(), text)
    if kind is int:
        try:
            return int(text)
        except ValueError:
            pass
    try:
        return float(text)
    except ValueError:
        if kind is float:
            raise TypeError(number_words(text)) from None
        return text


def _tuple(item: type, value: Any, largest: float) -> tuple[Any, ...]:
    """Return a tuple of `item`: of a sequence, of one value, or of a text with commas."""
    if isinstance(value, str):
        value = _parts(value)
    elif isinstance(value, bytes) or not isinstance(value, Sequence):
        value = (value,)
    try:
        if item is str:
            return tuple(word for one in value for word in _words(one))
        return tuple(converted(item, one, largest) for one in value)
    except TypeError as error:
        each = '' if 'such as' in str(error) else f', each {error}'
        raise TypeError(f'a tuple of {item.__name__}, such as {_EXAMPLES[item]}{each}') from None


def _parts(text: str) -> Sequence[Any]:
    """Return what a text lists: a,b or (1, 2) or ('a', 'b')."""
    text = text.strip()
    if text.startswith(('(', '[', '"', "'")):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            bare = re.fullmatch(r'[(\[]([^()\[\]]*)[)\]]', text)
            text = bare[1] if bare else text
        else:
            return found if isinstance(found, tuple | list) else (found,)
    parts = [part.strip() for part in text.split(',')]
    return parts if parts[-1] else parts[:-1]


def _words(one: Any) -> list[str]:
    """Return the words of one given: several may stand in one text, and a class may be called 3."""
    text = str(one) if type(one) is int else _text(one)
    return [_from_home_after_its_kind(word.strip()) for word in text.split(',')]


def _from_home_after_its_kind(word: str) -> str:
    """Return folder:~/pictures with the home folder in it, and any other word as it is: a class may begin with ~."""
    kind, colon, path = word.partition(':')
    return kind + colon + from_home(path) if kind.isidentifier() else word
