"""Distance to the k-th nearest training point."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.outcomes import is_correct
from failpred_jax.scores.choice import choose
from failpred_jax.scores.neighbors import nearest_distances
from failpred_jax.scores.score import Fit, FitInputs, ScoreInputs, score
from failpred_jax.scores.subsample import describe, keep_uniform
from failpred_jax.types import Array

NUM_NEIGHBORS = (1, 5, 10, 20, 50)


class Neighborhood(NamedTuple):
    """The fitted score.

    Attributes:
      points: [M, D] float32, training features of length 1.
      k: scalar int32, which neighbor counts.
    """

    points: jax.Array
    k: jax.Array


def unit_length(features: Array) -> jax.Array:
    """Return features [N, D] divided by their Euclidean length; a zero vector stays zero."""
    features = jnp.asarray(features, jnp.float32)
    # Scaled first, so that squares neither overflow nor vanish.
    scaled = features / jnp.maximum(jnp.max(jnp.abs(features), axis=-1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    return scaled / jnp.maximum(jnp.linalg.norm(scaled, axis=-1, keepdims=True), jnp.finfo(jnp.float32).tiny)


def _fit(given: FitInputs) -> Fit:
    features, _ = given.training('knn_distance')
    num_train = len(features)
    kept = keep_uniform(num_train, given.key)
    points = unit_length(np.asarray(features)[kept])
    allowed = [k for k in NUM_NEIGHBORS if k <= len(kept)]
    found = nearest_distances(unit_length(given.val.get('features')), points, len(kept), max(allowed))
    candidates = -jnp.take(found, jnp.asarray(allowed) - 1, axis=1)
    chosen, is_defined = choose(candidates, is_correct(given.val.logits, given.val_labels), default=-1)
    k = allowed[chosen]
    if is_defined:
        note = f'k = {k}, the best of {allowed} by validation AURC'
    else:
        note = f'k = {k}: the validation AURC that would choose it is undefined or the same for all'
    neighborhood = Neighborhood(points, jnp.asarray(k, jnp.int32))
    return Fit(neighborhood, (note, *describe(len(kept), num_train)), candidates, default=-1)


@score(
    'knn_distance',
    needs=['logits', 'features'],
    description='minus the distance to the k-th nearest training point, features scaled to length 1',
    reference='Sun et al., ICML 2022, section 3',
    fit=_fit,
    fits_on_train=True,
)
def knn_distance(inputs: ScoreInputs, fitted: Neighborhood) -> jax.Array:
    """Return minus the distance to the k-th nearest of all training points, whatever their class.

    Args:
      inputs: reads `features` [N, D]; `logits` only to choose k on validation data.
      fitted: the training points and k.

    Returns:
      [N] float32 in [-2, 0].

    Reference: Sun, Ming, Zhu & Li, "Out-of-distribution detection with deep nearest neighbors", ICML 2022, section 3.
    """
    most = min(max(NUM_NEIGHBORS), fitted.points.shape[0])
    found = nearest_distances(unit_length(inputs.get('features')), fitted.points, fitted.points.shape[0], most)
    return -jnp.take(found, fitted.k - 1, axis=1)
