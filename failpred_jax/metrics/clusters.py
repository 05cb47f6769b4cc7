"""Bootstrap of units that come in clusters, such as the pixels of an image: whole clusters are drawn.

Pixels of one image are right and wrong together. Resampling them one by one would take 40 million of them for 40
million observations, and its intervals would be absurdly narrow. What is drawn again here are the images, each with
its counts at some hundreds of confidence levels, so that memory does not grow with the number of pixels.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.console import phase
from failpred_jax.errors import UserError
from failpred_jax.metrics.resampling import Resamples
from failpred_jax.metrics.streaming import LevelCounts, streamed_values
from failpred_jax.metrics.walk import STANDARD, Points

# Resamples whose metrics are computed at once.
_BLOCK = 64


class ClusterCounts(NamedTuple):
    """A score's counts, cluster by cluster.

    Attributes:
      correct: [G, L] int64, correct units of each cluster at each level of rising confidence.
      errors: [G, L] int64, wrong ones.
    """

    correct: np.ndarray
    errors: np.ndarray


def coarse_edges(counts: LevelCounts, num_levels: int = 512) -> np.ndarray:
    """Return where to cut fine levels into about `num_levels`: half hold equally many units, half equally many errors.

    Args:
      counts: a state over fine levels, of any sample of the units.
      num_levels: largest number of coarse levels.

    Returns:
      [L] int64 rising from 0, the first fine level of each coarse one; for np.add.reduceat.
    """
    units, errors = (np.cumsum(np.asarray(x, np.int64)) for x in (counts.correct + counts.errors, counts.errors))
    cuts = [np.zeros(1, np.int64)]
    for cumulative in (units, errors):
        targets = np.linspace(0, cumulative[-1], num_levels // 2 + 1)[1:-1]
        cuts.append(np.searchsorted(cumulative, targets, side='left') + 1)
    cuts = np.unique(np.concatenate(cuts))
    return cuts[cuts < units.size]


def coarsen(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return counts [..., fine levels] summed to those that begin at `edges`: [..., L] int64."""
    return np.add.reduceat(np.asarray(counts, np.int64), edges, axis=-1)


@functools.partial(jax.jit, static_argnames='points')
def _metrics(correct: jax.Array, errors: jax.Array, points: Points) -> dict[str, jax.Array]:
    def one(correct: jax.Array, errors: jax.Array) -> dict[str, jax.Array]:
        return streamed_values(LevelCounts(correct, errors, jnp.zeros_like(correct)), points)

    return jax.vmap(one)(correct, errors)


def bootstrap_clusters(
    counts: Mapping[str, ClusterCounts],
    values: Mapping[str, Mapping[str, float]],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    points: Points = STANDARD,
    block_length: int = 1,
) -> Resamples:
    """Compute every failure and selective metric of several scores on the same resamples of clusters.

    Args:
      counts: score name -> its counts; the clusters are the same for all scores, their levels need not be.
      values: score name -> {metric: value on the data}, as exact as they are known. The resamples are moved by what
        the coarse levels change on the data themselves.
      num_resamples: R.
      seed: the same one gives the same resamples, whatever the scores are.
      points: operating points.
      block_length: clusters that follow each other and are drawn together, for the frames of a video, of which
        neighbors show the same things; 1 where clusters are independent.

    Returns:
      Resamples, in double precision before they are stored. Their support is the number of clusters, or of blocks.

    Raises:
      UserError: fewer than two clusters or blocks, of which nothing can be drawn.

    Reference: Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8 (resampling of clusters);
      Politis & Romano, in Exploring the Limits of Bootstrap, 1992 (circular blocks).
    """
    num_clusters = len(next(iter(counts.values())).correct)
    support = num_clusters // block_length
    if support < 2:
        inside = f' in blocks of {block_length}' if block_length > 1 else ''
        raise UserError(f'there is {num_clusters} image to resample{inside}; intervals need 2 or more')
    pieces = 'images' if block_length == 1 else f'blocks of {block_length} images'
    drawn = cluster_weights(num_clusters, block_length, num_resamples, seed)
    # The first row is the data themselves; padded, so that all blocks share a compilation.
    weights = np.concatenate([np.ones((1, num_clusters)), drawn])
    weights = np.concatenate([weights, np.ones((-len(weights) % _BLOCK, num_clusters))])
    metrics = tuple(next(iter(values.values())))
    exact = np.array([[values[name][metric] for name in counts] for metric in metrics])
    samples = np.empty((len(metrics), len(counts), num_resamples), np.float32)
    for s, of_score in enumerate(_told(counts)):
        blocks = []
        for first in range(0, len(weights), _BLOCK):
            block = weights[first : first + _BLOCK]
            # float64 holds these counts exactly, and has a fast matrix product.
            totals = [(block @ np.asarray(x, np.float64)).astype(np.int32) for x in of_score]
            with jax.enable_x64(jax.default_backend() != 'tpu'):
                found = jax.device_get(_metrics(*totals, points))
            blocks.append(np.stack([found[metric] for metric in metrics]))
        found = np.concatenate(blocks, axis=-1)
        moved = np.nan_to_num(exact[:, s] - found[:, 0])
        samples[:, s] = found[:, 1 : num_resamples + 1] + moved[:, None]
    return Resamples(tuple(counts), metrics, exact, samples, support, True, pieces)


def _told(counts: Mapping[str, ClusterCounts]) -> Iterator[ClusterCounts]:
    with phase('resampling', len(counts), 'scores') as resampling:
        for of_score in counts.values():
            yield of_score
            resampling.add()


def cluster_weights(num_clusters: int, block_length: int, num_resamples: int, seed: int) -> np.ndarray:
    """Draw how often each cluster is in each resample.

    Args:
      num_clusters: G.
      block_length: L; blocks are L clusters in a row, the first following the last.
      num_resamples: R.
      seed: of the draws.

    Returns:
      [R, G] int64, rows adding up to G or, with blocks, to the multiple of L next to it.
    """
    num_blocks = max(round(num_clusters / block_length), 1)
    starts = np.random.default_rng(seed).multinomial(
        num_blocks, np.full(num_clusters, 1 / num_clusters), size=num_resamples
    )
    return sum((np.roll(starts, shift, axis=1) for shift in range(1, block_length)), starts)
