"""NNGuide: the energy, guided by the energies of the training points nearby."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp

from failpred_jax.scores.blocks import in_blocks
from failpred_jax.scores.knn import unit_length
from failpred_jax.scores.score import FitInputs, ScoreInputs, score
from failpred_jax.scores.subsample import describe, keep_uniform

# The paper's bank is a few percent of ImageNet, and its k 10.
NUM_NEIGHBORS = 10
MAX_POINTS = 5_000
_BLOCK_ROWS = 256


class Guide(NamedTuple):
    """The fitted score.

    Attributes:
      points: [M, D] float32, training features of length 1, multiplied by their energies.
    """

    points: jax.Array


def _energy(logits: jax.Array | np.ndarray) -> jax.Array:
    return logsumexp(jnp.asarray(logits, jnp.float32), axis=-1)


def _fit(given: FitInputs) -> tuple[Guide, tuple[str, ...]]:
    features, _ = given.training('nnguide')
    assert given.train is not None
    kept = keep_uniform(len(features), given.key, MAX_POINTS)
    energies = _energy(np.asarray(given.train.logits)[kept])
    points = unit_length(np.asarray(features)[kept]) * energies[:, None]
    return Guide(points), describe(len(kept), len(features))


@score(
    'nnguide',
    needs=['logits', 'features'],
    description='energy times the mean energy of the nearest training points, each weighed by its cosine',
    reference='Park, Jung & Teoh, ICCV 2023, equations 4 and 5 (k = 10)',
    fit=_fit,
    fits_on_train=True,
    reads_val_labels=False,
    needs_raw_logits=True,
)
def nnguide(inputs: ScoreInputs, fitted: Guide) -> jax.Array:
    """Return E(x) times the mean of the k largest E(x_i) cos(f, f_i) over training points i.

    Args:
      inputs: reads `logits` [N, C] and `features` [N, D].
      fitted: the bank.

    Returns:
      [N] float32, unbounded.

    Reference: Park, Jung & Teoh, "Nearest neighbor guidance for out-of-distribution detection", ICCV 2023, equations 4
      and 5.
    """
    return _energy(inputs.logits) * _guidance(unit_length(inputs.get('features')), fitted.points)


@jax.jit
def _guidance(features: jax.Array, points: jax.Array) -> jax.Array:
    """Return the mean of the largest products with any of the points: [N, D], [M, D] -> [N]."""
    count = min(NUM_NEIGHBORS, points.shape[0])

    def of_block(block: jax.Array) -> jax.Array:
        products = jnp.dot(block, points.T, precision=lax.Precision.HIGHEST)
        return jnp.mean(lax.top_k(products, count)[0], axis=-1)

    return in_blocks(of_block, features, _BLOCK_ROWS)
