"""The one sort behind all ranking metrics: units in falling confidence, with the thresholds between ties marked.

A key-value sort costs five times a plain integer sort on CPU, so the correctness bit rides inside the 32-bit sort
key. That needs one spare bit, and float32 has none; but real confidences occupy few of the 512 possible
(sign, exponent) pairs, and renumbering the occupied ones loses nothing and frees the bit. Where more than 256 are
occupied, the general key-value sort takes over, with the same result.
"""

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.types import Array

CORRECT, THRESHOLD, COUNTED = 1, 2, 4

_MANTISSA_BITS = 23
_SPARE_BUCKETS = 256
# A scatter holds eight bytes a unit: in chunks, it adds nothing to the memory that the sort needs.
_CHUNK = 1 << 20
_LAST = np.uint32(0xFFFFFFFF)
# What NumPy computes at once, so that what lies between stays in a core's cache.
_HOST_CHUNK = 1 << 15


def falling_keys(confidence: Array) -> jax.Array:
    """Return unsigned keys that rise as confidence falls, equal exactly where confidences are equal.

    Arithmetic is on the bits alone, because XLA on CPU may treat subnormal numbers as zero in comparisons.

    Args:
      confidence: [...] float32, float16, bfloat16, or int32.

    Returns:
      [...] uint32. -0.0 and 0.0 share a key; infinities are ordinary values.
    """
    confidence = jnp.asarray(confidence)
    if jnp.issubdtype(confidence.dtype, jnp.floating):
        bits = jax.lax.bitcast_convert_type(confidence.astype(jnp.float32), jnp.uint32)
        sign = jnp.uint32(1 << 31)
        bits = jnp.where(bits == sign, jnp.uint32(0), bits)
        return jnp.where(bits >= sign, bits, ~(bits | sign))
    bits = jax.lax.bitcast_convert_type(confidence.astype(jnp.int32), jnp.uint32)
    return ~(bits ^ jnp.uint32(1 << 31))


def falling_keys_on_host(confidence: np.ndarray) -> np.ndarray:
    """Return what `falling_keys` does, of a NumPy array, as one."""
    confidence = np.asarray(confidence)
    if not jnp.issubdtype(confidence.dtype, jnp.floating):
        return ~(confidence.astype(np.int32).view(np.uint32) ^ np.uint32(1 << 31))
    bits = confidence.astype(np.float32)
    keys = np.empty(bits.shape, np.uint32)
    for start in range(0, bits.size, _HOST_CHUNK):
        part = slice(start, start + _HOST_CHUNK)
        # Adding 0.0 turns -0.0 into it.
        rising = (bits[part] + np.float32(0.0)).view(np.int32)
        # All bits of a negative number stay as they are; of others, all but the sign are turned around.
        np.bitwise_xor(rising, ~(rising >> 31) & np.int32(0x7FFFFFFF), out=keys[part].view(np.int32))
    return keys


def count_nan(confidence: Array, mask: Array | None = None) -> jax.Array:
    """Return how many counted confidences are NaN: they have no place in an order."""
    confidence = jnp.asarray(confidence)
    if not jnp.issubdtype(confidence.dtype, jnp.floating):
        return jnp.int32(0)
    nan = jnp.isnan(confidence)
    return jnp.sum(nan if mask is None else nan & mask, dtype=jnp.int32)


def sort_units(confidence: Array, correct: Array, mask: Array | None = None) -> jax.Array:
    """Sort units by falling confidence and keep one byte of each: all that a ranking metric needs.

    Args:
      confidence: [N] float32 (or float16, bfloat16, int32), without NaN.
      correct: [N] bool.
      mask: [N] bool, or None for all True.

    Returns:
      [N] uint8 flags in falling confidence: CORRECT; THRESHOLD on the last unit of every distinct confidence;
      COUNTED on units under the mask, which come first. All zero after them.
    """
    confidence, correct = jnp.asarray(confidence), jnp.asarray(correct)
    mask = mask if mask is None else jnp.asarray(mask)
    num_counted = jnp.int32(confidence.size) if mask is None else jnp.sum(mask, dtype=jnp.int32)

    def counted(values: jax.Array, otherwise: np.uint32) -> jax.Array:
        return values if mask is None else jnp.where(mask, values, otherwise)

    number = jnp.cumsum(_occupied_buckets(confidence, mask), dtype=jnp.int32) - 1

    # Keys are computed again inside the branches: what a branch captures would be held in memory beside its sort.
    def packed(_) -> jax.Array:
        keys = falling_keys(confidence)
        high = number[(keys >> _MANTISSA_BITS).astype(jnp.int32)].astype(jnp.uint32)
        low = keys & jnp.uint32((1 << _MANTISSA_BITS) - 1)
        keys = (((high << _MANTISSA_BITS) | low) << 1) | correct.astype(jnp.uint32)
        # A counted unit may share the all-ones key with masked ones; it is then the same number at the same place.
        keys = jnp.sort(counted(keys, _LAST))
        return _flags(keys >> 1, keys & 1, num_counted)

    def general(_) -> jax.Array:
        keys = counted(falling_keys(confidence), _LAST)
        keys, in_order = jax.lax.sort((keys, correct), num_keys=1)
        return _flags(keys, in_order, num_counted)

    return jax.lax.cond(number[-1] < _SPARE_BUCKETS, packed, general, None)


def sort_units_on_host(confidence: Array, correct: Array, mask: Array | None = None) -> np.ndarray:
    """Return what `sort_units` does, sorted by NumPy, which on a CPU takes a tenth of XLA's time for many units."""
    confidence, correct = np.asarray(confidence), np.asarray(correct)
    flags = np.zeros(confidence.size, np.uint8)
    if mask is not None:
        kept = np.asarray(mask)
        confidence, correct = confidence[kept], correct[kept]
    if not confidence.size:
        return flags
    keys = falling_keys_on_host(confidence)
    least = keys.min()
    if keys.max() - least >> 31:
        keys = keys.astype(np.uint64)
    else:
        # The signs and exponents that occur, as those of [0, 1] do, leave the highest bit free.
        keys -= least
    keys <<= 1
    keys |= correct
    keys.sort()
    counted = flags[: confidence.size]
    for start in range(0, counted.size, _HOST_CHUNK):
        # With the first of the next chunk, from which the last may differ or not.
        part = keys[start : start + _HOST_CHUNK + 1]
        found = counted[start : start + _HOST_CHUNK]
        found[:] = part[: found.size] & 1
        differs = part[1:] >> 1 != part[:-1] >> 1
        found[: differs.size] += differs * np.uint8(THRESHOLD)
    counted += COUNTED
    counted[-1] += THRESHOLD
    return flags


def _occupied_buckets(confidence: jax.Array, mask: Array | None) -> jax.Array:
    """Return [512] int32, 1 where a counted unit has that sign and exponent."""
    chunk = min(confidence.size, _CHUNK)

    def add(i: jax.Array, occupied: jax.Array) -> jax.Array:
        # The last slice is moved back to fit; a unit that is met twice occupies the same bucket.
        part = jax.lax.dynamic_slice(confidence, (i * chunk,), (chunk,))
        counted = None if mask is None else jax.lax.dynamic_slice(mask, (i * chunk,), (chunk,))
        bucket = (falling_keys(part) >> _MANTISSA_BITS).astype(jnp.int32)
        # A slot past the table's end is dropped by the scatter: masked units occupy nothing.
        bucket = bucket if counted is None else jnp.where(counted, bucket, 512)
        return occupied.at[bucket].set(1, mode='drop')

    return jax.lax.fori_loop(0, -(-confidence.size // max(chunk, 1)), add, jnp.zeros(512, jnp.int32))


def sort_order(confidence: Array, mask: Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Sort units by falling confidence, for callers that carry more than correctness along.

    Args:
      confidence: [N] as for `sort_units`.
      mask: [N] bool, or None for all True.

    Returns:
      order: [N] int32, indices of units in falling confidence (ties in input order), masked units last.
      flags: [N] uint8, THRESHOLD and COUNTED as in `sort_units`.
    """
    keys = falling_keys(confidence)
    index = jnp.arange(keys.size, dtype=jnp.int32)
    if mask is None:
        num_counted = jnp.int32(keys.size)
        keys, order = jax.lax.sort((keys, index), num_keys=1)
    else:
        num_counted = jnp.sum(mask, dtype=jnp.int32)
        keys, order = jax.lax.sort((jnp.where(mask, keys, _LAST), index), num_keys=1)
    return order, _flags(keys, jnp.zeros(keys.shape, bool), num_counted)


def _flags(keys: jax.Array, correct: jax.Array, num_counted: jax.Array) -> jax.Array:
    position = jnp.arange(keys.size, dtype=jnp.int32)
    differs = jnp.concatenate([keys[1:] != keys[:-1], jnp.ones(min(1, keys.size), bool)])
    threshold = differs | (position == num_counted - 1)
    flags = correct.astype(jnp.uint8) * CORRECT + threshold.astype(jnp.uint8) * THRESHOLD + COUNTED
    return jnp.where(position < num_counted, flags.astype(jnp.uint8), jnp.uint8(0))
