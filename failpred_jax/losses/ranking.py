"""A confidence loss over the order of the batch: an upper bound on 1 - average precision of "correct"."""

import jax
import jax.numpy as jnp

from failpred_jax.errors import given
from failpred_jax.outcomes import is_correct
from failpred_jax.registry import LOSSES
from failpred_jax.types import Array, Outputs

# Units ranked against one another; memory grows with its square.
BLOCK = 2048


@LOSSES.register('ranking', is_per_unit=False)
def ranking(outputs: Outputs, labels: Array, mask: Array, *, error_weight: float, temperature: float) -> Array:
    """Return the structured hinge loss of average precision, the same for all units that were ranked together.

    The mean over the units of the mask is the loss; it is 0 if all predictions are correct or all are wrong. More
    than 2048 units (pixels) are dealt into blocks that are ranked each for itself. Several devices rank each their
    own units. `error_weight` and `temperature` play no part.

    Args:
      outputs: confidence_logit [...] float32 is ranked; logits [..., C] say what is correct.
      labels: [...] int32, in [0, C).
      mask: [...] bool; False takes no part in the order.
      error_weight: not used.
      temperature: not used.

    Returns:
      [...] float32, 0 or greater.

    Reference: Yue et al., "A support vector method for optimizing average precision", SIGIR 2007, equations 4-6 and
    the greedy of section 4.2, vectorized; as the ranking loss of Corbière et al., NeurIPS 2019, section 4.3.
    """
    count = labels.size
    num_blocks = -(-count // BLOCK)
    padding = (0, -count % num_blocks)

    def deal(x: Array) -> Array:
        # Neighboring pixels go to different blocks, so that every block is a sample of the whole batch.
        return jnp.pad(x.reshape(-1), padding).reshape(-1, num_blocks).T

    correct = is_correct(outputs.logits, labels)
    blocks = deal(given(outputs.confidence_logit, 'a confidence')), deal(correct & mask), deal(~correct & mask)
    # Recomputed in the backward pass: all blocks' matrices at once would not fit for a batch of segmentations.
    losses = jax.lax.map(jax.checkpoint(lambda block: average_precision_hinge(*block)), blocks)
    return jnp.broadcast_to(losses[None, :], (blocks[0].shape[1], num_blocks)).reshape(-1)[:count].reshape(labels.shape)


def average_precision_hinge(scores: Array, positive: Array, negative: Array) -> Array:
    """Return max over orders of (1 - AP(order) + F(order)) - F(the right order), with F the mean pairwise margin.

    Args:
      scores: [N] float32, higher should be positive.
      positive: [N] bool.
      negative: [N] bool, apart from `positive`; units that are neither take no part.

    Returns:
      Scalar float32, 0 or greater; 0 without positives or without negatives.

    Reference: Yue et al., SIGIR 2007, section 4.2.
    """
    num_positive, num_negative = jnp.sum(positive), jnp.sum(negative)
    positives, is_positive = _descending(scores, positive)
    negatives, is_negative = _descending(scores, negative)
    rank = jnp.arange(1, scores.shape[0] + 1, dtype=jnp.float32)
    k, i = rank[None, :], rank[:, None]
    # Putting negative i above positive k costs precision at k, and turns their pair's margin round.
    precision_lost = (k / (k + i - 1) - k / (k + i)) / jnp.maximum(num_positive, 1)
    margin = 2 * (positives[None, :] - negatives[:, None]) / jnp.maximum(num_positive * num_negative, 1)
    gain = jnp.where(is_positive[None, :] & is_negative[:, None], precision_lost - margin, 0)
    # Negative i goes above all positives from j on: the best j for each, where none of them (0) is possible too.
    gain_from = jnp.cumsum(gain[:, ::-1], axis=1)
    return jnp.sum(jnp.maximum(jnp.max(gain_from, axis=1), 0))


def _descending(scores: Array, chosen: Array) -> tuple[Array, Array]:
    """Return the chosen scores in falling order, zeros after them, and which places hold one."""
    order = jnp.argsort(jnp.where(chosen, -scores, jnp.inf))
    return jnp.where(chosen[order], scores[order], 0), chosen[order]
