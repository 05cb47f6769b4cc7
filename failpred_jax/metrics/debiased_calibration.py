"""The ECE without what chance adds to it."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from failpred_jax.metrics.metric import Metric, nan_unless, register
from failpred_jax.metrics.reliability import NUM_BINS, reliability_bins
from failpred_jax.metrics.walk import float_type
from failpred_jax.types import Array

# What is to be known of the columns of the ECE.
BIASED = (
    'Every ECE is biased upward: by chance alone, a calibrated score has one above 0. The debiased one is the ECE of '
    f'{NUM_BINS} bins of equally many units less an estimate of that. It does not correct the ECE of {NUM_BINS} bins '
    'of equal width, the usual one: cut otherwise, either may be the larger.'
)


def ece_debiased(confidence: Array, correct: Array, mask: Array | None = None, num_bins: int = NUM_BINS) -> jax.Array:
    """Return the ECE over bins of equal mass, less what it would be too large by: pure and jittable.

    The gap of a bin of n units is its true gap plus noise of variance acc (1 - acc) / n, whose sign the ECE takes away:
    even a perfectly calibrated confidence has an ECE above 0, the more bins or the fewer units the larger. That excess
    is subtracted: of normal noise around gaps that are shrunk until their mean square is the debiased one.

    Args:
      confidence: [N] float in [0, 1].
      correct: [N] bool.
      mask: [N] bool or None.
      num_bins: K, static.

    Returns:
      Scalar in [0, 1], 0 where chance alone explains the gaps; NaN if no unit is counted or a counted confidence is
      outside [0, 1] or NaN.

    Reference: Kumar, Liang & Ma, "Verified uncertainty calibration", NeurIPS 2019, section 4 (the binned estimator is
      biased upward; the mean square of the gaps less their noise is their debiased estimator).
    """
    confidence, correct = jnp.ravel(jnp.asarray(confidence)), jnp.ravel(jnp.asarray(correct)).astype(bool)
    mask = jnp.ones(confidence.shape, bool) if mask is None else jnp.ravel(jnp.asarray(mask))
    bins = reliability_bins(confidence, correct, mask, num_bins, equal_mass=True)
    count = bins.count.astype(float_type())
    is_filled = bins.count > 0
    gap = jnp.where(is_filled, jnp.abs(bins.confidence - bins.accuracy), 0).astype(float_type())
    variance = jnp.where(is_filled, bins.accuracy * (1 - bins.accuracy), 0).astype(float_type())
    # Unbiased, as far as a bin of one unit knows anything of a variance.
    deviation = jnp.sqrt(variance / jnp.maximum(count - 1, 1))
    share = count / jnp.maximum(jnp.sum(count), 1)
    square, noise = jnp.sum(share * gap**2), jnp.sum(share * deviation**2)
    likely = gap * jnp.sqrt(jnp.maximum(1 - noise / jnp.where(square > 0, square, 1), 0))
    value = jnp.sum(share * (gap - (_mean_absolute(likely, deviation) - likely)))
    good = jnp.any(mask) & jnp.all(~mask | ((confidence >= 0) & (confidence <= 1)))
    return nan_unless(good, jnp.clip(value, 0, 1))


def _mean_absolute(mean: jax.Array, deviation: jax.Array) -> jax.Array:
    """Return E|x| of a normal x."""
    ratio = mean / jnp.where(deviation > 0, deviation, 1)
    spread = deviation * 2 * jnp.exp(-(ratio**2) / 2) / jnp.sqrt(2 * jnp.pi)
    return jnp.where(deviation > 0, spread + mean * (1 - 2 * norm.cdf(-ratio)), mean)


register(
    Metric(
        name='ece_debiased',
        family='calibration',
        inputs='probability',
        fn=ece_debiased,
        definition=f'ECE over {NUM_BINS} bins of equally many units, less an estimate of what chance adds to it. The '
        'binned ECE is biased upward: a calibrated confidence has one above 0, the more so the fewer units there are.',
        reference='Kumar, Liang & Ma, NeurIPS 2019, section 4',
        higher_is_better=False,
        undefined='a counted confidence is outside [0, 1]',
        label='ECE, equal mass, debiased',
        meaning='the mean gap over bins that hold equally many, less what chance adds',
    )
)
