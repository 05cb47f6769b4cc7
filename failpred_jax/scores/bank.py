"""The training units that distances are measured to, kept once for all scores that measure them."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.scores.density import ALPHAS, filter_levels
from failpred_jax.scores.short_products import ShortPoints, shorten
from failpred_jax.scores.subsample import describe, keep_per_class, keep_uniform
from failpred_jax.types import Array

# What a bank can hold: units by class (and how dense they lie there), and a uniform draw of all.
BY_CLASS, DENSITY, UNIFORM = 'by class', 'density', 'uniform'
# Columns that are first reduced to their best, so that a selection sees 1 in 64 of the distances; fewer where classes
# are small, as each class fills whole chunks.
CHUNKS = (64, 32, 16, 8, 4)
_MAX_PADDED = 1.2
# Levels of rows that are in no class's set, and of rows that are no unit.
NO_CLASS, PADDING = -1, -2


class Prepared(NamedTuple):
    """What a pass over distances reads besides the points; [R] each, column r of the distances.

    Attributes:
      center: [D] float32, the mean of the units.
      centered: [R, D] float32, points less the center.
      squared_norms: float32, of the centered points; inf where the row is in no class's set.
      largest, length: float32, the largest absolute feature, and the length of the point divided by that.
      inverse: float32, one over the length of the point; 0 where the row is not in the uniform draw, or zero.
      along: float32, the product of the point of length 1 and the center.
      outside: float32, 0 in the uniform draw and inf outside it.
    """

    center: jax.Array
    centered: jax.Array
    squared_norms: jax.Array
    largest: jax.Array
    length: jax.Array
    inverse: jax.Array
    along: jax.Array
    outside: jax.Array


@dataclass(frozen=True, eq=False)
class Bank:
    """Training units in rows, as far as several scores read them.

    The rows of a class lie in chunks of their own: row `lane * num_chunks + c` is in chunk c. Chunks are ordered by
    level and by class.

    Attributes:
      points: [R, D] float32; rows that are no unit are zero.
      labels: [num_chunks] int32, the class of each chunk.
      levels: [num_chunks] int32: the number of density filters (ALPHAS, rising) that keep the units of the chunk, less
        one; 0 where densities were not asked for; NO_CLASS for units that are in no class's set.
      is_unit: [R] bool.
      is_uniform: [R] bool, whether the row belongs to the uniform draw.
      num_train: how many training units there were.
      holds: what can be read, of BY_CLASS, DENSITY and UNIFORM.
    """

    points: Array
    labels: np.ndarray
    levels: np.ndarray
    is_unit: np.ndarray
    is_uniform: np.ndarray
    num_train: int
    holds: tuple[str, ...]

    @property
    def chunk(self) -> int:
        """Rows in a chunk."""
        return len(self.is_unit) // len(self.labels)

    @property
    def num_uniform(self) -> int:
        """Units in the uniform draw."""
        return int(self.is_uniform.sum())

    def class_counts(self, level: int, num_classes: int) -> np.ndarray:
        """Return how many units each class has at this level and above: [C] int."""
        units = self.is_unit.reshape(self.chunk, -1).sum(axis=0)
        kept = self.levels >= level
        return np.bincount(self.labels[kept], units[kept], num_classes).astype(int)

    def notes(self, is_uniform: bool) -> tuple[str, ...]:
        """Return what to tell where not all training units are read."""
        if is_uniform:
            return describe(self.num_uniform, self.num_train)
        in_class = np.tile(self.levels >= 0, self.chunk)
        return describe(int((in_class & self.is_unit).sum()), self.num_train)

    @cached_property
    def prepared(self) -> Prepared:
        """What a pass reads besides the points, computed once."""
        # Values, also where this is first asked for inside a function that is being compiled.
        with jax.ensure_compile_time_eval():
            points = jnp.asarray(self.points)
            in_class = jnp.asarray(np.tile(self.levels >= 0, self.chunk) & self.is_unit)
            return _prepare(points, jnp.asarray(self.is_unit), in_class, jnp.asarray(self.is_uniform))

    @cached_property
    def short(self) -> ShortPoints:
        """The points less the center in bfloat16, computed once."""
        return shorten(self.prepared.centered)


@jax.jit
def _prepare(points: jax.Array, is_unit: jax.Array, in_class: jax.Array, is_uniform: jax.Array) -> Prepared:
    # Centered, the matrix product loses fewer digits where distances are small against norms.
    center = jnp.sum(points, axis=0) / jnp.maximum(jnp.sum(is_unit), 1)
    centered = points - center[None]
    largest, length = lengths(points)
    inverse = jnp.where(is_uniform & (length > 0), 1 / jnp.maximum(largest * length, jnp.finfo(jnp.float32).tiny), 0)
    return Prepared(
        center=center,
        centered=centered,
        squared_norms=jnp.where(in_class, jnp.sum(centered**2, axis=1), jnp.inf),
        largest=largest,
        length=length,
        inverse=inverse,
        along=jnp.dot(points, center, precision=jax.lax.Precision.HIGHEST) * inverse,
        outside=jnp.where(is_uniform, 0, jnp.inf),
    )


def lengths(features: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the largest absolute feature of each row [..., D], and the length of the row divided by it."""
    # Scaled first, so that squares neither overflow nor vanish.
    largest = jnp.max(jnp.abs(features), axis=-1)
    scaled = features / jnp.maximum(largest, jnp.finfo(jnp.float32).tiny)[..., None]
    return largest, jnp.linalg.norm(scaled, axis=-1)


def unit_length(features: Array) -> jax.Array:
    """Return features [..., D] divided by their Euclidean length; a zero vector stays zero."""
    features = jnp.asarray(features, jnp.float32)
    return scaled_by(features, *lengths(features))


def scaled_by(features: jax.Array, largest: jax.Array, length: jax.Array) -> jax.Array:
    """Return what `unit_length` does, of features [..., D] whose `lengths` are known: [...] each."""
    tiny = jnp.finfo(jnp.float32).tiny
    return features / jnp.maximum(largest, tiny)[..., None] / jnp.maximum(length, tiny)[..., None]


def make_bank(features: Array, labels: Array, num_classes: int, key: Array, holds: frozenset[str]) -> Bank:
    """Return the bank of training units for scores that together read `holds`.

    More than subsample.MAX_POINTS units are drawn from: by class, uniformly, or both, as each score would alone.

    Args:
      features: [N, D] float32.
      labels: [N] int32.
      num_classes: C.
      key: PRNG key of the draws.
      holds: of BY_CLASS, DENSITY (which needs BY_CLASS) and UNIFORM.
    """
    features, labels = np.asarray(features, np.float32), np.asarray(labels)
    in_class, is_uniform = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    if BY_CLASS in holds:
        in_class[keep_per_class(labels, key)] = True
        in_class &= (labels >= 0) & (labels < num_classes)
    if UNIFORM in holds:
        is_uniform[keep_uniform(len(labels), key)] = True
    levels = np.where(in_class, 0, NO_CLASS)
    if DENSITY in holds:
        levels[in_class] = filter_levels(features[in_class], labels[in_class], num_classes, ALPHAS)
    kept = np.flatnonzero(in_class | is_uniform)
    kept = kept[np.lexsort((labels[kept], levels[kept]))]
    # Where no class counts, one set for all will do.
    group = np.where(levels[kept] == NO_CLASS, -1, levels[kept] * num_classes + labels[kept])
    starts = np.flatnonzero(np.diff(group, prepend=-2))
    sizes = np.diff(starts, append=len(kept))
    chunk = next((c for c in CHUNKS if (-(-sizes // c) * c).sum() <= _MAX_PADDED * len(kept)), CHUNKS[-1])
    num_chunks = -(-sizes // chunk)
    total = int(num_chunks.sum())
    # Place within the group -> chunk and lane.
    place = np.arange(len(kept)) - np.repeat(starts, sizes)
    chunks = np.repeat(np.cumsum(num_chunks) - num_chunks, sizes) + place // chunk
    rows = place % chunk * total + chunks
    points = np.zeros((chunk * total, features.shape[1]), np.float32)
    points[rows] = features[kept]
    is_unit, uniform = np.zeros(chunk * total, bool), np.zeros(chunk * total, bool)
    is_unit[rows], uniform[rows] = True, is_uniform[kept]
    first = np.repeat(starts, num_chunks)
    return Bank(
        points=jnp.asarray(points),
        labels=labels[kept][first].astype(np.int32),
        levels=levels[kept][first].astype(np.int32),
        is_unit=is_unit,
        is_uniform=uniform,
        num_train=len(labels),
        holds=tuple(sorted(holds)),
    )
