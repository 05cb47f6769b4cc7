"""What an option of the config is: its default, what it does, and what it may be."""

from collections.abc import Callable
from dataclasses import field
from typing import Any, NamedTuple

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
