"""Correctness ranking loss: examples that were often right while training should be more confident than others."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from failpred_jax import devices
from failpred_jax.errors import UserError, given
from failpred_jax.options import NOT_NEGATIVE, one_of, option
from failpred_jax.outcomes import is_correct
from failpred_jax.registry import RECIPES
from failpred_jax.train.recipe import BatchLossFn, Recipe
from failpred_jax.types import Array, Batch, Outputs, PyTree


@dataclass(frozen=True)
class CrlOptions:
    """Correctness ranking loss."""

    weight: float = option(1.0, 'weight of the ranking loss beside the classification loss', NOT_NEGATIVE)
    confidence: str = option(
        'softmax',
        'what is ranked: the largest class probability, its lead over the second, or the negative entropy',
        one_of('softmax', 'margin', 'entropy'),
    )


@RECIPES.register('crl', options=CrlOptions, stages=('baseline',), extends=True)
class Crl(Recipe):
    """Add, for each example i and the next one j of the global batch, a hinge loss on the order of their confidences.

    It is `max(0, -sign(c_i - c_j) (k_i - k_j) + |c_i - c_j|)`, and 0 if c_i = c_j: k is the confidence, and c the share
    of past epochs in which the example was predicted correctly, shifted and scaled as in the authors' code so that the
    example that was least often correct has 0. The history, [num_examples] int32, is the same on all devices: each adds
    what all of them saw. For classification only.

    Reference: Moon et al., "Confidence-Aware Learning for Deep Neural Networks", ICML 2020, equations 2 and 3.
    """

    def init(self, trained: PyTree) -> PyTree:
        # The step is kept here too, as the loss sees no other state than its own.
        return {'num_correct': jnp.zeros(self.setting.num_examples, jnp.int32), 'step': jnp.int32(0)}

    def loss(self, own: PyTree, inner: BatchLossFn, outputs: Outputs, batch: Batch, mask: Array) -> Array:
        if batch.label.ndim > 1:
            raise UserError(
                "config.baseline.recipes has 'crl', which keeps a history per image, not per pixel: it is for "
                'classification only; remove it'
            )
        loss = inner(outputs, batch, mask)
        if self.options.weight == 0:
            return loss
        own_rows = self.num_examples_here
        confidence = _confidence(outputs.logits[:own_rows], self.options.confidence)
        rank, real = self._rank(own, given(batch.index, 'an index')[:own_rows]), mask[:own_rows]
        next_confidence, next_rank, next_real = devices.next_in_batch((confidence, rank, real))
        apart = rank - next_rank
        hinge = jnp.maximum(0, -jnp.sign(apart) * (confidence - next_confidence) + jnp.abs(apart))
        return jnp.asarray(loss).at[:own_rows].add(self.options.weight * jnp.where(real & next_real, hinge, 0))

    def _rank(self, own: PyTree, index: Array) -> Array:
        """Return the share of past epochs in which each example was correct, [B] float32 in [0, 1]."""
        num_epochs = jnp.maximum(own['step'] // self.setting.steps_per_epoch, 1)
        least = jnp.min(own['num_correct'])
        above = own['num_correct'][index] - least
        return jnp.clip(above / jnp.maximum(num_epochs - least, 1), 0, 1).astype(jnp.float32)

    def observe(self, own: PyTree, outputs: Outputs, batch: Batch, mask: Array) -> PyTree:
        index = given(batch.index, 'an index')
        hit = mask & (index >= 0) & is_correct(outputs.logits, batch.label)
        # Beyond the last example, where nothing is added, lie those that were not hit.
        place = devices.gather_all(jnp.where(hit, index, self.setting.num_examples))
        return {**own, 'num_correct': own['num_correct'].at[place].add(1, mode='drop')}

    def after_step(self, own: PyTree, trained: PyTree, step: Array) -> PyTree:
        return {**own, 'step': step}


def _confidence(logits: Array, kind: str) -> Array:
    """Return [B] float32: in [0, 1], or in [-1, 0] for 'entropy', which is divided by its largest value."""
    log_probs = jax.nn.log_softmax(logits)
    if kind == 'entropy':
        return jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1) / jnp.log(logits.shape[-1])
    first, second = jnp.exp(jnp.moveaxis(jax.lax.top_k(log_probs, 2)[0], -1, 0))
    return first - second if kind == 'margin' else first
