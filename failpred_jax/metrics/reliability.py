"""The reliability diagram: units in bins of rising confidence, with the accuracy of each bin."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.metrics.metric import nan_unless
from failpred_jax.metrics.sorting import falling_keys
from failpred_jax.metrics.sums import compensated_sum
from failpred_jax.metrics.walk import float_type
from failpred_jax.types import Array

NUM_BINS = 15


class Bins(NamedTuple):
    """A reliability diagram, K bins of rising confidence.

    Attributes:
      count: [K] int32, units in the bin.
      confidence: [K] float, their mean confidence; NaN for an empty bin.
      accuracy: [K] float, their share of correct units (their mean grade); NaN for an empty bin.
    """

    count: jax.Array  # pyright: ignore[reportIncompatibleMethodOverride]  # tuple.count is never called
    confidence: jax.Array
    accuracy: jax.Array


def reliability_bins(
    confidence: Array,
    correct: Array,
    mask: Array | None = None,
    num_bins: int = NUM_BINS,
    equal_mass: bool = False,
) -> Bins:
    """Bin units by confidence.

    Args:
      confidence: [...] float32 (or float16, bfloat16) in [0, 1].
      correct: [...] bool, or float grades in [0, 1].
      mask: [...] bool or None.
      num_bins: K, static.
      equal_mass: static; False cuts [0, 1] into intervals (k/K, (k+1)/K], True puts a unit that has a share q of the
        units strictly below it into bin floor(K q), so that equal confidences share a bin.

    Returns:
      Bins.

    Reference: Guo et al., ICML 2017, equation 3; equal mass: Nguyen & O'Connor, EMNLP 2015.
    """
    confidence, correct, mask = flatten(confidence, correct, mask)
    if equal_mass:
        # Keys fall with confidence: the m-th smallest confidence is the m-th key from the end of the counted ones.
        keys = jnp.where(mask, falling_keys(confidence), np.uint32(0xFFFFFFFF))
        # One key more than units, so that there is one to look at where there is no unit.
        in_order = jnp.sort(jnp.append(keys, np.uint32(0xFFFFFFFF)))
        total = jnp.sum(mask, dtype=jnp.int32)
        bin_of = jnp.zeros(keys.shape, jnp.int32)
        for k in range(1, num_bins):
            below = total // num_bins * k + -(-(total % num_bins * k) // num_bins)
            cut = in_order[jnp.maximum(total - below, 0)]
            bin_of += keys < cut
    else:
        edges = jnp.asarray(np.arange(1, num_bins) / num_bins, confidence.dtype)
        bin_of = jnp.searchsorted(edges, confidence, side='left').astype(jnp.int32)

    def of_bin(k: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        inside = mask & (bin_of == k)
        count = jnp.sum(inside, dtype=jnp.int32)
        if correct.dtype == bool:
            right = jnp.sum(inside & correct, dtype=jnp.int32).astype(float_type())
        else:
            right = compensated_sum(jnp.where(inside, correct, 0))
        sure = compensated_sum(jnp.where(inside, confidence, 0))
        mean_sure, mean_right = (
            nan_unless(count > 0, x / jnp.maximum(count, 1).astype(x.dtype)) for x in (sure, right)
        )
        return count, mean_sure, mean_right

    return Bins(*jax.lax.map(of_bin, jnp.arange(num_bins, dtype=jnp.int32)))


def flatten(confidence: Array, correct: Array, mask: Array | None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return [N] confidence (float), correct (bool, or float grades) and mask (bool; all True for None)."""
    confidence, correct = jnp.ravel(jnp.asarray(confidence)), jnp.ravel(jnp.asarray(correct))
    if not jnp.issubdtype(correct.dtype, jnp.floating):
        correct = correct.astype(bool)
    mask = jnp.ones(confidence.shape, bool) if mask is None else jnp.ravel(jnp.asarray(mask))
    if not jnp.issubdtype(confidence.dtype, jnp.floating):
        confidence = confidence.astype(float_type())
    return confidence, correct, mask


def bin_shares(bins: Bins) -> jax.Array:
    """Return [K] float, the share of the units that is in each bin."""
    total = jnp.maximum(jnp.sum(bins.count), 1)
    return bins.count.astype(float_type()) / total.astype(float_type())


def bin_gaps(bins: Bins) -> jax.Array:
    """Return [K] float, mean confidence less accuracy; 0 for an empty bin."""
    return jnp.where(bins.count > 0, bins.confidence - bins.accuracy, 0)
