"""A section of the config as config files change it: it takes what the command line takes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import ml_collections
from ml_collections import config_dict

from failpred_jax.config.owners import Entry, entries, unknown_key
from failpred_jax.errors import UserError
from failpred_jax.values import converted


class UnknownKeyError(UserError, KeyError):
    """A key that a section does not have; what asks whether there is one takes it as a KeyError."""

    __str__ = Exception.__str__


class Settable(ml_collections.ConfigDict):
    """A ConfigDict of options: what is set is converted to the option's type, or refused in words.

    Args:
      kind: the section's dataclass of options.
      values: of all its keys; a section is one of these.
      path: its name, such as 'config.data'.
    """

    # Until it is told, as while it is copied, it knows of no option and is a ConfigDict like any other.
    _fields: dict[str, Any]
    _kind: type | None = None
    _known: Mapping[str, Entry] = MappingProxyType({})
    _path: str = 'config'

    def __init__(self, kind: type | None = None, values: Mapping[str, Any] | None = None, path: str = 'config'):
        super().__init__(values)
        self._know(kind, {} if kind is None else entries(kind), path)

    def _know(self, kind: type | None, known: Mapping[str, Entry], path: str) -> None:
        # Past ConfigDict's own __setattr__, which would take them for keys.
        for name, value in (('_kind', kind), ('_known', known), ('_path', path)):
            object.__setattr__(self, name, value)

    def add_old_name(self, name: str, successor: Entry) -> None:
        """Let the section take an option under an old name too, which holds None until it is set."""
        super().__setitem__(name, config_dict.placeholder(type(successor.default)))
        self._know(self._kind, {**self._known, name: successor}, self._path)

    def __setitem__(self, key: str, value: Any) -> None:
        entry = self._known.get(key)
        if entry is None:
            if self.is_locked and key not in self._fields and self._kind is not None:
                raise UnknownKeyError(unknown_key(self._path, key, self._kind))
        elif entry.is_section:
            if isinstance(value, Mapping | ml_collections.ConfigDict):
                self[key].update(value.to_dict() if isinstance(value, ml_collections.ConfigDict) else value)
                return
            raise UserError(f'{self._path}.{key} is set to {value!r}, but it is a section with keys of its own')
        elif not isinstance(value, config_dict.FieldReference) and not self._is_old_name_unset(key, value):
            try:
                value = converted(entry.kind, value)
            except TypeError as error:
                raise UserError(
                    f'{self._path}.{key} is {value!r}, but it must be {error} ({entry.metadata["help"]})'
                ) from None
        super().__setitem__(key, value)

    def _is_old_name_unset(self, key: str, value: Any) -> bool:
        return value is None and isinstance(self._fields[key], config_dict.FieldReference)

    def __getitem__(self, key: str) -> Any:
        if self._kind is not None and '.' not in key and key not in self._fields:
            raise UnknownKeyError(unknown_key(self._path, key, self._kind))
        return super().__getitem__(key)

    def copy_and_resolve_references(self, visit_map: dict[int, Any] | None = None) -> 'Settable':
        """Return a copy that knows its options, in which a linked value is its own."""
        copied = super().copy_and_resolve_references(visit_map)
        copied._know(self._kind, self._known, self._path)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {name: v for name, v in state.items() if name not in ('_kind', '_known', '_path')}
