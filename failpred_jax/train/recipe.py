"""What a training recipe may change. Each is a file in train/recipes/; docs/adding.md shows how to write one.

A stage calls its recipes in the order in which the config names them. Every method below changes nothing, so a recipe
writes only those that it needs. They are pure and run on one device inside the compiled step, unless they say
otherwise.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import optax

from failpred_jax.errors import UserError
from failpred_jax.registry import RECIPES
from failpred_jax.types import Array, Batch, Outputs, PyTree

# (outputs, batch, mask of units) -> float32 loss per unit.
BatchLossFn = Callable[[Outputs, Batch, Array], Array]

EVERY_STAGE = frozenset({'baseline', 'confidence', 'finetune'})


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

    Attributes:
      STAGES: names of the stages that it may serve.
      REPLACES_EVALUATED: whether `evaluated` ever returns parameters; of all recipes of a stage one may.
    """

    STAGES: ClassVar[frozenset[str]] = EVERY_STAGE
    REPLACES_EVALUATED: ClassVar[bool] = False

    def __init__(self, options: Any, setting: Setting):
        self.options = options
        self.setting = setting

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
        """Return the batch to train on: images float32, augmented and normalized. The key is equal on all devices."""
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

        On the host, where the arrays of `own` have a leading device axis: choose, do not compute. Where these are not
        the trained ones, the loop estimates their BatchNorm statistics anew.
        """
        del own, step
        return None


def make_recipes(chosen: Iterable[tuple[str, Any]], setting: Setting) -> dict[str, Recipe]:
    """Return the recipes of a stage by name, in order.

    Args:
      chosen: (name, its options) of each.
      setting: of the stage.

    Raises:
      UserError: an unknown name, a recipe that is not for this stage, or two that choose what is evaluated.
    """
    recipes: dict[str, Recipe] = {}
    for name, options in chosen:
        kind = RECIPES[name]
        if setting.stage not in kind.STAGES:
            fitting = [other for other in RECIPES if setting.stage in RECIPES[other].STAGES]
            raise UserError(
                f"config.{setting.stage}.recipes has '{name}', which is for {' and '.join(sorted(kind.STAGES))} alone; "
                f'allowed there: {", ".join(fitting)}'
            )
        recipes[name] = kind(options, setting)
    averaging = [name for name, recipe in recipes.items() if recipe.REPLACES_EVALUATED]
    if len(averaging) > 1:
        raise UserError(
            f'config.{setting.stage}.recipes has {" and ".join(averaging)}, which each choose the weights that are '
            'evaluated; keep one of them'
        )
    return recipes


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
