"""What a classifier minimizes, one unit at a time.

Every loss has the signature `(logits, targets) -> [...]`, with `options=` if it owns options: logits [..., C] float32;
targets either labels [...] int32 in [0, C) or class shares [..., C] float32 that sum to 1; result [...] float32.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from failpred_jax.options import NOT_NEGATIVE, option
from failpred_jax.outcomes import at_label
from failpred_jax.registry import CLASSIFIER_LOSSES
from failpred_jax.types import Array


@CLASSIFIER_LOSSES.register('cross_entropy')
def cross_entropy(logits: Array, targets: Array) -> Array:
    """Return the negative log-likelihood of each unit's label, or its mean under the targets.

    Args:
      logits: [..., C] float32.
      targets: [...] int32 in [0, C), or [..., C] float32.

    Returns:
      [...] float32, 0 or greater.
    """
    return jax.nn.logsumexp(logits, axis=-1) - _at_targets(logits, targets)


@dataclass(frozen=True)
class FocalOptions:
    """Focal loss."""

    gamma: float = option(
        3.0, 'how much less an example counts the more confident it is; 0 is cross-entropy', NOT_NEGATIVE
    )


@CLASSIFIER_LOSSES.register('focal', options=FocalOptions)
def focal(logits: Array, targets: Array, *, options: FocalOptions) -> Array:
    """Return `-(1 - p)^gamma log p` of the label's probability p, or its mean under the targets: 0 or greater.

    Reference: Lin et al., ICCV 2017, equation 4; for calibration Mukhoti et al., NeurIPS 2020, who use gamma 3.
    """
    log_probs = jax.nn.log_softmax(logits)
    # At p = 1 the power has no finite slope for gamma below 1, and nothing to weigh.
    rest = jnp.maximum(-jnp.expm1(log_probs), jnp.finfo(jnp.float32).tiny)
    return -_at_targets(rest**options.gamma * log_probs, targets)


@CLASSIFIER_LOSSES.register('brier')
def brier(logits: Array, targets: Array) -> Array:
    """Return the squared distance of the class probabilities to the targets: in [0, 2].

    Reference: Brier, Monthly Weather Review 1950, equation 2.
    """
    return jnp.sum(jnp.square(jax.nn.softmax(logits) - as_shares(targets, logits.shape[-1])), axis=-1)


def as_shares(targets: Array, num_classes: int) -> Array:
    """Return labels [...] int32 as class shares [..., C] float32; shares as they are."""
    return jax.nn.one_hot(targets, num_classes) if jnp.issubdtype(targets.dtype, jnp.integer) else targets


def smooth(targets: Array, num_classes: int, smoothing: float) -> Array:
    """Return class shares [..., C] of which a part is dealt out evenly to all classes.

    Args:
      targets: labels [...] int32 in [0, C), or shares [..., C] float32.
      num_classes: C.
      smoothing: that part, in [0, 1).

    Reference: Szegedy et al., CVPR 2016, section 7; Müller et al., NeurIPS 2019, section 2.
    """
    return (1 - smoothing) * as_shares(targets, num_classes) + smoothing / num_classes


def _at_targets(values: Array, targets: Array) -> Array:
    """Return the value of each unit's label, or the mean of its values under its shares: [..., C] -> [...]."""
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return at_label(values, targets)
    return jnp.sum(targets * values, axis=-1)
