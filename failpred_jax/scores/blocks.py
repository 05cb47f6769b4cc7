"""A function of many units, some at a time, so that memory stays bounded."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax


def in_blocks(fn: Callable[[jax.Array], jax.Array], rows: jax.Array, max_rows: int) -> jax.Array:
    """Return `fn(rows)` computed on at most `max_rows` rows at a time, one block after another.

    Args:
      fn: [B, D] -> [B, ...]; each row of the result may depend on its own row only.
      rows: [N, D].
      max_rows: static.

    Returns:
      [N, ...].
    """
    num_rows = rows.shape[0]
    block = max(1, min(max_rows, num_rows))
    padded = jnp.pad(rows, ((0, -num_rows % block), (0, 0)))
    results = lax.map(fn, padded.reshape(-1, block, rows.shape[1]))
    return results.reshape(-1, *results.shape[2:])[:num_rows]
