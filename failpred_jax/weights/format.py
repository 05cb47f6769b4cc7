"""What a format of weights is: a kind of file, recognized by its content, and how its arrays become parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from failpred_jax.config import DataConfig, ModelConfig
from failpred_jax.errors import UserError
from failpred_jax.types import DatasetInfo, PyTree

# Where a leaf is, such as ('backbone', 'conv1', 'kernel').
Place = tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A file or folder of weights.

    Attributes:
      path: as the user gave it.
      arrays: name -> float32 array; empty for a folder.
      is_folder: whether it is a folder.
      is_renamed: whether the names were changed by the user's own rules.
    """

    path: str
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    is_folder: bool = False
    is_renamed: bool = False


@dataclass(frozen=True)
class Target:
    """The network that weights are for.

    Attributes:
      model: its architecture.
      info: the data set it is for.
      params: name of a sub-tree -> nested dicts of arrays or shapes.
      batch_stats: the same for BatchNorm's running statistics.
      only: the sub-trees that are wanted.
      data: how its images are prepared, or None.
    """

    model: ModelConfig
    info: DatasetInfo
    params: PyTree
    batch_stats: PyTree
    only: frozenset[str]
    data: DataConfig | None = None

    def shapes(self) -> dict[Place, tuple[int, ...]]:
        """Return the shape of each leaf of all sub-trees; BatchNorm's 'mean' and 'var' among them."""
        leaves = leaves_of(self.params, self.batch_stats)
        return {place: tuple(leaf.shape) for place, leaf in leaves.items()}

    def wants(self, place: Place) -> bool:
        return place[0] in self.only

    def words(self) -> str:
        """Return what it is, for messages."""
        return f"model '{self.model.name}' with {self.info.num_classes} classes and images {self.info.image_shape}"


def leaves_of(*trees: PyTree) -> dict[Place, Any]:
    """Return the leaves of nested dicts by their places."""
    return {
        tuple(part.key for part in path): leaf
        for tree in trees
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


@dataclass
class Found:
    """What a format made of a source.

    Attributes:
      leaves: place -> array in our layout.
      problems: sentences on entries that are missing, unexpected or of another shape.
      notes: sentences for the user that are no problems.
    """

    leaves: dict[Place, np.ndarray] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def raise_if_wrong(self, path: str, wanted: str) -> None:
        """Raise a UserError that names every problem."""
        if self.problems:
            raise UserError('\n'.join([f"'{path}' does not fit {wanted}:", *(f'  - {p}' for p in self.problems)]))


@dataclass(frozen=True)
class WeightsFormat:
    """A format, as the registry WEIGHTS holds it.

    Attributes:
      words: what it is, for messages, such as "torchvision's VGG16".
      recognizes: (source, target) -> whether the source looks like it. At most one format may.
      read: (source, target) -> Found, with the sub-trees `target.only` as far as the format holds them.
    """

    words: str
    recognizes: Callable[[Source, Target], bool]
    read: Callable[[Source, Target], Found]
