"""Residual: how far the features lie outside the space in which training features vary."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.scores.linear import MAX_ROWS
from failpred_jax.scores.score import FitInputs, ScoreInputs, score
from failpred_jax.scores.subsample import describe, keep_uniform
from failpred_jax.types import Array

# Of the variance, as the paper keeps.
KEPT = 0.995


class Space(NamedTuple):
    """A linear space through a point.

    Attributes:
      origin: [D] float32.
      outside: [D, R] float32, orthonormal directions that do not belong to it.
    """

    origin: jax.Array
    outside: jax.Array


def principal_space(features: Array, origin: np.ndarray, num_kept: int | None = None) -> Space:
    """Return the space of the directions in which features [N, D] are largest, seen from `origin` [D].

    Args:
      features: of the training units.
      origin: float64.
      num_kept: how many directions; None for as many as hold 99.5 % of the squared length. One is always left out.

    Raises:
      ScoreUnavailableError: there is one feature alone.
    """
    found = np.asarray(features)
    if found.shape[1] < 2:
        raise ScoreUnavailableError('there is one feature alone: nothing lies outside of its direction')
    scatter = np.zeros((found.shape[1], found.shape[1]))
    for start in range(0, len(found), 8192):
        block = found[start : start + 8192] - origin
        scatter += block.T @ block
    values, vectors = np.linalg.eigh(scatter)
    values, vectors = values[::-1], vectors[:, ::-1]
    if num_kept is None:
        share = np.cumsum(values) / max(values.sum(), np.finfo(np.float32).tiny)
        num_kept = int(np.searchsorted(share, KEPT)) + 1
    outside = vectors[:, min(num_kept, len(values) - 1) :]
    return Space(jnp.asarray(origin, jnp.float32), jnp.asarray(outside, jnp.float32))


def distance_to(space: Space, features: Array) -> jax.Array:
    """Return how far features [N, D] lie outside of a space: [N] float32, 0 or greater."""
    shifted = jnp.asarray(features, jnp.float32) - space.origin[None]
    return jnp.linalg.norm(jnp.dot(shifted, space.outside, precision=lax.Precision.HIGHEST), axis=-1)


def fit_residual(given: FitInputs) -> tuple[Space, tuple[str, ...]]:
    """Return the principal space of the training features around their mean, and a note; found once for all scores."""
    return given.once(_fit)


def _fit(given: FitInputs) -> tuple[Space, tuple[str, ...]]:
    features, _ = given.training('residual')
    rows = keep_uniform(len(features), given.key, MAX_ROWS)
    kept = np.asarray(features)[rows]
    space = principal_space(kept, kept.mean(axis=0, dtype=np.float64))
    num_features, num_outside = space.outside.shape
    return space, (
        f'{num_features - num_outside} of {num_features} directions hold {100 * KEPT:g} % of the variance',
        *describe(len(rows), len(features)),
    )


@score(
    'residual',
    needs=['features'],
    description='minus the distance of the features from the space in which training features vary',
    reference='Ndiour, Ahuja & Tickoo, 2020, equation 3; Wang et al., CVPR 2022, equation 4',
    fit=fit_residual,
    fits_on_train=True,
    reads_val_labels=False,
    ranks_errors=False,
)
def residual(inputs: ScoreInputs, fitted: Space) -> jax.Array:
    """Return -|P (f - mu)|, P projecting on what 99.5 % of the training features' variance leave over.

    Args:
      inputs: reads `features` [N, D].
      fitted: the space.

    Returns:
      [N] float32, 0 or less.

    Reference: Ndiour, Ahuja & Tickoo, "Out-of-distribution detection with subspace techniques and probabilistic
      modeling of features", 2020 (arXiv:2012.04250), the feature reconstruction error.
    """
    return -distance_to(fitted, inputs.get('features'))
