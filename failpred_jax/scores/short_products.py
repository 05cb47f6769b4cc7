"""Matrix products in bfloat16, several times as fast on some processors, and how far they can be off.

A product only proposes which points are near (distances.py), so it may be inexact as long as it is known by how much.
Rounding q to q' and p to p' changes their product by no more than |q| |p - p'| + |q - q'| |p'|, whatever they hold.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Below so many multiplications, the programs take longer to compile than they save.
_MIN_WORK = 2e11
# Below so many features, other things take longer than the product.
_MIN_FEATURES = 256


class ShortPoints(NamedTuple):
    """Points in bfloat16.

    Attributes:
      points: [R, D] bfloat16.
      lengths: [R] float32.
      errors: [R] float32, the length of what rounding took away, and what a sum in float32 can lose.
    """

    points: jax.Array
    lengths: jax.Array
    errors: jax.Array


def pays(num_units: int, num_points: int, num_features: int) -> bool:
    """Return whether products of units and points in bfloat16 save time here."""
    return num_features >= _MIN_FEATURES and num_units * num_points * num_features >= _MIN_WORK and _is_fast()


@functools.cache
def _is_fast() -> bool:
    """Return whether the processor multiplies bfloat16 matrices; others imitate it, slower than float32."""
    if jax.default_backend() != 'cpu':
        return False
    try:
        return 'amx_bf16' in Path('/proc/cpuinfo').read_text().split()
    except OSError:
        return False


@jax.jit
def shorten(points: jax.Array) -> ShortPoints:
    """Return points [R, D] float32 in bfloat16."""
    short, lost = _rounded(points)
    lengths = jnp.linalg.norm(short.astype(jnp.float32), axis=1)
    return ShortPoints(short, lengths, lost + points.shape[1] * jnp.finfo(jnp.float32).eps * lengths)


def largest_products(units: jax.Array, points: ShortPoints) -> jax.Array:
    """Return what the products of units [B, D] float32 and points are at most: [B, R] float32."""
    short, lost = _rounded(units)
    products = jax.lax.dot_general(short, points.points, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
    lengths = jnp.linalg.norm(units, axis=1)
    return products + lengths[:, None] * points.errors[None] + lost[:, None] * points.lengths[None]


def _rounded(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return rows in bfloat16, and the length of what that took away from each."""
    short = rows.astype(jnp.bfloat16)
    # Across a barrier, or XLA takes the rounding back to float32 for none at all.
    lost = rows - jax.lax.optimization_barrier(short).astype(jnp.float32)
    return short, jnp.linalg.norm(lost, axis=1)
