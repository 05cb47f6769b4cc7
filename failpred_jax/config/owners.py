"""Sections whose options are partly owned by what the section names: a model's by the model, a recipe's by the recipe.

`config.model.mlp.hidden_units` exists because `MODELS` holds an 'mlp' that was registered with its options, and for no
other reason: a new file brings its options with it.
"""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from failpred_jax.errors import DeclarationError, nearest
from failpred_jax.registry import Registry


@dataclass(frozen=True)
class OwnerSection:
    """A section of options that names registered things, and holds the options that they own.

    Attributes:
      NAMED_BY: name of an option of the section -> the registry that its value, a name or several, is from.
      owned: name of a registered thing -> its options; what is not in it is at its defaults.
    """

    NAMED_BY: ClassVar[Mapping[str, Registry]] = {}

    owned: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)

    @classmethod
    def owners(cls) -> dict[str, type]:
        """Return name -> dataclass of options, of all registered things that this section may name and that own any.

        Raises:
          DeclarationError: a name that cannot stand in a config, or that means two things there.
        """
        own = {f.name for f in dataclasses.fields(cls)}
        found: dict[str, type] = {}
        for registry in cls.NAMED_BY.values():
            for name, kind in registry.options().items():
                if not name.isidentifier():
                    raise DeclarationError(
                        f"{registry.kind} '{name}' owns options; name it with letters, digits and _ only"
                    )
                if name in own or name in found:
                    raise DeclarationError(
                        f"{registry.kind} '{name}' owns options, but {cls.__name__} has another '{name}'"
                    )
                found[name] = kind
        return found

    def options_of(self, name: str) -> Any:
        """Return the options that a registered thing owns, an instance of its dataclass; None if it owns none."""
        kind = self.owners().get(name)
        return None if kind is None else self.owned.get(name, kind())

    def chosen(self) -> tuple[str, ...]:
        """Return the names of registered things that this section chooses."""
        return chosen_in(type(self), {option: getattr(self, option) for option in self.NAMED_BY})


def chosen_in(kind: type, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names that a section chooses, given the values of its options; () if `kind` names nothing."""
    chosen: list[str] = []
    for option in getattr(kind, 'NAMED_BY', ()):
        value = values.get(option, ())
        # --config.baseline.recipes=sam,swa arrives as one string.
        for names in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ():
            chosen.extend(name.strip() for name in str(names).split(','))
    return tuple(chosen)


class Entry(NamedTuple):
    """One key of a section.

    Attributes:
      kind: the type of the option's value, or the dataclass of the section.
      default: the option's default; None of a section.
      metadata: of the option or section: 'help', 'rule', 'changes_training', as far as it has them.
      is_section: whether it has keys of its own.
      is_owned: whether it is the section of a registered thing, which counts only while that is chosen.
    """

    kind: Any
    default: Any
    metadata: Mapping[str, Any]
    is_section: bool
    is_owned: bool = False


def entries(kind: type) -> dict[str, Entry]:
    """Return the keys of a section, a dataclass of options: its own first, then those of the things it may name."""
    kinds = typing.get_type_hints(kind)
    found = {}
    for spec in dataclasses.fields(kind):
        if spec.name != 'owned' or not issubclass(kind, OwnerSection):
            is_section = dataclasses.is_dataclass(kinds[spec.name])
            default = None if is_section else spec.default
            found[spec.name] = Entry(kinds[spec.name], default, spec.metadata, is_section)
    if issubclass(kind, OwnerSection):
        found |= {name: Entry(owner, None, {}, True, is_owned=True) for name, owner in kind.owners().items()}
    return found


def unknown_key(path: str, key: str, kind: type) -> str:
    """Return the sentence for a key that a section, a dataclass of options, does not have, with the nearest it has."""
    known = list(entries(kind))
    for registry in getattr(kind, 'NAMED_BY', {}).values():
        if key in registry and key not in known:
            return f"unknown key {path}.{key}: {registry.kind} '{key}' has no options of its own"
    return f'unknown key {path}.{key}{nearest(key, known)} (keys of {path}: {", ".join(known)})'


def walk(kind: type, prefix: str = 'config') -> Iterator[tuple[str, Entry]]:
    """Yield (path, entry) of every option below a section, sections left out."""
    for name, entry in entries(kind).items():
        path = f'{prefix}.{name}'
        if entry.is_section:
            yield from walk(entry.kind, path)
        else:
            yield path, entry


def to_dict(section: Any) -> dict[str, Any]:
    """Return a section as nested dicts, with the options of everything that it may name; values as they are."""
    found = {}
    for name, entry in entries(type(section)).items():
        value = section.options_of(name) if entry.is_owned else getattr(section, name)
        found[name] = to_dict(value) if entry.is_section else value
    return found


def used_options(section: OwnerSection) -> dict[str, Any]:
    """Return a section as nested dicts, with the options of what it chooses only."""
    chosen = section.chosen()
    known = entries(type(section))
    return {name: v for name, v in to_dict(section).items() if not known[name].is_owned or name in chosen}
