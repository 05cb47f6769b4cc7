"""Trust Score: how much nearer the predicted class is than the nearest other class, among dense training points."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.scores.neighbors import Banks, make_banks, nearest_in_each, own_radii
from failpred_jax.scores.score import FitInputs, ScoreInputs, score
from failpred_jax.scores.subsample import describe, keep_per_class
from failpred_jax.types import Array

# The paper's k, and its "(negative) powers of 2" for alpha (section 5); 0 is no filter.
NUM_NEIGHBOURS = 10
ALPHAS = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
# The authors' code adds this to the denominator.
MIN_DISTANCE = 1e-12


class DenseSets(NamedTuple):
    """The fitted Trust Score: each class's high-density points.

    Attributes:
      banks: the points; a class without any has none.
      alpha: scalar float32, the fraction that was filtered out of each class.
    """

    banks: tuple[Banks, ...]
    alpha: jax.Array


def filter_by_density(
    features: Array, labels: Array, num_classes: int, alphas: tuple[float, ...], k: int = NUM_NEIGHBOURS
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


def dense_sets(features: Array, labels: Array, num_classes: int, alpha: float, k: int = NUM_NEIGHBOURS) -> DenseSets:
    """Return the fitted Trust Score for one alpha; see `filter_by_density` for the arguments.

    Raises:
      ScoreUnavailableError: where fewer than two classes have points.
    """
    classes, counts = filter_by_density(features, labels, num_classes, (alpha,), k)
    return _sets(classes, counts[:, 0], alpha)


def score_units(features: Array, logits: Array, fitted: DenseSets, nth: int = 1) -> jax.Array:
    """Return the Trust Score of units [N, D] with logits [N, C]: [N] float32, 0 or greater.

    The paper measures the distance to a set, that is to its nearest point (`nth` = 1), since the units are not among
    the training points. Its authors' code, and ConfidNet's, take the second nearest (`nth` = 2).
    """
    logits = jnp.asarray(logits)
    distances = nearest_in_each(features, fitted.banks, logits.shape[-1], nth)
    return trust_ratio(distances, jnp.argmax(logits, axis=-1))


def _sets(classes: list[np.ndarray], counts: np.ndarray, alpha: float) -> DenseSets:
    kept = [points[:count] for points, count in zip(classes, counts, strict=True)]
    if sum(len(points) > 0 for points in kept) < 2:
        raise ScoreUnavailableError('trust_score compares classes; the training units are all of one class')
    return DenseSets(make_banks(kept), jnp.asarray(alpha, jnp.float32))


def _fit(given: FitInputs) -> tuple[DenseSets, tuple[str, ...]]:
    if given.train is None or given.train.features is None:
        raise ScoreUnavailableError('trust_score needs the features of the training set')
    kept = keep_per_class(given.train_labels, given.key)
    labels = np.asarray(given.train_labels)[kept]
    num_classes = given.val.logits.shape[-1]
    classes, counts = filter_by_density(np.asarray(given.train.features)[kept], labels, num_classes, ALPHAS)
    alpha_index, note = _choose(given, classes, counts)
    fitted = _sets(classes, counts[:, alpha_index], ALPHAS[alpha_index])
    return fitted, (note, *describe(len(kept), len(np.asarray(given.train_labels))))


def _choose(given: FitInputs, classes: list[np.ndarray], counts: np.ndarray) -> tuple[int, str]:
    """Return the index of the alpha with the least validation AURC, and the note that says so.

    The sets of all alphas are nested, so one search over the shells between them serves all: the distance to a set is
    the least of the distances to its shells.
    """
    num_classes, num_alphas = counts.shape
    inner = np.concatenate([counts[:, 1:], np.zeros((num_classes, 1), int)], axis=1)
    shells = [classes[c][inner[c, i] : counts[c, i]] for i in range(num_alphas) for c in range(num_classes)]
    # Shells halve in size: three groups of shapes instead of seven, for a third more distances.
    banks = make_banks(shells, slack=2.5)
    found = nearest_in_each(given.val.features, banks, len(shells))
    found = np.asarray(found).reshape(-1, num_alphas, num_classes)
    nested = np.minimum.accumulate(found[:, ::-1], axis=1)[:, ::-1]
    predicted = jnp.argmax(jnp.asarray(given.val.logits), axis=-1)
    correct = predicted == jnp.asarray(given.val_labels)
    risks = np.array([float(given.aurc_fn(trust_ratio(nested[:, i], predicted), correct)) for i in range(num_alphas)])
    if not np.isfinite(risks).all():
        return 0, 'alpha = 0 (no density filter): the validation AURC that would choose it is undefined'
    best = int(np.argmin(risks))
    return best, f'alpha = {ALPHAS[best]:g} (filtered part of each class), the best of {len(ALPHAS)} by validation AURC'


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
    return score_units(inputs.features, inputs.logits, fitted)
