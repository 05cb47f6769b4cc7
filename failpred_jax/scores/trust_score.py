"""Trust Score: how much nearer the predicted class is than the nearest other class, among dense training points."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.outcomes import is_correct, predicted_classes
from failpred_jax.scores.choice import choose
from failpred_jax.scores.neighbors import Banks, make_banks, nearest_in_each, own_radii
from failpred_jax.scores.score import Fit, FitInputs, ScoreInputs, score
from failpred_jax.scores.subsample import describe, keep_per_class
from failpred_jax.types import Array

# The paper's k, and its "(negative) powers of 2" for alpha (section 5); 0 is no filter.
NUM_NEIGHBORS = 10
ALPHAS = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
# The authors' code adds this to the denominator.
MIN_DISTANCE = 1e-12
# The neighbor that the authors' code measures to.
SECOND = 2


class DenseSets(NamedTuple):
    """The fitted Trust Score: each class's high-density points.

    Attributes:
      banks: the points; a class without any has none.
      alpha: scalar float32, the fraction that was filtered out of each class.
    """

    banks: tuple[Banks, ...]
    alpha: jax.Array


def filter_by_density(
    features: Array, labels: Array, num_classes: int, alphas: tuple[float, ...], k: int = NUM_NEIGHBORS
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return each class's points, densest first, and how many of them each alpha keeps.

    A point's radius is the distance to its k-th nearest point of the class, itself counted. For a given alpha the class
    keeps the points of radius at most epsilon, the smallest for which no more than a fraction alpha lies outside.

    Args:
      features: [N, D] float32.
      labels: [N] int32.
      num_classes: C.
      alphas: fractions in [0, 1).
      k: 1 or greater.

    Returns:
      C arrays [N_c, D], and counts [C, len(alphas)] of int.

    Reference: Jiang et al., "To trust or not to trust a classifier", NeurIPS 2018, algorithm 1.
    """
    features, labels = np.asarray(features, np.float32), np.asarray(labels)
    classes = [features[labels == c] for c in range(num_classes)]
    radii = own_radii(make_banks(classes), k) if any(alphas) else {c: np.zeros(len(p)) for c, p in enumerate(classes)}
    counts = np.zeros((num_classes, len(alphas)), int)
    for c, points in enumerate(classes):
        if not len(points):
            continue
        order = np.argsort(radii[c], kind='stable')
        classes[c], sorted_radii = points[order], radii[c][order]
        for i, alpha in enumerate(alphas):
            epsilon = sorted_radii[len(points) - 1 - math.floor(alpha * len(points))]
            counts[c, i] = np.searchsorted(sorted_radii, epsilon, side='right')
    return classes, counts


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
    other = jnp.min(jnp.where(is_own, jnp.inf, class_distances), axis=1)
    return other / (own + MIN_DISTANCE)


def dense_sets(
    features: Array, labels: Array, num_classes: int, alpha: float, k: int = NUM_NEIGHBORS, nth: int = 1
) -> DenseSets:
    """Return the fitted Trust Score for one alpha; see `filter_by_density` and `score_units` for the arguments.

    Raises:
      ScoreUnavailableError: where fewer than two classes have `nth` points.
    """
    classes, counts = filter_by_density(features, labels, num_classes, (alpha,), k)
    return _sets(classes, counts[:, 0], alpha, nth)


def score_units(features: Array, logits: Array, fitted: DenseSets, nth: int = 1) -> jax.Array:
    """Return the Trust Score of units [N, D] with logits [N, C]: [N] float32, 0 or greater.

    The paper measures the distance to a set, that is to its nearest point (`nth` = 1), since the units are not among
    the training points. Its authors' code, and ConfidNet's, take the second nearest (`nth` = 2).
    """
    logits = jnp.asarray(logits)
    distances = nearest_in_each(features, fitted.banks, logits.shape[-1], nth)
    return trust_ratio(distances, predicted_classes(logits))


def _sets(classes: list[np.ndarray], counts: np.ndarray, alpha: float, nth: int = 1) -> DenseSets:
    kept = [points[:count] for points, count in zip(classes, counts, strict=True)]
    # A class without an n-th neighbor is as good as absent.
    kept = [points if len(points) >= nth else points[:0] for points in kept]
    if sum(len(points) > 0 for points in kept) < 2:
        fewer = f' (or have fewer than {nth} units)' if nth > 1 else ''
        raise ScoreUnavailableError(f'trust_score compares classes; the training units are all of one class{fewer}')
    return DenseSets(make_banks(kept), jnp.asarray(alpha, jnp.float32))


def _fit(given: FitInputs) -> Fit:
    features, labels, notes = _kept(given, 'trust_score')
    classes, counts = filter_by_density(features, labels, given.val.logits.shape[-1], ALPHAS)
    candidates = _candidates(given, classes, counts)
    chosen, is_defined = choose(candidates, is_correct(given.val.logits, given.val_labels))
    alpha = ALPHAS[chosen]
    if is_defined:
        note = f'alpha = {alpha:g} (filtered part of each class), the best of {len(ALPHAS)} by validation AURC'
    else:
        note = (
            'alpha = 0 (no density filter): the validation AURC that would choose it is undefined or the same for all'
        )
    return Fit(_sets(classes, counts[:, chosen], alpha), (note, *notes), candidates)


def _kept(given: FitInputs, name: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return the features and labels of the training units that stay in the bank, and a note if some do not."""
    features, labels = (np.asarray(x) for x in given.training(name))
    kept = keep_per_class(labels, given.key)
    return features[kept], labels[kept], describe(len(kept), len(labels))


def _candidates(given: FitInputs, classes: list[np.ndarray], counts: np.ndarray) -> jax.Array:
    """Return the Trust Score of the validation units under every alpha: [N, len(ALPHAS)] float32.

    The sets of all alphas are nested, so one search over the shells between them serves all: the distance to a set is
    the least of the distances to its shells.
    """
    num_classes, num_alphas = counts.shape
    inner = np.concatenate([counts[:, 1:], np.zeros((num_classes, 1), int)], axis=1)
    shells = [classes[c][inner[c, i] : counts[c, i]] for i in range(num_alphas) for c in range(num_classes)]
    # Shells halve in size: three groups of shapes instead of seven, for a third more distances.
    banks = make_banks(shells, slack=2.5)
    found = nearest_in_each(given.val.get('features'), banks, len(shells))
    found = np.asarray(found).reshape(-1, num_alphas, num_classes)
    nested = np.minimum.accumulate(found[:, ::-1], axis=1)[:, ::-1]
    predicted = predicted_classes(given.val.logits)
    return jnp.stack([trust_ratio(nested[:, i], predicted) for i in range(num_alphas)], axis=1)


def _fit_reference(given: FitInputs) -> Fit:
    features, labels, notes = _kept(given, 'trust_score_reference')
    fitted = dense_sets(features, labels, given.val.logits.shape[-1], alpha=0.0, nth=SECOND)
    return Fit(fitted, notes)


@score(
    'trust_score',
    needs=['logits', 'features'],
    description='distance to the nearest other class over distance to the predicted class, among dense training points',
    reference='Jiang et al., NeurIPS 2018, algorithm 1 and section 3',
    fit=_fit,
    fits_on_train=True,
)
def trust_score(inputs: ScoreInputs, fitted: DenseSets) -> jax.Array:
    """Return the Trust Score in feature space, alpha chosen on validation data, k = 10.

    Args:
      inputs: reads `logits` [N, C] and `features` [N, D].
      fitted: the dense training points of each class.

    Returns:
      [N] float32, 0 or greater; over 1 the predicted class is the nearest.

    Reference: Jiang, Kim, Guan & Gupta, "To trust or not to trust a classifier", NeurIPS 2018, algorithm 1.
    """
    return score_units(inputs.get('features'), inputs.logits, fitted)


@score(
    'trust_score_reference',
    needs=['logits', 'features'],
    description='Trust Score as in the reference code: second nearest neighbor of each class, no density filter',
    reference='Jiang et al., NeurIPS 2018, code; as used by Corbière et al., NeurIPS 2019, section 4',
    fit=_fit_reference,
    fits_on_train=True,
    reads_val_labels=False,
)
def trust_score_reference(inputs: ScoreInputs, fitted: DenseSets) -> jax.Array:
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
    return score_units(inputs.get('features'), inputs.logits, fitted, nth=SECOND)
