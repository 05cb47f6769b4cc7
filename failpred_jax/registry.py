"""Named things (models, losses, scores, metrics, data sources) and how they are found.

A room registers by importing: `failpred_jax.models` fills `MODELS`, and so on. The registries live here, at the
bottom of the import order, so that config.py can check a name without importing the room that implements it.
"""

from collections.abc import Callable, Iterator
from typing import Any

from failpred_jax.errors import UserError, nearest


class Registry:
    """A mapping from names to things of one kind, in which a duplicate or unknown name is an error."""

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[Any], Any]:
        """Return a decorator that files its argument under `name`; raises ValueError if the name is taken."""

        def add(entry: Any) -> Any:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice; choose another name")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> Any:
        if name not in self._entries:
            raise UserError(self.unknown(name))
        return self._entries[name]

    def unknown(self, name: str) -> str:
        """Return the sentence that tells a user that `name` is none of ours."""
        allowed = ', '.join(self._entries)
        return f"unknown {self.kind} '{name}'{nearest(name, self._entries)} (allowed: {allowed})"

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


SOURCES = Registry('data source')
MODELS = Registry('model')
LOSSES = Registry('confidence loss')
SCORES = Registry('score')
METRICS = Registry('metric')
