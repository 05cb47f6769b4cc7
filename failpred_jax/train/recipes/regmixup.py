"""RegMixup: train on the examples and, as a regularizer, on mixtures of them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from failpred_jax.errors import given
from failpred_jax.options import NOT_NEGATIVE, option
from failpred_jax.registry import RECIPES
from failpred_jax.train.recipe import Recipe
from failpred_jax.train.recipes.mixup import mixed, targets_of
from failpred_jax.types import Array, Batch, PyTree


@dataclass(frozen=True)
class RegMixupOptions:
    """RegMixup."""

    alpha: float = option(20.0, 'shape of the Beta distribution of the shares; near 0, nothing is mixed', NOT_NEGATIVE)
    weight: float = option(1.0, "weight of the mixtures' loss; that of the examples is 1", NOT_NEGATIVE)


@RECIPES.register('regmixup', options=RegMixupOptions, stages=('baseline',), extends=True)
class RegMixup(Recipe):
    """Add a mixture of each example with the next to the batch, which doubles it: (loss + weight * mixtures' loss).

    The sum is divided by 1 + weight, so that the gradient keeps its size; with weight 1 this is the mean over the
    doubled batch, as in the authors' code. Accuracy counts the examples alone.

    Reference: Pinto et al., "RegMixup: Mixup as a Regularizer Can Surprisingly Improve Accuracy and Out Distribution
    Robustness", NeurIPS 2022, equation 3.
    """

    def change_batch(self, own: PyTree, batch: Batch, key: Array, num_classes: int) -> Batch:
        alpha, weight = self.options.alpha, self.options.weight
        if alpha == 0 or weight == 0:
            return batch
        new = mixed(batch, key, alpha, num_classes, self.num_examples_here)
        weights = jnp.ones(batch.mask.shape) if batch.weights is None else batch.weights
        examples = batch._replace(targets=targets_of(batch, num_classes), weights=weights / (1 + weight))
        index = jnp.full_like(given(batch.index, 'an index'), -1)
        mixtures = new._replace(index=index, weights=weights * (weight / (1 + weight)))
        return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), examples, mixtures)
