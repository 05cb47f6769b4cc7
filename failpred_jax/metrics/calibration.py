"""Calibration: whether a confidence of 0.8 is right 80% of the time; of the confidence, and of class probabilities.

A confidence outside [0, 1] is no probability: everything here is then NaN.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from failpred_jax.metrics import on_host
from failpred_jax.metrics.metric import INFINITY, Metric, nan_unless, register
from failpred_jax.metrics.reliability import NUM_BINS, bin_gaps, bin_shares, flatten, reliability_bins
from failpred_jax.metrics.sums import masked_mean
from failpred_jax.metrics.walk import float_type
from failpred_jax.types import Array


def _is_probability(confidence: jax.Array, mask: jax.Array) -> jax.Array:
    return jnp.any(mask) & jnp.all(~mask | ((confidence >= 0) & (confidence <= 1)))


def confidence_calibration(
    confidence: Array, correct: Array, mask: Array | None = None, num_bins: int = NUM_BINS
) -> dict[str, jax.Array]:
    """Return every calibration metric of a confidence as P(correct); pure and jittable (`num_bins` static).

    Args:
      confidence: [N] float in [0, 1].
      correct: [N] bool, or float grades in [0, 1], which stand for the chance of being right.
      mask: [N] bool or None.
      num_bins: K.

    Returns:
      {ece, ece_equal_mass, signed_ece, mce, brier, brier_reliability, brier_resolution, brier_uncertainty, nll:
      scalar}; all NaN if no unit is counted or a counted confidence is outside [0, 1] or NaN. NLL is infinite where a
      confidence of 0 was right or one of 1 was wrong.

    Reference: Guo et al., ICML 2017, equations 3 and 5; Brier: Murphy, Journal of Applied Meteorology 1973.
    """
    confidence, correct, mask = flatten(confidence, correct, mask)
    width = reliability_bins(confidence, correct, mask, num_bins)
    mass = reliability_bins(confidence, correct, mask, num_bins, equal_mass=True)
    sure, right = confidence.astype(float_type()), correct.astype(float_type())
    accuracy = masked_mean(right, mask)
    spread = jnp.where(width.count > 0, width.accuracy - accuracy, 0)
    found = {
        'ece': jnp.sum(bin_shares(width) * jnp.abs(bin_gaps(width))),
        'ece_equal_mass': jnp.sum(bin_shares(mass) * jnp.abs(bin_gaps(mass))),
        'signed_ece': masked_mean(sure - right, mask),
        'mce': jnp.max(jnp.abs(bin_gaps(width))),
        'brier': masked_mean((sure - right) ** 2, mask),
        'brier_reliability': jnp.sum(bin_shares(width) * bin_gaps(width) ** 2),
        'brier_resolution': jnp.sum(bin_shares(width) * spread**2),
        'brier_uncertainty': _uncertainty(correct, right, accuracy, mask),
        'nll': masked_mean(jnp.where(mask, _cross_entropy(correct, sure), 0), mask),
    }
    defined = _is_probability(confidence, mask)
    return {name: nan_unless(defined, value) for name, value in found.items()}


def _uncertainty(correct: jax.Array, right: jax.Array, accuracy: jax.Array, mask: jax.Array) -> jax.Array:
    """Return the variance of what is right; of right and wrong it is accuracy (1 - accuracy)."""
    if correct.dtype == bool:
        return accuracy * (1 - accuracy)
    return masked_mean((right - jnp.where(jnp.any(mask), accuracy, 0)) ** 2, mask)


def _cross_entropy(correct: jax.Array, sure: jax.Array) -> jax.Array:
    """Return -(g log s + (1 - g) log(1 - s)) of each unit, where 0 log 0 is 0."""
    if correct.dtype == bool:
        return -jnp.log(jnp.where(correct, sure, 1 - sure))
    of_right = jnp.where(correct > 0, correct * jnp.log(jnp.where(correct > 0, sure, 1)), 0)
    return -(of_right + jnp.where(correct < 1, (1 - correct) * jnp.log(jnp.where(correct < 1, 1 - sure, 1)), 0))


def _units(probs: Array, labels: Array, mask: Array | None) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return [N, C] probabilities, [N] labels, [N] mask, and whether all counted ones are what they should be."""
    probs = jnp.asarray(probs)
    num_classes = probs.shape[-1]
    probs, labels = probs.reshape(-1, num_classes), jnp.ravel(jnp.asarray(labels)).astype(jnp.int32)
    mask = jnp.ones(labels.shape, bool) if mask is None else jnp.ravel(jnp.asarray(mask))
    good = jnp.all((probs >= 0) & (probs <= 1), axis=-1) & (labels >= 0) & (labels < num_classes)
    return probs, labels, mask, jnp.any(mask) & jnp.all(~mask | good)


def classwise_ece(probs: Array, labels: Array, mask: Array | None = None, num_bins: int = NUM_BINS) -> jax.Array:
    """Return the mean over classes of the equal-width ECE of "probability of this class" against "label is this class".

    Args:
      probs: [..., C] float in [0, 1].
      labels: [...] int32 in [0, C).
      mask: [...] bool or None.
      num_bins: K, static.

    Returns:
      Scalar in [0, 1]; NaN if no unit is counted or a counted one is out of range.

    Reference: Kull et al., NeurIPS 2019 ("classwise-ECE").
    """
    probs, labels, mask, defined = _units(probs, labels, mask)

    def of_class(c: jax.Array) -> jax.Array:
        bins = reliability_bins(probs[:, c], labels == c, mask, num_bins)
        return jnp.sum(bin_shares(bins) * jnp.abs(bin_gaps(bins)))

    each = jax.lax.map(of_class, jnp.arange(probs.shape[-1], dtype=jnp.int32))
    return nan_unless(defined, jnp.mean(each))


def multiclass_brier(probs: Array, labels: Array, mask: Array | None = None) -> jax.Array:
    """Return the mean squared distance between class probabilities and the one-hot label, in [0, 2].

    Args: as `classwise_ece`.

    Reference: Brier, Monthly Weather Review 1950.
    """
    probs, labels, mask, defined = _units(probs, labels, mask)
    return nan_unless(defined, masked_mean(jnp.where(mask, _brier_of_units(probs, labels), 0), mask))


def _brier_of_units(probs: Array, labels: Array) -> jax.Array:
    """Return the squared distance of each unit [N], NaN where its probabilities are none."""
    is_label = labels[:, None] == jnp.arange(probs.shape[-1], dtype=jnp.int32)[None, :]
    return jnp.sum((probs.astype(float_type()) - is_label) ** 2, axis=-1)


def multiclass_nll(probs: Array, labels: Array, mask: Array | None = None) -> jax.Array:
    """Return the mean negative log probability of the label, in nats; infinite where a label had probability 0.

    Args: as `classwise_ece`.

    Reference: scikit-learn log_loss (which clips probabilities; this does not).
    """
    probs, labels, mask, defined = _units(probs, labels, mask)
    of_label = jnp.take_along_axis(probs, jnp.clip(labels, 0, probs.shape[-1] - 1)[:, None], axis=-1)[:, 0]
    each = -jnp.log(jnp.where(mask, of_label, 1).astype(float_type()))
    return nan_unless(defined, masked_mean(each, mask))


def multiclass_nll_from_logits(logits: Array, labels: Array, mask: Array | None = None) -> jax.Array:
    """Return the mean negative log probability of the label, in nats, where the softmax of `logits` may round to 0.

    Args:
      logits: [..., C] float; -inf is a class that cannot be.
      labels: [...] int32 in [0, C).
      mask: [...] bool or None.

    Returns:
      Scalar >= 0; infinite where the logit of a label is -inf, NaN if no unit is counted or a counted one is out of
      range.

    Reference: scikit-learn log_loss.
    """
    logits = jnp.asarray(logits)
    logits, labels = logits.reshape(-1, logits.shape[-1]), jnp.ravel(jnp.asarray(labels)).astype(jnp.int32)
    mask = jnp.ones(labels.shape, bool) if mask is None else jnp.ravel(jnp.asarray(mask))
    each, good = _nll_of_units(logits, labels)
    return nan_unless(jnp.any(mask) & jnp.all(~mask | good), masked_mean(jnp.where(mask, each, 0), mask))


def _nll_of_units(logits: Array, labels: Array) -> tuple[jax.Array, jax.Array]:
    """Return the negative log probability of each unit's label [N], and where it is defined."""
    top = jnp.max(logits, axis=-1)
    good = jnp.isfinite(top) & (labels >= 0) & (labels < logits.shape[-1])
    of_label = jnp.take_along_axis(logits, jnp.clip(labels, 0, logits.shape[-1] - 1)[:, None], axis=-1)[:, 0]
    # Differences of [N] in full precision; what is summed over [N, C] is at least 1, and its logarithm exact enough.
    rest = jnp.log(jnp.sum(jnp.exp(logits - top[:, None]), axis=-1))
    return (top.astype(float_type()) - of_label.astype(float_type())) + rest.astype(float_type()), good


def _nll_or_nan(logits: Array, labels: Array) -> jax.Array:
    each, good = _nll_of_units(logits, labels)
    return nan_unless(good, each)


def _one(name: str, confidence: Array, correct: Array, mask: Array | None = None) -> jax.Array:
    return confidence_calibration(confidence, correct, mask)[name]


_OUTSIDE = 'a counted confidence is outside [0, 1]'
_GUO = 'Guo et al., ICML 2017'
_MURPHY = 'Murphy, Journal of Applied Meteorology 1973'
_BINNED = f'{NUM_BINS} bins (k/K, (k+1)/K] of equal width'


def _register(name: str, **facts: Any) -> None:
    fn = functools.partial(_one, name)
    register(
        Metric(
            name=name, family='calibration', inputs='probability', fn=fn, undefined=_OUTSIDE, has_grades=True, **facts
        )
    )


def _register_of_classes(fn: Callable[..., jax.Array], **facts: Any) -> None:
    undefined = 'a counted probability is outside [0, 1]'
    register(
        Metric(
            name=fn.__name__,
            family='calibration',
            inputs='classes',
            fn=fn,
            undefined=undefined,
            higher_is_better=False,
            **facts,
        )
    )


_register(
    'ece',
    label='ECE, equal width',
    meaning='the mean gap between confidence and accuracy',
    definition=f'Mean over units of |accuracy - mean confidence| of their bin; {_BINNED}.',
    reference=f'{_GUO}, eq. 3',
    higher_is_better=False,
)
_register(
    'ece_equal_mass',
    label='ECE, equal mass',
    meaning='the mean gap over bins that hold equally many',
    definition=f'The same with {NUM_BINS} bins of equally many units, cut by rank; equal confidences share a bin.',
    reference="Nguyen & O'Connor, EMNLP 2015",
    higher_is_better=False,
)
_register(
    'signed_ece',
    label='Signed ECE',
    meaning='above 0 where confidence exceeds accuracy',
    definition='Mean confidence less accuracy: above 0 is overconfident. (Bins cancel in the signed sum.)',
    reference=f'{_GUO}, equation 3 without the absolute value',
    higher_is_better=None,
    low=-1.0,
)
_register(
    'mce',
    label='MCE',
    meaning='the widest gap of any bin',
    definition=f'Largest |accuracy - mean confidence| of any bin that is not empty; {_BINNED}.',
    reference=f'{_GUO}, eq. 5',
    higher_is_better=False,
)
_register(
    'brier',
    label='Brier',
    meaning='squared error of the probabilities',
    definition='Mean squared difference between confidence and correctness (1 or 0).',
    reference='scikit-learn brier_score_loss; Brier, Monthly Weather Review 1950',
    higher_is_better=False,
    is_share=False,
)
_register(
    'brier_reliability',
    label='Brier: reliability',
    meaning='its part from miscalibration',
    definition='Part of the Brier score due to miscalibration: mean squared gap between accuracy and confidence; '
    f'{_BINNED}.',
    reference=f'{_MURPHY}, first term',
    higher_is_better=False,
    is_share=False,
)
_register(
    'brier_resolution',
    label='Brier: resolution',
    meaning='what telling units apart gains',
    definition=f'Part of the Brier score gained by telling units apart: variance of accuracy between bins; {_BINNED}. '
    'Brier = reliability - resolution + uncertainty, up to the spread of confidence inside a bin.',
    reference=f'{_MURPHY}, second term',
    higher_is_better=True,
    high=0.25,
    is_share=False,
)
_register(
    'brier_uncertainty',
    label='Brier: uncertainty',
    meaning='what the error rate alone costs',
    definition='The Brier score of always saying the accuracy: accuracy (1 - accuracy), or the variance of grades. It '
    'belongs to the classifier, not to the score.',
    reference=f'{_MURPHY}, third term',
    higher_is_better=None,
    high=0.25,
    is_share=False,
)
_register(
    'nll',
    label='NLL',
    meaning='negative log-likelihood, in nats',
    definition='Mean negative log-likelihood of correctness, in nats; infinite if a confidence of 1 was wrong or 0 '
    'right.',
    reference='scikit-learn log_loss (which clips probabilities; this does not)',
    higher_is_better=False,
    high=INFINITY,
    infinite='a confidence of 1 was wrong, or one of 0 right',
    is_share=False,
)
_register_of_classes(
    classwise_ece,
    on_host=on_host.classwise_ece,
    label='Classwise ECE',
    meaning='the gap of every class probability, averaged',
    definition=f'Mean over classes of the ECE of "probability of this class" against "label is this class"; {_BINNED}.',
    reference='Kull et al., NeurIPS 2019 ("classwise-ECE")',
)
_register_of_classes(
    multiclass_brier,
    on_host=on_host.mean_of_units(_brier_of_units),
    label='Brier, all classes',
    meaning='squared error of all class probabilities',
    definition='Mean squared distance between class probabilities and the one-hot label.',
    reference='Brier, Monthly Weather Review 1950',
    high=2.0,
    is_share=False,
)
_register_of_classes(
    multiclass_nll,
    label='NLL, all classes',
    meaning='negative log-likelihood of the classes, in nats',
    definition='Mean negative log probability of the label, in nats; infinite if a label had probability 0.',
    reference='scikit-learn log_loss (which clips probabilities; this does not)',
    high=INFINITY,
    infinite='a label had probability 0',
    from_logits=multiclass_nll_from_logits,
    on_host=on_host.mean_of_units(_nll_or_nan, from_logits=True),
    is_share=False,
)
