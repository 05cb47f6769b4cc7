"""The classifier's loss."""

import jax
import jax.numpy as jnp

from failpred_jax.types import Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the negative log-likelihood of each unit's label.

    Args:
      logits: [..., C] float32.
      labels: [...] int32, in [0, C).

    Returns:
      [...] float32, 0 or greater.
    """
    return jax.nn.logsumexp(logits, axis=-1) - at_label(logits, labels)


def at_label(values: Array, labels: Array) -> Array:
    """Return `values[..., label]` of each unit: [..., C], [...] -> [...]."""
    # A comparison and a sum, as the gradient of a gather is a scatter, which is slow on every backend.
    classes = jnp.arange(values.shape[-1]).reshape((1,) * labels.ndim + (-1,))
    return jnp.sum(jnp.where(labels[..., None] == classes, values, 0), axis=-1)
