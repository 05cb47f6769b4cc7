"""Stochastic weight averaging: what is evaluated is the mean of the weights at the ends of the last epochs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from failpred_jax.options import FRACTION, NOT_NEGATIVE, option
from failpred_jax.registry import RECIPES
from failpred_jax.train.recipe import Recipe
from failpred_jax.types import Array, PyTree


@dataclass(frozen=True)
class SwaOptions:
    """Stochastic weight averaging."""

    start: float = option(0.75, 'part of the epochs after which averaging starts', FRACTION)
    learning_rate: float = option(0.0, "learning rate while averaging; 0 keeps the stage's schedule", NOT_NEGATIVE)
    anneal_epochs: float = option(0.0, 'epochs in which the learning rate moves to it, by a cosine', NOT_NEGATIVE)


@RECIPES.register('swa', options=SwaOptions, replaces_evaluated=True)
class Swa(Recipe):
    """Evaluate the mean of the weights at the end of each epoch from `start` on; training itself does not change.

    Before that, the trained weights are evaluated but never selected, except those that the stage starts from: a recipe
    that averages would else often end in weights that are no average, since single epochs by chance have the best
    validation. BatchNorm's statistics of the mean are estimated by a pass over the
    training set. The learning rate should not vanish while averaging: weights that stand still have no mean worth
    taking.

    Reference: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018,
    algorithm 1 with a cycle of one epoch.
    """

    @property
    def start_step(self) -> int:
        """The first step whose weights are averaged; the end of an epoch."""
        epochs = self.setting.num_steps // self.setting.steps_per_epoch
        return min(max(math.ceil(self.options.start * epochs), 1), epochs) * self.setting.steps_per_epoch

    def init(self, trained: PyTree) -> PyTree:
        return {'mean': jax.tree.map(jnp.copy, trained), 'count': jnp.int32(0)}

    def change_schedule(self, learning_rate_fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
        if self.options.learning_rate == 0:
            return learning_rate_fn
        length = max(self.options.anneal_epochs * self.setting.steps_per_epoch, 1)

        def schedule(step: Any) -> Any:
            passed = jnp.clip((step - self.start_step) / length, 0, 1)
            share = (1 - jnp.cos(jnp.pi * passed)) / 2
            before = learning_rate_fn(jnp.minimum(step, self.start_step))
            return (1 - share) * before + share * self.options.learning_rate

        return schedule

    def after_step(self, own: PyTree, trained: PyTree, step: Array) -> PyTree:
        def add(own: PyTree) -> PyTree:
            count = own['count'] + 1
            mean = jax.tree.map(lambda m, new: m + (new - m) / count, own['mean'], trained)
            return {'mean': mean, 'count': count}

        is_due = (step >= self.start_step) & (step % self.setting.steps_per_epoch == 0)
        return jax.lax.cond(is_due, add, lambda own: own, own)

    def evaluated(self, own: PyTree, step: int) -> PyTree | None:
        return own['mean'] if step >= self.start_step else None

    def may_be_selected(self, step: int) -> bool:
        return step == 0 or step >= self.start_step
