"""Mixup: train on points between two examples, with labels between theirs."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from failpred_jax import devices
from failpred_jax.errors import given
from failpred_jax.options import NOT_NEGATIVE, option
from failpred_jax.registry import RECIPES
from failpred_jax.train.recipe import Recipe
from failpred_jax.types import Array, Batch, PyTree


@dataclass(frozen=True)
class MixupOptions:
    """Mixup."""

    alpha: float = option(0.2, 'shape of the Beta distribution of the shares; near 0, nothing is mixed', NOT_NEGATIVE)


@RECIPES.register('mixup', options=MixupOptions, stages=('baseline',), extends=True)
class Mixup(Recipe):
    """Replace each example by a mixture with another: `share * own + (1 - share) * other`, images and targets alike.

    One share, from Beta(alpha, alpha), serves a step, and the other is the next example of the (shuffled) global batch.

    Reference: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, equation 1.
    """

    def change_batch(self, own: PyTree, batch: Batch, key: Array, num_classes: int) -> Batch:
        if self.options.alpha == 0:
            return batch
        return mixed(batch, key, self.options.alpha, num_classes, self.num_examples_here)


def mixed(batch: Batch, key: Array, alpha: float, num_classes: int, num_rows: int) -> Batch:
    """Return the batch with every example mixed with the next; a label stays that of the larger share.

    Args:
      batch: image [B, H, W, channels] float32; targets, if it has any, are mixed, else its labels.
      key: equal on all devices, for one share from Beta(alpha, alpha).
      alpha: greater than 0.
      num_classes: C.
      num_rows: of a block. The examples are one, and what other recipes made up is more, each mixed in itself.

    Returns:
      The batch with other images, and with targets [B, C] or [B, H, W, C] float32.
    """
    share = jax.random.beta(key, alpha, alpha)
    # Beta(alpha, alpha) is symmetric, and so is who is mixed with whom: this changes only whose label comes first.
    share = jnp.maximum(share, 1 - share)
    targets = targets_of(batch, num_classes)

    def mix(x: Array) -> Array:
        blocks = x.reshape(-1, num_rows, *x.shape[1:])
        following = jax.vmap(devices.next_in_batch)(blocks).reshape(x.shape)
        return share * x + (1 - share) * following

    return batch._replace(image=mix(given(batch.image, 'an image')), targets=mix(targets))


def targets_of(batch: Batch, num_classes: int) -> Array:
    """Return a batch's soft targets, or its labels as such: [..., C] float32."""
    # A label out of range (the ignored one) has no class; its unit is masked.
    return jax.nn.one_hot(batch.label, num_classes) if batch.targets is None else batch.targets
