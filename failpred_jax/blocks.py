"""Functions of many rows, some rows at a time, so that what they hold does not grow with the rows."""

import math
from collections.abc import Callable, Iterator

import jax
import numpy as np

from failpred_jax.types import Array, PyTree

# Of the widest array, so many values at once: 4 MB of float32, of which a function may hold several copies.
BLOCK_VALUES = 1 << 20


def blocks_of(rows: PyTree) -> Iterator[tuple[slice, int]]:
    """Yield (rows, first of them that no block before had), of arrays [N, ...]; one block where there are few.

    All blocks have one size, so that nothing is compiled twice: the last one reaches back over the one before.
    """
    leaves = jax.tree.leaves(rows)
    count, widest = len(leaves[0]), max(math.prod(x.shape[1:]) for x in leaves)
    size = count if count * widest <= 4 * BLOCK_VALUES else max(1, BLOCK_VALUES // widest)
    for start in range(0, max(count, 1), max(size, 1)):
        stop = min(start + size, count)
        yield slice(stop - size, stop), start


def in_blocks(fn: Callable[..., Array], rows: PyTree, *others: PyTree) -> np.ndarray:
    """Return `fn(rows, *others)` [N, ...], in its own type (bfloat16 as float32), some rows at a time.

    Args:
      fn: each row of its result depends on its own row only.
      rows: pytree of [N, ...].
      others: given to every call as they are.
    """
    found = []
    for taken, new in blocks_of(rows):
        values = fn(jax.tree.map(lambda x, taken=taken: x[taken], rows), *others)
        found.append(to_host(values)[new - taken.start :])
    return found[0] if len(found) == 1 else np.concatenate(found)


def to_host(values: Array) -> np.ndarray:
    """Return values as NumPy, in their own type; bfloat16, which is none of NumPy's, as float32."""
    found = np.asarray(jax.device_get(values))
    return found if found.dtype.kind in 'biuf' else found.astype(np.float32)
