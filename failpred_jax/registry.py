"""Named things (models, losses, scores, metrics, data sources, report sections) and how they are found.

A registry imports every module of its package at the first look-up, and a module registers what it holds by being
imported: a new thing is a new file, and no list names it. The registries live at the bottom of the import order, so
that an option can be checked against names without importing the room that implements them.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from failpred_jax.errors import DeclarationError, UserError, line_of, nearest


def _home(entry: Any) -> tuple[str, str] | None:
    """Return (module, name) of the function or class that an entry is, or holds; None where it is neither."""
    for found in (entry, getattr(entry, 'fn', None), getattr(entry, 'fill', None)):
        name = getattr(found, '__qualname__', None)
        if name is not None:
            return getattr(found, '__module__', ''), name
    return None


def _is_same_cell(one: Any, other: Any) -> bool:
    """Return whether both are of the same name in a notebook, whose cells are run again and again."""
    home = _home(other)
    return home is not None and home[0] == '__main__' and home == _home(one)


def _import(module: str) -> None:
    """Import a module that may be anybody's.

    Raises:
      UserError: it fails; the message names its file and line.
    """
    try:
        importlib.import_module(module)
    except Exception as error:
        spec = importlib.util.find_spec(module)
        file = spec.origin if spec and spec.origin else module
        what = str(error) if isinstance(error, UserError) else f'{type(error).__name__}: {error}'
        raise UserError(f"'{file}' cannot be imported: it failed{line_of(error, file)}: {what}") from error


class Registry:
    """A mapping from names to things of one kind, in which a duplicate or unknown name is an error.

    Args:
      kind: what it holds, for messages.
      package: the package whose modules register them; imported, with every module in it, at the first look-up.
      facts: what each entry may declare of itself, and what it is taken to declare if it does not.
    """

    def __init__(self, kind: str, package: str, facts: Mapping[str, Any] = MappingProxyType({})):
        self.kind = kind
        self.package = package
        self._default_facts = dict(facts)
        self._facts: dict[str, dict[str, Any]] = {}
        self._entries: dict[str, Any] = {}
        self._options: dict[str, type] = {}
        self._is_loaded = False

    def register(self, name: str, options: type | None = None, **facts: Any) -> Callable[[Any], Any]:
        """Return a decorator that files its argument under `name`.

        Args:
          name: what a config calls it.
          options: a dataclass of the options that it alone owns (see options.py), or None if it has none.
          facts: what it declares of itself; see the registry for what there is to declare.

        Raises:
          DeclarationError: the name is taken, or a fact is none of the registry's. A notebook's cell that is run again
            may register again what it registered.
        """
        unknown = set(facts) - set(self._default_facts)
        if unknown:
            raise DeclarationError(
                f"{self.kind} '{name}' declares {', '.join(sorted(unknown))}, which is not among: "
                f'{", ".join(self._default_facts) or "nothing"}'
            )

        def add(entry: Any) -> Any:
            if name in self._entries and not _is_same_cell(self._entries[name], entry):
                first = _home(self._entries[name])
                where = f' (the first is {".".join(first)})' if first else ''
                raise DeclarationError(f"{self.kind} '{name}' is registered twice; choose another name{where}")
            self._entries[name] = entry
            self._facts[name] = self._default_facts | facts
            self._options.pop(name, None)
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
                    _import(f'{self.package}.{module}')
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

    def fact(self, name: str, fact: str) -> Any:
        """Return what an entry declares of itself.

        Raises:
          UserError: there is no entry of this name.
        """
        self[name]  # Raises if it is not there.
        return {**self._default_facts, **self._facts.get(name, {})}[fact]

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


# files: None, or `options -> all files and folders that decide what is loaded` (None if nobody knows), for the cache.
SOURCES = Registry('data source', 'failpred_jax.data', {'files': None})
# task: 'classification' or 'segmentation', '' for either; min_size: of images, in pixels; may_be_given: its options may
# name parameters, so that a run can begin with a finished classifier.
MODELS = Registry('model', 'failpred_jax.models', {'task': 'classification', 'min_size': 1, 'may_be_given': False})
# is_per_unit: the value of a unit depends on that unit alone; reads: which of the options 'error_weight' and
# 'temperature' it uses.
LOSSES = Registry('confidence loss', 'failpred_jax.losses', {'is_per_unit': True, 'reads': ()})
SCORES = Registry('score', 'failpred_jax.scores')
METRICS = Registry('metric', 'failpred_jax.metrics')
# Each is `(logits, labels or class shares) -> per unit`; see losses/classification.py.
CLASSIFIER_LOSSES = Registry('classifier loss', 'failpred_jax.losses')
# stages: those that it may serve. replaces_evaluated: whether it chooses the weights that are validated, selected and
# evaluated, which one recipe of a stage may do. extends: what it does at a step does not depend on how many there are,
# so that a finished stage can go on.
RECIPES = Registry(
    'training recipe',
    'failpred_jax.train.recipes',
    {'stages': ('baseline', 'confidence', 'finetune'), 'replaces_evaluated': False, 'extends': False},
)
# problems: None, or `(stage, its path) -> sentences`: which of the stage's options do not go with it.
OPTIMIZERS = Registry('optimizer', 'failpred_jax.train.optimizers', {'problems': None})
# extends: the learning rate at a step does not depend on how many there are, so that a finished stage can go on.
SCHEDULES = Registry('learning-rate schedule', 'failpred_jax.train.schedules', {'problems': None, 'extends': False})
CORRUPTIONS = Registry('corruption', 'failpred_jax.shift.corruptions')
# argument: what follows the colon in its name, such as 'DIR'; '' for nothing.
SHIFTS = Registry('shifted set', 'failpred_jax.shift.sources', {'argument': ''})
SECTIONS = Registry('report section', 'failpred_jax.report.sections')
STRATEGIES = Registry('labelling strategy', 'failpred_jax.label.strategies')
WEIGHTS = Registry('weights format', 'failpred_jax.weights')
COMMANDS = Registry('command', 'failpred_jax.commands')
