"""What people call the parts of a data set, and the names of classes that they give by words or by numbers."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from failpred_jax.errors import UserError

PARTS = ('train', 'validation', 'test')
_NAMES = {
    'train': ('train', 'training', 'trn', 'tr'),
    'validation': ('val', 'valid', 'validation', 'dev'),
    'test': ('test', 'testing', 'tst', 'eval'),
}
PART_OF = {name: part for part, names in _NAMES.items() for name in names}
_SHOWN = 6


def part_named(name: str) -> str | None:
    """Return 'train', 'validation' or 'test' for what people call them, in any case; None for any other word."""
    return PART_OF.get(name.strip().lower())


def known_parts() -> str:
    """Return the names of parts that are understood, for messages."""
    return '; '.join(', '.join(names) for names in _NAMES.values())


def by_part(names: Iterable[str], where: str) -> dict[str, str]:
    """Return part -> name, of those names that mean a part.

    Raises:
      UserError: two names mean one part.
    """
    found: dict[str, str] = {}
    for name in names:
        part = part_named(name)
        if part in found:
            raise UserError(
                f'{where} holds both {found[part]} and {name}, which mean the same part; keep one of them, or rename '
                'the '
                'other'
            )
        if part is not None:
            found[part] = name
    return found


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return distinct names of classes in the order of their numbers if all are whole numbers, else of the alphabet."""
    distinct = set(names)
    if all(name.lstrip('-').isascii() and name.lstrip('-').isdecimal() for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))


def numbered(words: Sequence[str], class_names: Sequence[str], where: str) -> np.ndarray:
    """Return the number of each word's class: [N] int32.

    Raises:
      UserError: a word is no class; the unknown ones are named.
    """
    number_of: Mapping[str, int] = {name: i for i, name in enumerate(class_names)}
    unknown = [word for word in dict.fromkeys(words) if word not in number_of]
    if unknown:
        raise UserError(
            f'{where} has the classes {some(unknown)}, which the train part has not ({some(class_names)}); add '
            'training '
            'images of them, or leave them out'
        )
    return np.array([number_of[word] for word in words], np.int32)


def some(names: Iterable[object], most: int = _SHOWN) -> str:
    """Return the first few of some names, separated by commas."""
    listed = [str(name) for name in names]
    return ', '.join(listed[:most]) + (f' and {len(listed) - most:,} more' if len(listed) > most else '')
