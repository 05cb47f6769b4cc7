"""Messages about wrong options on the command line (--config.a.b=value) and errors in a config file."""

import ast
import re
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections

from failpred_jax.config.owners import OwnerSection, chosen_in, entries
from failpred_jax.config.reading import unknown_key
from failpred_jax.config.renamed import RENAMED
from failpred_jax.config.sections import Config
from failpred_jax.config.writing import default_config
from failpred_jax.errors import UserError

# --config.a.b=value, --config.a.b value, --config.a.b and --noconfig.a.b.
_OVERRIDE = re.compile(r'-{1,2}(?:no)?config\.([^=]+)(?:=.*)?', re.DOTALL)


def _overrides(argv: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (word, keys of the option that it sets)."""
    for word in argv:
        match = _OVERRIDE.fullmatch(word)
        if match:
            yield word, match[1].split('.')


def quoted(argv: Sequence[str]) -> list[str]:
    """Return the words with --config.a.b=x,y:1 in quotes where the option is a tuple of words.

    ml_collections reads x,y as it is, but nothing with a comma that is no Python, such as blur:3,folder:DIR.
    """
    return [_in_quotes(word) for word in argv]


def _in_quotes(word: str) -> str:
    match = re.fullmatch(r'(-{1,2}config\.([^=]+)=)(.*,.*)', word, re.DOTALL)
    if match is None:
        return word
    try:
        ast.literal_eval(match[3])
        return word
    except SyntaxError:
        pass
    except (ValueError, MemoryError, RecursionError):  # names, which are read as words, and what is refused later
        return word
    section: Any = default_config()
    for key in match[2].split('.'):
        section = section[key] if isinstance(section, ml_collections.ConfigDict) and key in section else None
    return f'{match[1]}{match[3]!r}' if isinstance(section, tuple) else word


def override_problem(argv: Sequence[str], error: BaseException, file: str) -> str:
    """Return why a config could not be read: the first override whose key does not exist, or the config file's line.

    Args:
      argv: the words of the command line.
      error: what was raised as the config file was run and the overrides were applied.
      file: path of the config file.
    """
    known = default_config()
    for word, keys in _overrides(argv):
        section: Any = known
        path = 'config'
        for key in keys:
            if not isinstance(section, ml_collections.ConfigDict):
                return f'{word}: {path} is a value, not a section with keys of its own'
            if key not in section:
                return unknown_key(path, key, section)
            section, path = section[key], f'{path}.{key}'
    return config_file_problem(error, file)


def config_file_problem(error: BaseException, file: str) -> str:
    """Return in which line of the config file it failed and why."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f"the config file '{file}' failed"
    if frames:
        where = f'{where} in line {frames[-1].lineno}'
    return f'{where}: {type(error).__name__}: {error}'


def check_used(given: ml_collections.ConfigDict, argv: Sequence[str]) -> None:
    """Raise a UserError for options set on the command line that belong to something that the config does not choose.

    A config file may well set options of a model that the command line then replaces; what is typed has an effect.
    """
    problems = _both_names(argv)
    for word, keys in _overrides(argv):
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


def _both_names(argv: Sequence[str]) -> list[str]:
    """Return the problems of options that one command line sets under an old and a new name."""
    words = {'.'.join(keys): word for word, keys in _overrides(argv)}
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
