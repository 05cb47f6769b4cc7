"""Sums over many units that do not lose digits in float32."""

import jax
import jax.numpy as jnp

from failpred_jax.metrics.walk import float_type, two_sum

_CHUNK = 1 << 16


def compensated_sum(values: jax.Array) -> jax.Array:
    """Return the sum over the first axis, as exact as its terms; [N, ...] -> [...] of the default float type.

    Memory does not grow with N: chunks are added lane by lane with TwoSum, then the lanes in a tree.
    """
    values = jnp.asarray(values)
    size = max(values.shape[0], 1)
    lanes = min(_CHUNK, 1 << (size - 1).bit_length())
    padding = [(0, -size % lanes if values.shape[0] else lanes)] + [(0, 0)] * (values.ndim - 1)
    chunks = jnp.pad(values, padding).reshape(-1, lanes, *values.shape[1:])

    def add(pair: tuple[jax.Array, jax.Array], chunk: jax.Array):
        high, error = two_sum(pair[0], chunk.astype(float_type()))
        return (high, pair[1] + error), None

    zero = jnp.zeros(chunks.shape[1:], float_type())
    (high, low), _ = jax.lax.scan(add, (zero, zero), chunks)
    while high.shape[0] > 1:
        half = high.shape[0] // 2
        high, error = two_sum(high[:half], high[half:])
        low = low[:half] + low[half:] + error
    # An infinite term makes the compensation NaN, but not the sum.
    return jnp.where(jnp.isfinite(high[0]), high[0] + low[0], high[0])


def masked_mean(values: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Return the mean of [N] values under an [N] mask; NaN where nothing is counted."""
    if mask is None:
        return compensated_sum(values) / jnp.asarray(values.size, float_type())
    total = compensated_sum(jnp.where(mask, values, 0))
    return total / jnp.sum(mask, dtype=jnp.int32).astype(float_type())
