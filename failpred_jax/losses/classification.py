"""The classifier's loss."""

import jax

from failpred_jax.outcomes import at_label
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
