"""What an option of the config is: its default, what it does, what it may be, and whether it changes training.

An owner of options (a section of the config, a model, a data source, a recipe, ...) lists them as the fields of a
frozen dataclass:

    @dataclass(frozen=True)
    class SamOptions:
        rho: float = option(0.05, 'radius of the neighborhood', POSITIVE)

        def problems(self, path: str) -> Iterator[str]:  # optional: what no single option shows
            ...

`problems` is asked only of what the config chooses; `path` is the section's name, such as 'config.baseline.sam'.
"""

from collections.abc import Callable
from dataclasses import field
from typing import Any, NamedTuple

from failpred_jax.errors import share_of_percent
from failpred_jax.registry import Registry


class Rule(NamedTuple):
    """What values an option may take: `words` for the user, `holds` for the check.

    `hint` says of a value, or of one of several, what is wrong with it, as '; ...'; of a word, where that is not the
    nearest of `words`.
    """

    words: Callable[[], str]
    holds: Callable[[Any], bool]
    hint: Callable[[Any], str] = lambda value: ''


def rule(words: str, holds: Callable[[Any], bool]) -> Rule:
    """Return the rule that is described by `words` and checked by `holds`."""
    return Rule(lambda: words, holds)


def share(words: str, holds: Callable[[Any], bool]) -> Rule:
    """Return a rule of shares, which says of a percentage which share it is."""
    return Rule(lambda: words, holds, lambda v: share_of_percent(v) if isinstance(v, int | float) else '')


def one_of(*allowed: str) -> Rule:
    """Return the rule of a string that must be one of these."""
    return rule('one of: ' + ', '.join(allowed), lambda v: v in allowed)


def registered(registry: Registry) -> Rule:
    """Return the rule of a string that must be a name in a registry, which is read when a value is checked."""
    return Rule(lambda: 'one of: ' + ', '.join(registry), lambda v: v in registry)


def some_of(registry: Registry) -> Rule:
    """Return the rule of a tuple of names in a registry, each at most once."""
    return Rule(
        lambda: '(), or some of, each once: ' + (', '.join(registry) or 'none is registered'),
        lambda v: len(set(v)) == len(v) and all(name in registry for name in v),
    )


ANY = rule('any value', lambda v: True)
POSITIVE = rule('greater than 0', lambda v: v > 0)
NOT_NEGATIVE = rule('0 or greater', lambda v: v >= 0)
FRACTION = rule('at least 0 and less than 1', lambda v: 0 <= v < 1)
SHARE = share('at least 0 and less than 1', lambda v: 0 <= v < 1)
OPEN_UNIT = share('greater than 0 and less than 1', lambda v: 0 < v < 1)
ALL_POSITIVE = rule('all greater than 0', lambda v: all(x > 0 for x in v))
ALL_NOT_NEGATIVE = rule('all 0 or greater', lambda v: all(x >= 0 for x in v))
DTYPES = one_of('float32', 'bfloat16')
# Far beyond any network or training that could finish, and well inside the counters.
WIDTH = rule('from 1 to 1,000,000', lambda v: 1 <= v <= 1_000_000)
WIDTHS = rule('all from 1 to 1,000,000', lambda v: all(1 <= x <= 1_000_000 for x in v))
EPOCHS = rule('from 0 to 1,000,000', lambda v: 0 <= v <= 1_000_000)


def option(default: Any, help_text: str, rule: Rule = ANY, *, changes_training: bool = True) -> Any:
    """Return the dataclass field of an option.

    Args:
      default: its value where nobody sets it.
      help_text: what it does.
      rule: what it may be.
      changes_training: whether a run that trained with another value is another run. False for what only says where
        data lie, how fast a run is, or what is measured after it: such an option never refuses a WORKDIR.
    """
    return field(default=default, metadata={'help': help_text, 'rule': rule, 'changes_training': changes_training})


def section(kind: type, *, changes_training: bool = True) -> Any:
    """Return the dataclass field of a section of options, the dataclass `kind` at its defaults."""
    return field(default_factory=kind, metadata={'changes_training': changes_training})
