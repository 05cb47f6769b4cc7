"""What a training recipe may change. Each is a file in train/recipes/; docs/adding.md shows how to write one.

A stage calls its recipes in the order in which the config names them. Every method below changes nothing, so a recipe
writes only those that it needs. They are pure and run on one device inside the compiled step, unless they say
otherwise.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import optax

from failpred_jax import devices
from failpred_jax.registry import RECIPES
from failpred_jax.types import Array, Batch, Outputs, PyTree

# (outputs, batch, mask of units) -> float32 loss per unit.
BatchLossFn = Callable[[Outputs, Batch, Array], Array]


class Setting(NamedTuple):
    """What a recipe may know of its stage.

    Attributes:
      stage: its name.
      num_examples: training examples; a batch's index is below it.
      batch_size: examples per step, over all devices.
      steps_per_epoch: steps that are called an epoch.
      num_steps: the stage's length.
    """

    stage: str
    num_examples: int
    batch_size: int
    steps_per_epoch: int
    num_steps: int


class Recipe:
    """A recipe that changes nothing; those that change something derive from it.

    Its own state is any pytree of arrays, equal on all devices. It is part of the TrainState: saved with every
    checkpoint, and resumed from it. What needs examples of other devices asks devices.py for them, so that the result
    does not depend on the number of devices.
    """

    def __init__(self, options: Any, setting: Setting):
        self.options = options
        self.setting = setting

    @property
    def num_examples_here(self) -> int:
        """How many rows of a device's batch are examples; after them comes what recipes made up."""
        return self.setting.batch_size // devices.num_devices()

    def init(self, trained: PyTree) -> PyTree:
        """Return its state before the first step, () for none; `trained` are the stage's parameters. On the host."""
        del trained
        return ()

    def change_schedule(self, learning_rate_fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return step -> learning rate, given the stage's own."""
        return learning_rate_fn

    def change_optimizer(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        """Return the optimizer, given the stage's own.

        Its update gets an optax extra argument, `grad_fn(trained) -> gradient`: that of the same batch (and the same
        dropout) at other parameters, over all devices.
        """
        return optimizer

    def change_batch(self, own: PyTree, batch: Batch, key: Array, num_classes: int) -> Batch:
        """Return the batch to train on, of images that are augmented and normalized; the key is equal on all devices.

        What a recipe makes up comes after the examples, in blocks of as many rows as there are examples, with index -1.
        """
        del own, key, num_classes
        return batch

    def loss(self, own: PyTree, inner: BatchLossFn, outputs: Outputs, batch: Batch, mask: Array) -> Array:
        """Return the loss per unit; `inner` is the loss so far, of the stage and the recipes before."""
        del own
        return inner(outputs, batch, mask)

    def observe(self, own: PyTree, outputs: Outputs, batch: Batch, mask: Array) -> PyTree:
        """Return its state, if it has one, after the step's (first) forward pass, of which `outputs` are."""
        del outputs, batch, mask
        return own

    def after_step(self, own: PyTree, trained: PyTree, step: Array) -> PyTree:
        """Return its state, if it has one, after the optimizer made `trained`, after `step` steps in all."""
        del trained, step
        return own

    def evaluated(self, own: PyTree, step: int) -> PyTree | None:
        """Return the parameters to validate, select and evaluate after so many steps, or None for the trained ones.

        Asked of a recipe that is registered with `replaces_evaluated=True`. On the host, where the arrays of `own` have
        a leading device axis: choose, do not compute. The loop estimates the BatchNorm statistics of what is returned.
        """
        del own, step
        return None

    def may_be_selected(self, step: int) -> bool:
        """Return whether the weights after so many steps may be the stage's result, if their validation is the best."""
        del step
        return True


def make_recipes(chosen: Iterable[tuple[str, Any]], setting: Setting) -> dict[str, Recipe]:
    """Return the recipes of a stage by name, in order.

    Args:
      chosen: (name, its options) of each; the config has checked that they go together.
      setting: of the stage.
    """
    return {name: RECIPES[name](options, setting) for name, options in chosen}


def init_recipes(recipes: Mapping[str, Recipe], trained: PyTree) -> dict[str, PyTree]:
    """Return the states of recipes before the first step, by name; those that have none are left out."""
    states = {name: recipe.init(trained) for name, recipe in recipes.items()}
    return {name: state for name, state in states.items() if jax.tree.leaves(state)}


def compose_loss(recipes: Mapping[str, Recipe], states: Mapping[str, PyTree], base: BatchLossFn) -> BatchLossFn:
    """Return the loss that the recipes make of the stage's, each given its state."""

    def wrap(recipe: Recipe, own: PyTree, inner: BatchLossFn) -> BatchLossFn:
        return lambda outputs, batch, mask: recipe.loss(own, inner, outputs, batch, mask)

    loss_fn = base
    for name, recipe in recipes.items():
        loss_fn = wrap(recipe, states.get(name, ()), loss_fn)
    return loss_fn
