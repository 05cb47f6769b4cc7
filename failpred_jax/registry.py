"""Named things (models, losses, scores, metrics, data sources) and how they are found.

A registry imports every module of its package at the first look-up, and a module registers what it holds by being
imported: a new thing is a new file, and no list names it. The registries live at the bottom of the import order, so
that an option can be checked against names without importing the room that implements them.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

from failpred_jax.errors import UserError, nearest


class Registry:
    """A mapping from names to things of one kind, in which a duplicate or unknown name is an error.

    Args:
      kind: what it holds, for messages.
      package: the package whose modules register them; imported, with every module in it, at the first look-up.
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self.package = package
        self._entries: dict[str, Any] = {}
        self._options: dict[str, type] = {}
        self._is_loaded = False

    def register(self, name: str, options: type | None = None) -> Callable[[Any], Any]:
        """Return a decorator that files its argument under `name`.

        Args:
          name: what a config calls it.
          options: a dataclass of the options that it alone owns (see options.py), or None if it has none.

        Raises:
          ValueError: the name is taken.
        """

        def add(entry: Any) -> Any:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice; choose another name")
            self._entries[name] = entry
            if options is not None:
                self._options[name] = options
            return entry

        return add

    def _found(self) -> dict[str, Any]:
        """Return all entries, those of the package's modules included."""
        if not self._is_loaded:
            # Before the imports: a module may look something up while it is being imported.
            self._is_loaded = True
            try:
                package = importlib.import_module(self.package)
                for module in sorted(found.name for found in pkgutil.iter_modules(package.__path__)):
                    importlib.import_module(f'{self.package}.{module}')
            except BaseException:
                # Half of the names would be worse than the same error again.
                self._is_loaded = False
                raise
        return self._entries

    def __getitem__(self, name: str) -> Any:
        if name not in self._found():
            raise UserError(self.unknown(name))
        return self._entries[name]

    def options(self) -> dict[str, type]:
        """Return name -> dataclass of the options it owns, of those that own any."""
        self._found()
        return dict(self._options)

    def unknown(self, name: str) -> str:
        """Return the sentence that tells a user that `name` is none of ours."""
        allowed = ', '.join(self._found())
        return f"unknown {self.kind} '{name}'{nearest(name, self._entries)} (allowed: {allowed})"

    def __contains__(self, name: str) -> bool:
        return name in self._found()

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())


SOURCES = Registry('data source', 'failpred_jax.data')
MODELS = Registry('model', 'failpred_jax.models')
LOSSES = Registry('confidence loss', 'failpred_jax.losses')
SCORES = Registry('score', 'failpred_jax.scores')
METRICS = Registry('metric', 'failpred_jax.metrics')
WEIGHTS = Registry('weights format', 'failpred_jax.weights')
RECIPES = Registry('training recipe', 'failpred_jax.train.recipes')
COMMANDS = Registry('command', 'failpred_jax.commands')
