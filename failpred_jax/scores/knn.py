"""Distance to the k-th nearest training point."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from failpred_jax.outcomes import is_correct
from failpred_jax.scores.bank import UNIFORM, Bank, unit_length
from failpred_jax.scores.choice import choose
from failpred_jax.scores.distances import Nearest, distances
from failpred_jax.scores.neighbors import nearest_distances
from failpred_jax.scores.score import Fit, FitInputs, MeasuresDistances, ScoreInputs, score

NUM_NEIGHBORS = (1, 5, 10, 20, 50)
# To choose k among them; of fewer units, those that there are.
_ASKED = Nearest(max(NUM_NEIGHBORS))


class NearUnits(NamedTuple):
    """The fitted score, as an evaluation finds it.

    Attributes:
      bank: the training units.
      k: scalar int32, which neighbor counts.
    """

    bank: Bank
    k: jax.Array


class Neighborhood(NamedTuple):
    """The same with points of its own, as runs of earlier versions have kept it.

    Attributes:
      points: [M, D] float32, training features of length 1.
      k: scalar int32, which neighbor counts.
    """

    points: jax.Array
    k: jax.Array


def _fit(given: FitInputs) -> Fit:
    bank = given.bank_of('knn_distance', frozenset({UNIFORM}))
    allowed = [k for k in NUM_NEIGHBORS if k <= bank.num_uniform]
    found = jnp.asarray(given.val.once(distances, bank, _ASKED))
    candidates = -jnp.take(found, jnp.asarray(allowed) - 1, axis=1)
    chosen, is_defined = choose(candidates, is_correct(given.val.logits, given.val_labels), default=-1)
    k = allowed[chosen]
    if is_defined:
        note = f'k = {k}, the best of {allowed} by validation AURC'
    else:
        note = f'k = {k}: the validation AURC that would choose it is undefined or the same for all'
    fitted = NearUnits(bank, jnp.asarray(k, jnp.int32))
    return Fit(fitted, (note, *bank.notes(is_uniform=True)), candidates, default=-1)


def _asked(fitted: NearUnits | Neighborhood) -> tuple[Bank, Nearest] | None:
    # No more than the k that was chosen: at k = 5 the whole pass takes some 6 % less time than with 50.
    return (fitted.bank, Nearest(int(fitted.k))) if isinstance(fitted, NearUnits) else None


@score(
    'knn_distance',
    needs=['logits', 'features'],
    description='minus the distance to the k-th nearest training point, features scaled to length 1',
    reference='Sun et al., ICML 2022, section 3',
    fit=_fit,
    fits_on_train=True,
    distances=MeasuresDistances(frozenset({UNIFORM}), _ASKED, _asked),
)
def knn_distance(inputs: ScoreInputs, fitted: NearUnits | Neighborhood) -> jax.Array:
    """Return minus the distance to the k-th nearest of all training points, whatever their class.

    Args:
      inputs: reads `features` [N, D]; `logits` only to choose k on validation data.
      fitted: the training points and k.

    Returns:
      [N] float32 in [-2, 0].

    Reference: Sun, Ming, Zhu & Li, "Out-of-distribution detection with deep nearest neighbors", ICML 2022, section 3.
    """
    asked = _asked(fitted)
    if asked is not None:
        found = jnp.asarray(inputs.once(distances, *asked))
    else:
        assert isinstance(fitted, Neighborhood)
        num_points = fitted.points.shape[0]
        most = min(max(NUM_NEIGHBORS), num_points)
        found = nearest_distances(unit_length(inputs.get('features')), fitted.points, num_points, most)
    return -jnp.take(found, fitted.k - 1, axis=1)
