"""An exponential moving average of the weights: what is evaluated instead of the trained ones."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from failpred_jax.options import FRACTION, option
from failpred_jax.registry import RECIPES
from failpred_jax.train.recipe import Recipe
from failpred_jax.types import Array, PyTree


@dataclass(frozen=True)
class EmaOptions:
    """An exponential moving average of the weights."""

    decay: float = option(0.999, 'weight of the past in each step; 0 evaluates the trained weights', FRACTION)


@RECIPES.register('ema', options=EmaOptions, replaces_evaluated=True, extends=True)
class Ema(Recipe):
    """Evaluate an exponential moving average of the weights; training itself does not change.

    After t steps the past weighs min(decay, (1 + t) / (10 + t)), so that the first weights are soon forgotten.
    BatchNorm's statistics of the average are estimated by a pass over the training set.

    Reference: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim.
    1992; the rising decay is that of TensorFlow's ExponentialMovingAverage.
    """

    def init(self, trained: PyTree) -> PyTree:
        return {'mean': jax.tree.map(jnp.copy, trained)}

    def after_step(self, own: PyTree, trained: PyTree, step: Array) -> PyTree:
        past = jnp.minimum(self.options.decay, (1.0 + step) / (10.0 + step))
        return {'mean': jax.tree.map(lambda m, new: past * m + (1 - past) * new, own['mean'], trained)}

    def evaluated(self, own: PyTree, step: int) -> PyTree | None:
        return own['mean'] if step else None
