"""What a confidence head learns, one unit at a time.

Every loss has the signature `(outputs, labels, mask, *, error_weight, temperature) -> [...]`, with the keyword
`options` too if it owns options: labels [...] int32 in [0, C), mask [...] bool, result [...] float32 to be averaged
over the units of the mask. Targets are constants: no gradient flows into the classifier through them.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jax.lax import stop_gradient

from failpred_jax.errors import given
from failpred_jax.options import POSITIVE, option, rule
from failpred_jax.outcomes import at_label, is_correct
from failpred_jax.registry import LOSSES
from failpred_jax.types import Array, Outputs


@dataclass(frozen=True)
class FocalOptions:
    """Options of the focal loss."""

    alpha: float = option(0.25, 'factor of the whole loss', POSITIVE)
    gamma: float = option(
        5.0,
        'exponent: how much less a unit counts whose confidence is right',
        # In between, the gradient is infinite where the loss is 0.
        rule('0, or 1 or greater', lambda v: v == 0 or v >= 1),
    )


@LOSSES.register('tcp_mse', reads=('error_weight', 'temperature'))
def tcp_mse(outputs: Outputs, labels: Array, mask: Array, *, error_weight: float, temperature: float) -> Array:
    """Return the squared error to the true class probability, times `error_weight` where the prediction is wrong.

    Reference: Corbière et al., NeurIPS 2019, equation 5.
    """
    target = at_label(_probs(outputs, temperature), labels)
    return _weight(outputs, labels, error_weight) * jnp.square(_confidence(outputs) - target)


@LOSSES.register('tcp_ratio_mse', reads=('error_weight', 'temperature'))
def tcp_ratio_mse(outputs: Outputs, labels: Array, mask: Array, *, error_weight: float, temperature: float) -> Array:
    """Return the squared error to the true class probability over the largest one, weighted as `tcp_mse`.

    Reference: Corbière et al., NeurIPS 2019, section 2.2 (normalized TCP).
    """
    probs = _probs(outputs, temperature)
    target = at_label(probs, labels) / jnp.max(probs, axis=-1)
    return _weight(outputs, labels, error_weight) * jnp.square(_confidence(outputs) - target)


@LOSSES.register('tcp_bce', reads=('error_weight', 'temperature'))
def tcp_bce(outputs: Outputs, labels: Array, mask: Array, *, error_weight: float, temperature: float) -> Array:
    """Return the cross-entropy to the true class probability, weighted as `tcp_mse`.

    Both are least where the confidence is the mean of the targets. The gradient of the squared error vanishes where the
    sigmoid is nearly 0 or 1, as nearly all confidences of a good classifier are; that of the cross-entropy does not.

    Reference: Buja, Stuetzle & Shen, "Loss functions for binary class probability estimation and classification", 2005
      (both are proper); Corbière et al., NeurIPS 2019, equation 5 (the target).
    """
    target = at_label(_probs(outputs, temperature), labels)
    each = optax.sigmoid_binary_cross_entropy(given(outputs.confidence_logit, 'a confidence'), target)
    return _weight(outputs, labels, error_weight) * each


@LOSSES.register('correctness_bce', reads=('error_weight',))
def correctness_bce(outputs: Outputs, labels: Array, mask: Array, *, error_weight: float, temperature: float) -> Array:
    """Return the cross-entropy to "the prediction is correct", weighted as `tcp_mse`; `temperature` plays no part.

    Reference: Corbière et al., NeurIPS 2019, section 4.3 (BCE).
    """
    return _weight(outputs, labels, error_weight) * _correctness_bce(outputs, labels)


@LOSSES.register('focal', options=FocalOptions)
def focal(
    outputs: Outputs,
    labels: Array,
    mask: Array,
    *,
    error_weight: float,
    temperature: float,
    options: FocalOptions,
) -> Array:
    """Return the focal loss to "the prediction is correct".

    `error_weight` and `temperature` play no part, as in the reference implementation.

    Reference: Lin et al., ICCV 2017, equation 5; Corbière et al., NeurIPS 2019, section 4.3 (Focal).
    """
    bce = _correctness_bce(outputs, labels)
    return options.alpha * (-jnp.expm1(-bce)) ** options.gamma * bce


def _confidence(outputs: Outputs) -> Array:
    return jax.nn.sigmoid(given(outputs.confidence_logit, 'a confidence'))


def _correctness_bce(outputs: Outputs, labels: Array) -> Array:
    correct = is_correct(outputs.logits, labels).astype(jnp.float32)
    return optax.sigmoid_binary_cross_entropy(outputs.confidence_logit, correct)


def _probs(outputs: Outputs, temperature: float) -> Array:
    return jax.nn.softmax(stop_gradient(outputs.logits) / temperature, axis=-1)


def _weight(outputs: Outputs, labels: Array, error_weight: float) -> Array:
    return jnp.where(is_correct(outputs.logits, labels), 1.0, error_weight)
