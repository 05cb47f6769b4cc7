"""Exact nearest neighbors on the device: a matrix product proposes, direct differences decide. No trees.

Squared distances by matrix product, |b|^2 - 2 q.b, are fast but lose their digits where the distance is small against
the norms. So the product, of features centered on the bank to lose fewer, only proposes `k + SPARE` candidates; their
distances are then taken from the differences themselves. The result is exact to float32 unless more than SPARE other
points lie within the product's rounding of the k-th neighbor, and is then off by no more than that rounding.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from failpred_jax.scores.blocks import in_blocks
from failpred_jax.types import Array

SPARE = 8
# Columns that are first reduced to their best, so that the selection sees 1 in 64 of the distances.
CHUNK = 64
# A set of fewer points is padded to a multiple of this.
_FEW = 8
# A block of queries holds this many distances (4 MB, about a core's cache), but never fewer rows than keep the matrix
# product fast. Both were chosen by measuring on 2 CPU cores; see benchmarks/scores.py.
BLOCK_ENTRIES = 1 << 20
MIN_BLOCK_ROWS = 64


class Banks(NamedTuple):
    """Several sets of points of similar size, padded to one shape.

    Attributes:
      points: [G, M, D] float32.
      counts: [G] int32, how many of the M points of each set are real; they come first.
      owners: [G] int32, the number under which each set's distances are reported.
    """

    points: jax.Array
    counts: jax.Array
    owners: jax.Array


def make_banks(sets: list[np.ndarray], slack: float = 1.25) -> tuple[Banks, ...]:
    """Return `sets` (each [M_i, D], numbered by position) grouped by size, so that few shapes are compiled.

    A set is padded to about `slack` times its size at most. Empty sets are left out.
    """
    order = sorted((i for i, points in enumerate(sets) if len(points)), key=lambda i: len(sets[i]))
    groups: list[list[int]] = []
    for i in order:
        if groups and len(sets[i]) <= slack * len(sets[groups[-1][0]]):
            groups[-1].append(i)
        else:
            groups.append([i])
    banks = []
    for group in groups:
        largest = len(sets[group[-1]])
        # Of thousands of classes with few points each, 64 rows a class would be mostly padding.
        multiple = CHUNK if largest > CHUNK else _FEW
        size = -(-largest // multiple) * multiple
        padded = [np.pad(np.asarray(sets[i], np.float32), ((0, size - len(sets[i])), (0, 0))) for i in group]
        counts = [len(sets[i]) for i in group]
        banks.append(
            Banks(jnp.asarray(np.stack(padded)), jnp.asarray(counts, jnp.int32), jnp.asarray(group, jnp.int32))
        )
    return tuple(banks)


def nearest_in_each(queries: Array, banks: tuple[Banks, ...], num_sets: int, nth: int = 1) -> jax.Array:
    """Return the Euclidean distance from each query to the n-th nearest point of each set.

    Args:
      queries: [N, D] float32.
      banks: from `make_banks`.
      num_sets: how many sets there were.
      nth: 1 for the nearest.

    Returns:
      [N, num_sets] float32; inf for a set of fewer than nth points.
    """
    queries = jnp.asarray(queries, jnp.float32)
    result = jnp.full((queries.shape[0], num_sets), jnp.inf, jnp.float32)
    for group in banks:
        distances = _over_group(queries, group.points, group.counts, nth)
        result = result.at[:, group.owners].set(distances.T)
    return result


def own_radii(banks: tuple[Banks, ...], k: int) -> dict[int, np.ndarray]:
    """Return, for every point, the distance to its k-th nearest in its own set, itself counted as the first.

    A set of fewer than k points uses its farthest point instead.

    Returns:
      {set: [M_i] float32}, in the order in which the set was given.
    """
    radii = {}
    for group in banks:
        # A set against itself; its padding is asked as well, and thrown away.
        found = np.asarray(_over_own(group.points, group.counts, min(k, group.points.shape[1])))
        for owner, count, values in zip(np.asarray(group.owners), np.asarray(group.counts), found, strict=True):
            radii[int(owner)] = values[:count, min(k, int(count)) - 1]
    return radii


@functools.partial(jax.jit, static_argnames='nth')
def _over_group(queries: jax.Array, points: jax.Array, counts: jax.Array, nth: int) -> jax.Array:
    return lax.map(lambda bank: nearest_distances(queries, *bank, k=nth)[:, nth - 1], (points, counts))


@functools.partial(jax.jit, static_argnames='k')
def _over_own(points: jax.Array, counts: jax.Array, k: int) -> jax.Array:
    return lax.map(lambda bank: nearest_distances(bank[0], *bank, k=k), (points, counts))


@functools.partial(jax.jit, static_argnames='k')
def nearest_distances(queries: Array, points: Array, count: Array, k: int) -> jax.Array:
    """Return the Euclidean distances from each query to its k nearest points, nearest first.

    Args:
      queries: [N, D] float32.
      points: [M, D] float32, of which the first `count` are real.
      count: scalar int32.
      k: static.

    Returns:
      [N, k] float32; inf where there are fewer than k points.
    """
    queries, points = jnp.asarray(queries, jnp.float32), jnp.asarray(points, jnp.float32)
    points = jnp.pad(points, ((0, -points.shape[0] % CHUNK), (0, 0)))
    num_points = points.shape[0]
    num_candidates = min(num_points, k + SPARE)
    is_real = jnp.arange(num_points) < count
    center = jnp.sum(jnp.where(is_real[:, None], points, 0.0), axis=0, keepdims=True) / jnp.maximum(count, 1)
    centered = points - center
    # Padding is infinitely far away.
    squared_norms = jnp.where(is_real, jnp.sum(centered**2, axis=1), jnp.inf)[None]

    def of_block(block: jax.Array) -> jax.Array:
        # HIGHEST: a GPU's tensor cores would otherwise round the features to 10 bits.
        products = jnp.dot(block - center, centered.T, precision=lax.Precision.HIGHEST)
        candidates = _largest(2 * products - squared_norms, num_candidates)
        squares = jnp.sum((block[:, None] - rows_of(points, candidates)) ** 2, axis=2)
        squares = jnp.where(candidates < count, squares, jnp.inf)
        nearest = jnp.sqrt(jnp.sort(squares, axis=1)[:, :k])
        return jnp.pad(nearest, ((0, 0), (0, k - nearest.shape[1])), constant_values=jnp.inf)

    return in_blocks(of_block, queries, max(MIN_BLOCK_ROWS, BLOCK_ENTRIES // num_points))


def rows_of(points: jax.Array, rows: jax.Array) -> jax.Array:
    """Return rows [...] of points [M, D]: [..., D], copied before they are read.

    Fused into what is computed of them, XLA would fetch number by number: a sum took 4.3 ns a number on a
    CPU, and 0.7 so.
    """
    return lax.optimization_barrier(points[rows])


def _largest(values: jax.Array, m: int) -> jax.Array:
    """Return the column indices [B, m] of the m largest values of each row of [B, M], M a multiple of CHUNK.

    The m largest lie in the m chunks with the largest maxima, since any other chunk has m larger maxima before it.
    """
    num_rows, num_columns = values.shape
    if num_columns <= 2 * m * CHUNK:
        return lax.top_k(values, m)[1]
    chunks = values.reshape(num_rows, -1, CHUNK)
    _, best_chunks = lax.top_k(jnp.max(chunks, axis=2), m)
    inside = jnp.take_along_axis(chunks, best_chunks[:, :, None], axis=1).reshape(num_rows, -1)
    _, places = lax.top_k(inside, m)
    return jnp.take_along_axis(best_chunks, places // CHUNK, axis=1) * CHUNK + places % CHUNK
