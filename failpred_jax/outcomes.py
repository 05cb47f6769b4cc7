"""What a prediction is, whether it is correct, and the probability of the true class: each defined here, once.

Written over the last axis, for a classifier's units [N] and a segmenter's [..., H, W] alike. All are pure and jittable,
and take NumPy or JAX arrays.
"""

import jax
import jax.numpy as jnp

from failpred_jax.types import Array


def predicted_classes(logits: Array) -> jax.Array:
    """Return the class of the largest logit; of equal ones the lowest class.

    Args:
      logits: [..., C] float; probabilities or log-probabilities give the same.

    Returns:
      [...] int32 in [0, C).
    """
    return jnp.argmax(jnp.asarray(logits), axis=-1).astype(jnp.int32)


def is_correct(logits: Array, labels: Array) -> jax.Array:
    """Return whether the predicted class is the label: [..., C], [...] int -> [...] bool."""
    return predicted_classes(logits) == jnp.asarray(labels)


def at_label(values: Array, labels: Array) -> jax.Array:
    """Return `values[..., label]` of each unit: [..., C], [...] int in [0, C) -> [...]."""
    # A comparison and a sum, as the gradient of a gather is a scatter, which is slow on every backend.
    classes = jnp.arange(values.shape[-1]).reshape((1,) * labels.ndim + (-1,))
    return jnp.sum(jnp.where(jnp.asarray(labels)[..., None] == classes, values, 0), axis=-1)


def true_class_probability(logits: Array, labels: Array, temperature: float = 1.0) -> jax.Array:
    """Return the softmax probability of the label.

    Args:
      logits: [..., C] float32.
      labels: [...] int32 in [0, C).
      temperature: divides the logits; greater than 0.

    Returns:
      [...] float32 in [0, 1].

    Reference: Corbière et al., "Addressing Failure Prediction by Learning Model Confidence", NeurIPS 2019, section 2.1.
    """
    return at_label(jax.nn.softmax(jnp.asarray(logits) / temperature, axis=-1), labels)
