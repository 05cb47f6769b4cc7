"""2x2 max-pooling as the maximum of four strided slices, and the unpooling that undoes it.

XLA's own pooling has a gradient (select-and-scatter) that takes 30 times as long on a CPU. Ties go to the first
maximum of a window, row by row, as in PyTorch.
"""

import jax
import jax.numpy as jnp

from failpred_jax.types import Array


@jax.custom_vjp
def max_pool(x: Array) -> Array:
    """Return the maximum of each 2x2 window, leaving out an odd last row or column.

    Args:
      x: [B, H, W, D].

    Returns:
      [B, H // 2, W // 2, D].
    """
    c = _corners(x)
    return jnp.maximum(jnp.maximum(c[0], c[1]), jnp.maximum(c[2], c[3]))


def max_pool_places(x: Array) -> Array:
    """Return where in its window each maximum lies: 0 to 3, row by row, the first of equals.

    Args:
      x: [B, H, W, D].

    Returns:
      [B, H // 2, W // 2, D] uint8.
    """
    # The comparisons have no gradient; stop_gradient spares the tracing of one.
    c = _corners(jax.lax.stop_gradient(x))
    largest = jnp.maximum(jnp.maximum(c[0], c[1]), jnp.maximum(c[2], c[3]))
    first = [jnp.asarray(i, jnp.uint8) for i in range(4)]
    later = jnp.where(c[1] == largest, first[1], jnp.where(c[2] == largest, *first[2:]))
    return jnp.where(c[0] == largest, first[0], later)


def max_unpool(y: Array, places: Array, size: tuple[int, int]) -> Array:
    """Return zeros except for the values of `y` at the places they were taken from.

    Args:
      y: [B, H // 2, W // 2, D].
      places: [B, H // 2, W // 2, D] uint8, from `max_pool_places`.
      size: (H, W), from before the pooling.

    Returns:
      [B, H, W, D].
    """

    def upsample(v: Array) -> Array:
        return jnp.repeat(jnp.repeat(v, 2, axis=1), 2, axis=2)

    y, places = upsample(y), upsample(places)
    row, column = (jax.lax.broadcasted_iota(jnp.uint8, (1, *y.shape[1:3], 1), axis) % 2 for axis in (1, 2))
    x = jnp.where(places == 2 * row + column, y, 0)
    return jnp.pad(x, ((0, 0), (0, size[0] - x.shape[1]), (0, size[1] - x.shape[2]), (0, 0)))


def _max_pool_fwd(x: Array) -> tuple[Array, tuple]:
    # An empty slice carries the size before pooling, as saved values must be arrays.
    return max_pool(x), (max_pool_places(x), x[:0])


def _max_pool_bwd(saved: tuple, dy: Array) -> tuple[Array]:
    places, empty = saved
    return (max_unpool(dy, places, empty.shape[1:3]),)


max_pool.defvjp(_max_pool_fwd, _max_pool_bwd)


def _corners(x: Array) -> list[Array]:
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    return [x[:, i:height:2, j:width:2] for i in range(2) for j in range(2)]
