"""A stage of training as data, and the state that a step changes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flax.struct
import optax

from failpred_jax.registry import RECIPES
from failpred_jax.train.recipe import Recipe
from failpred_jax.types import Array, Outputs, PyTree


class TrainState(flax.struct.PyTreeNode):
    """Everything a step changes or reads, besides data. It knows nothing of the number of devices.

    Attributes:
      step: scalar int32, steps taken in this stage; it also fixes the position in the data.
      key: the stage's PRNG key; a step uses fold_in(key, step).
      trained: parameters that get gradients and optimizer state, as {sub-tree: ...}.
      frozen: parameters that do not, likewise. Never changed by a step.
      batch_stats: BatchNorm running statistics, as {sub-tree: ...}.
      opt_state: of `trained` alone.
      recipe_states: what the stage's recipes remember, by name; empty without recipes that do.
      evaluated: {'trained', 'batch_stats'} that the last validation saw in the place of those above, where a recipe
        chooses them; else empty. A step neither reads nor changes it.
    """

    step: Array
    key: Array
    trained: PyTree
    frozen: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    recipe_states: PyTree = flax.struct.field(default_factory=dict)
    evaluated: PyTree = flax.struct.field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One stage of training, as data; train/loop.py runs any of them.

    Attributes:
      name: also the name of the stage's folder.
      starts_from: the stage whose best checkpoint is the starting point, or None for fresh parameters.
      trains: path predicate; `trains(('head', 'dense_0', 'kernel'))` is True if that parameter is trained.
      batch_norm_in: sub-trees whose BatchNorm uses, and updates with, batch statistics.
      dropout_in: sub-trees whose dropout is active while training.
      with_confidence: whether the confidence head is evaluated.
      fixed_in_training: fields of Cached that are the same in every step, as long as images are not changed at random.
      fixed_in_validation: fields of Cached that are the same in every validation.
      loss_fn: (outputs, labels, mask of units) -> [units] float32 loss per unit. Where a recipe may make soft targets,
        labels [units] int32 may also be targets [units, C] float32.
      optimizer: an optax transformation for the trained parameters, as its recipes have changed it.
      batch_size: examples a step, over all devices of all processes.
      num_steps: the stage's length.
      steps_per_epoch: what one epoch of the curves means; see data/feeding.py.
      eval_every_steps: steps between validations.
      select_by: validation metric, higher is better, that picks the best checkpoint.
      learning_rate_fn: step -> learning rate, for the log.
      recipes: by name, in the order in which they are applied.
    """

    name: str
    starts_from: str | None
    trains: Callable[[tuple[str, ...]], bool]
    batch_norm_in: frozenset[str]
    dropout_in: frozenset[str]
    with_confidence: bool
    fixed_in_training: frozenset[str]
    fixed_in_validation: frozenset[str]
    loss_fn: Callable[[Outputs, Array, Array], Array]
    optimizer: optax.GradientTransformation
    batch_size: int
    num_steps: int
    steps_per_epoch: int
    eval_every_steps: int
    select_by: str
    learning_rate_fn: Callable[[Any], Any]
    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    @property
    def replaces_evaluated(self) -> bool:
        """Whether a recipe chooses the weights that are validated, selected and evaluated."""
        return any(RECIPES.fact(name, 'replaces_evaluated') for name in self.recipes)
