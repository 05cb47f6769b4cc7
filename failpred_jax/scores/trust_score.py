"""Trust Score: how much nearer the predicted class is than the nearest other class, among dense training points."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.outcomes import is_correct, predicted_classes
from failpred_jax.scores.bank import BY_CLASS, DENSITY, Bank
from failpred_jax.scores.choice import choose
from failpred_jax.scores.density import ALPHAS, NUM_NEIGHBORS, filter_by_density
from failpred_jax.scores.distances import InClasses, distances
from failpred_jax.scores.neighbors import Banks, make_banks, nearest_in_each
from failpred_jax.scores.score import Fit, FitInputs, MeasuresDistances, ScoreInputs, score
from failpred_jax.types import Array

# The authors' code adds this to the denominator.
MIN_DISTANCE = 1e-12
# The neighbor that the authors' code measures to.
SECOND = 2
_EVERY_LEVEL, _SECOND_OF_ALL = InClasses(level=None), InClasses(nth=SECOND)


class ClassPoints(NamedTuple):
    """The fitted Trust Score, as an evaluation finds it.

    Attributes:
      bank: the training units.
      level: place in ALPHAS of the fraction that is filtered out of each class.
      alpha: scalar float32, that fraction.
      nth: 1 for the nearest unit of a class, 2 for the second nearest.
    """

    bank: Bank
    level: int
    alpha: jax.Array
    nth: int = 1


class DenseSets(NamedTuple):
    """The same as sets of points of their own: what `dense_sets` gives, and runs of earlier versions have kept.

    Attributes:
      banks: the points; a class without any has none.
      alpha: scalar float32, the fraction that was filtered out of each class.
    """

    banks: tuple[Banks, ...]
    alpha: jax.Array


def trust_ratio(class_distances: Array, predicted: Array) -> jax.Array:
    """Return the distance to the nearest class but the predicted one, over the distance to the predicted one.

    Args:
      class_distances: [N, C] float32, 0 or greater; inf for a class without points.
      predicted: [N] int32.

    Returns:
      [N] float32, 0 or greater.

    Reference: Jiang et al., NeurIPS 2018, section 3, equation of the trust score.
    """
    own = jnp.take_along_axis(class_distances, predicted[:, None], axis=1)[:, 0]
    is_own = jax.nn.one_hot(predicted, class_distances.shape[1], dtype=bool)
    return _ratio(own, jnp.min(jnp.where(is_own, jnp.inf, class_distances), axis=1))


def _ratio(own: Array, other: Array) -> jax.Array:
    return jnp.asarray(other) / (jnp.asarray(own) + MIN_DISTANCE)


def dense_sets(
    features: Array, labels: Array, num_classes: int, alpha: float, k: int = NUM_NEIGHBORS, nth: int = 1
) -> DenseSets:
    """Return the fitted Trust Score for one alpha; see `filter_by_density` and `score_units` for the arguments.

    Raises:
      ScoreUnavailableError: where fewer than two classes have `nth` points.
    """
    classes, counts = filter_by_density(features, labels, num_classes, (alpha,), k)
    kept = [points[:count] for points, count in zip(classes, counts[:, 0], strict=True)]
    # A class without an n-th neighbor is as good as absent.
    kept = [points if len(points) >= nth else points[:0] for points in kept]
    _check_classes(np.array([len(points) for points in kept]), nth)
    return DenseSets(make_banks(kept), jnp.asarray(alpha, jnp.float32))


def score_units(features: Array, logits: Array, fitted: DenseSets, nth: int = 1) -> jax.Array:
    """Return the Trust Score of units [N, D] with logits [N, C]: [N] float32, 0 or greater.

    The paper measures the distance to a set, that is to its nearest point (`nth` = 1), since the units are not among
    the training points. Its authors' code, and ConfidNet's, take the second nearest (`nth` = 2).
    """
    logits = jnp.asarray(logits)
    distances = nearest_in_each(features, fitted.banks, logits.shape[-1], nth)
    return trust_ratio(distances, predicted_classes(logits))


def _check_classes(counts: np.ndarray, nth: int = 1) -> None:
    """Refuse classes of [C] units of which fewer than two have an n-th."""
    if (counts >= nth).sum() < 2:
        fewer = f' (or have fewer than {nth} units)' if nth > 1 else ''
        raise ScoreUnavailableError(f'trust_score compares classes; the training units are all of one class{fewer}')


def _fit(given: FitInputs) -> Fit:
    bank = given.bank_of('trust_score', frozenset({BY_CLASS, DENSITY}))
    own, other = given.val.once(distances, bank, _EVERY_LEVEL)
    candidates = _ratio(own, other)
    level, is_defined = choose(candidates, is_correct(given.val.logits, given.val_labels))
    alpha = ALPHAS[level]
    if is_defined:
        note = f'alpha = {alpha:g} (filtered part of each class), the best of {len(ALPHAS)} by validation AURC'
    else:
        note = (
            'alpha = 0 (no density filter): the validation AURC that would choose it is undefined or the same for all'
        )
    _check_classes(bank.class_counts(level, given.val.logits.shape[-1]))
    fitted = ClassPoints(bank, level, jnp.asarray(alpha, jnp.float32))
    return Fit(fitted, (note, *bank.notes(is_uniform=False)), candidates)


def _fit_reference(given: FitInputs) -> Fit:
    bank = given.bank_of('trust_score_reference', frozenset({BY_CLASS}))
    _check_classes(bank.class_counts(0, given.val.logits.shape[-1]), SECOND)
    fitted = ClassPoints(bank, 0, jnp.float32(0), SECOND)
    return Fit(fitted, bank.notes(is_uniform=False))


def _asked(fitted: ClassPoints | DenseSets) -> tuple[Bank, InClasses] | None:
    return (fitted.bank, InClasses(fitted.level, fitted.nth)) if isinstance(fitted, ClassPoints) else None


def _of_units(inputs: ScoreInputs, fitted: ClassPoints | DenseSets, nth: int) -> jax.Array:
    asked = _asked(fitted)
    if asked is None:
        assert isinstance(fitted, DenseSets)
        return score_units(inputs.get('features'), inputs.logits, fitted, nth)
    own, other = inputs.once(distances, *asked)
    return _ratio(own[:, 0], other[:, 0])


@score(
    'trust_score',
    needs=['logits', 'features'],
    description='distance to the nearest other class over distance to the predicted class, among dense training points',
    reference='Jiang et al., NeurIPS 2018, algorithm 1 and section 3',
    fit=_fit,
    fits_on_train=True,
    distances=MeasuresDistances(frozenset({BY_CLASS, DENSITY}), _EVERY_LEVEL, _asked),
)
def trust_score(inputs: ScoreInputs, fitted: ClassPoints | DenseSets) -> jax.Array:
    """Return the Trust Score in feature space, alpha chosen on validation data, k = 10.

    Args:
      inputs: reads `logits` [N, C] and `features` [N, D].
      fitted: the dense training points of each class.

    Returns:
      [N] float32, 0 or greater; over 1 the predicted class is the nearest.

    Reference: Jiang, Kim, Guan & Gupta, "To trust or not to trust a classifier", NeurIPS 2018, algorithm 1.
    """
    return _of_units(inputs, fitted, nth=1)


@score(
    'trust_score_reference',
    needs=['logits', 'features'],
    description='Trust Score as in the reference code: second nearest neighbor of each class, no density filter',
    reference='Jiang et al., NeurIPS 2018, code; as used by Corbière et al., NeurIPS 2019, section 4',
    fit=_fit_reference,
    fits_on_train=True,
    reads_val_labels=False,
    distances=MeasuresDistances(frozenset({BY_CLASS}), _SECOND_OF_ALL, _asked),
)
def trust_score_reference(inputs: ScoreInputs, fitted: ClassPoints | DenseSets) -> jax.Array:
    """Return the Trust Score to the second nearest point of each class, among all training points.

    The reference code skips the nearest point, since a training unit would be its own neighbor, and filters nothing
    by default. Use it to compare with published figures; `trust_score` is the paper's definition.

    Args:
      inputs: reads `logits` [N, C] and `features` [N, D].
      fitted: the training points of each class.

    Returns:
      [N] float32, 0 or greater.

    Reference: Jiang, Kim, Guan & Gupta, "To trust or not to trust a classifier", NeurIPS 2018, the authors' code;
      Corbière et al., NeurIPS 2019, section 4.
    """
    return _of_units(inputs, fitted, nth=SECOND)
