"""Options that are set on the command line: --config.a.b=value."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import ml_collections

from failpred_jax.config.owners import Entry, OwnerSection, chosen_in, entries, unknown_key
from failpred_jax.config.renamed import RENAMED
from failpred_jax.config.sections import Config
from failpred_jax.errors import UserError
from failpred_jax.values import converted

# --config.a.b=value, --config.a.b value, --config.a.b and --noconfig.a.b.
_OVERRIDE = re.compile(r'--(no)?config\.([^=]+)(?:=(.*))?', re.DOTALL)


class Override(NamedTuple):
    """One option that is set.

    Attributes:
      word: what was typed for it.
      keys: of the option and its sections.
      text: the value; None where none was typed.
    """

    word: str
    keys: list[str]
    text: str | None


def split(words: Sequence[str]) -> tuple[list[str], list[Override]]:
    """Return the words of a command line that set no option, and what the others set, the last for each option."""
    rest: list[str] = []
    found: dict[str, Override] = {}
    words = list(words)
    while words:
        word = words.pop(0)
        match = _OVERRIDE.fullmatch(word)
        if match is None:
            rest.append(word)
            continue
        no, name, text = match.groups()
        if no:
            text = 'false' if text is None else None
        elif text is None and _is_truth(name):
            text = 'true'
        elif text is None and words and not words[0].startswith('--'):
            text = words.pop(0)
            word = f'{word}={text}'
        # Not where the first one stood: a later one may set what that one changes.
        found.pop(name, None)
        found[name] = Override(word, name.split('.'), text)
    return rest, list(found.values())


def _is_truth(name: str) -> bool:
    entry = _entry(name)
    return entry is not None and entry.kind is bool


def _entry(name: str) -> Entry | None:
    """Return the option of this name, a.b, or of its name of today; None where there is none."""
    entry = Entry(Config, None, {}, is_section=True)
    for key in RENAMED.get(name, (name,))[0].split('.'):
        found = entries(entry.kind).get(key) if entry.is_section else None
        if found is None:
            return None
        entry = found
    return entry


def set_options(config: ml_collections.ConfigDict, overrides: Iterable[Override]) -> None:
    """Set options of a config.

    Raises:
      UserError: naming every one that is not there, or whose value is none of its type.
    """
    problems = [problem for override in overrides if (problem := _set(config, override))]
    if problems:
        raise UserError('\n'.join(problems))


def _set(config: ml_collections.ConfigDict, override: Override) -> str:
    """Set one option; return what is wrong with it, or ''."""
    word, keys, text = override
    kind: Any = Config
    place: Any = config
    path = 'config'
    for key in keys[:-1]:
        entry = entries(kind).get(key)
        if entry is None:
            return unknown_key(path, key, kind)
        path = f'{path}.{key}'
        if not entry.is_section:
            return f'{word}: {path} is a value, not a section with keys of its own'
        if not isinstance(place, ml_collections.ConfigDict) or key not in place:
            return f'{word}: the config has no {path}; start the config file from default_config()'
        kind, place = entry.kind, place[key]
    entry = _entry('.'.join(keys))
    if entry is None:
        return unknown_key(path, keys[-1], kind)
    path = f'{path}.{keys[-1]}'
    if entry.is_section:
        return f'{word}: {path} is a section with keys of its own, such as --{path}.{next(iter(entries(entry.kind)))}'
    if text is None:
        return f'{word}: give it a value, as in --{path}=VALUE'
    try:
        value = converted(entry.kind, text)
    except TypeError as error:
        return f'{word}: {path} must be {error} ({entry.metadata["help"]})'
    try:
        with place.unlocked():
            place[keys[-1]] = value
    except TypeError as error:  # of a ConfigDict that the config file made of its own, with a value of another type
        return f'{word}: {error}'
    return ''


def check_used(given: ml_collections.ConfigDict, overrides: Sequence[Override]) -> None:
    """Raise a UserError for options set on the command line that belong to something that the config does not choose.

    A config file may well set options of a model that the command line then replaces; what is typed has an effect.
    """
    problems = _both_names(overrides)
    for word, keys, _ in overrides:
        kind: type = Config
        section: Any = given
        path = 'config'
        for key in keys[:-1]:
            entry = entries(kind).get(key)
            if entry is None or not entry.is_section:
                break
            if entry.is_owned and issubclass(kind, OwnerSection) and not _may_count(kind, section, key):
                problems.append(f'{word} has no effect: {_how_to_choose(kind, section, path, key)}')
                break
            kind, section, path = entry.kind, section[key], f'{path}.{key}'
    if problems:
        raise UserError('\n'.join(problems))


def _both_names(overrides: Sequence[Override]) -> list[str]:
    """Return the problems of options that one command line sets under an old and a new name."""
    words = {'.'.join(keys): word for word, keys, _ in overrides}
    return [
        f'{words[old]} and {words[new]} set the same option; leave one out'
        for old, successors in RENAMED.items()
        for new in successors
        if old in words and new in words
    ]


def _may_count(kind: type[OwnerSection], section: Any, name: str) -> bool:
    """Return whether a section chooses `name`, or something unknown, which is refused by its own message."""
    chosen = chosen_in(kind, section)
    return name in chosen or any(not any(c in registry for registry in kind.NAMED_BY.values()) for c in chosen)


def _how_to_choose(kind: type[OwnerSection], section: Any, path: str, name: str) -> str:
    option = next(option for option, registry in kind.NAMED_BY.items() if name in registry.options())
    return f"{path}.{option} is {section[option]!r}, and '{name}' is not used; choose it, or leave this out"
