"""What an option of the config is (its default, what it does, what it may be), and how a given value is checked."""

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from dataclasses import field
from typing import Any, NamedTuple

import ml_collections

from failpred_jax.errors import nearest
from failpred_jax.registry import Registry


class Rule(NamedTuple):
    """What values an option may take: `words` for the user, `holds` for the check."""

    words: Callable[[], str]
    holds: Callable[[Any], bool]


def rule(words: str, holds: Callable[[Any], bool]) -> Rule:
    return Rule(lambda: words, holds)


def one_of(*allowed: str) -> Rule:
    return rule('one of: ' + ', '.join(allowed), lambda v: v in allowed)


def registered(registry: Registry) -> Rule:
    return Rule(lambda: 'one of: ' + ', '.join(registry), lambda v: v in registry)


ANY = rule('any value', lambda v: True)
POSITIVE = rule('greater than 0', lambda v: v > 0)
NOT_NEGATIVE = rule('0 or greater', lambda v: v >= 0)
FRACTION = rule('at least 0 and less than 1', lambda v: 0 <= v < 1)
OPEN_UNIT = rule('greater than 0 and less than 1', lambda v: 0 < v < 1)
ALL_POSITIVE = rule('all greater than 0', lambda v: all(x > 0 for x in v))
ALL_NOT_NEGATIVE = rule('all 0 or greater', lambda v: all(x >= 0 for x in v))
DTYPES = one_of('float32', 'bfloat16')


def option(default: Any, help_text: str, rule: Rule = ANY) -> Any:
    """Return a dataclass field with its default, what it does, and what it may be."""
    return field(default=default, metadata={'help': help_text, 'rule': rule})


def read_section(kind: type, given: Any, prefix: str, problems: list[str]) -> Any:
    """Return a dataclass of options from what was given for it, adding a sentence to `problems` for all that is wrong.

    Args:
      kind: the dataclass; a field may be a dataclass of options too.
      given: a ConfigDict or dict of all its fields.
      prefix: its name, such as 'config.data'.
      problems: added to. What is returned is only of use if there are none.
    """
    if not isinstance(given, ml_collections.ConfigDict | dict):
        problems.append(f'{prefix} is {given!r}, but it is a section with keys of its own')
        return kind()
    types_of = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in given:
        if key not in fields:
            problems.append(f'unknown key {prefix}.{key}{nearest(key, fields)} (keys of {prefix}: {", ".join(fields)})')
    values = {}
    for name, spec in fields.items():
        path = f'{prefix}.{name}'
        if name not in given:
            problems.append(f'missing key {path}; start the config file from default_config()')
        elif dataclasses.is_dataclass(types_of[name]):
            values[name] = read_section(types_of[name], given[name], path, problems)
        else:
            values[name] = _read_value(types_of[name], given[name], path, spec.metadata, problems)
    return kind(**values)


def _read_value(expected: Any, value: Any, path: str, metadata: Any, problems: list[str]) -> Any:
    try:
        value = _convert(expected, value)
    except TypeError as error:
        problems.append(f'{path} is {value!r}, but it must be {error} ({metadata["help"]})')
        return value
    rule = metadata['rule']
    if not rule.holds(value):
        hint = nearest(value, _words_in(rule)) if isinstance(value, str) else ''
        problems.append(f'{path} is {value!r}{hint}; allowed: {rule.words()} ({metadata["help"]})')
    return value


def _words_in(rule: Rule) -> list[str]:
    return rule.words().removeprefix('one of: ').split(', ')


def _convert(expected: Any, value: Any) -> Any:
    """Return `value` as `expected`, or raise TypeError with the words for what it must be."""
    if isinstance(expected, types.GenericAlias):
        item = typing.get_args(expected)[0]
        if item is str and isinstance(value, tuple | list) and all(isinstance(v, str) for v in value):
            # --config.evaluate.scores=mcp,tcp arrives as one string.
            value = tuple(part.strip() for v in value for part in v.split(','))
        if isinstance(value, str) or not isinstance(value, tuple | list):
            raise TypeError(f'a tuple of {item.__name__}')
        try:
            return tuple(_convert(item, v) for v in value)
        except TypeError:
            raise TypeError(f'a tuple of {item.__name__}') from None
    if expected is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise TypeError('a finite number')
        return float(value)
    if type(value) is not expected:
        names = {int: 'an integer', str: 'a string', bool: 'True or False'}
        raise TypeError(names[expected])
    return value
