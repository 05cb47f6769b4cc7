"""Trust Score against loops written from the paper, and against the reference implementation's numbers."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.registry import SCORES
from failpred_jax.scores import choice
from failpred_jax.scores.density import ALPHAS, filter_by_density
from failpred_jax.scores.score import FitInputs, ScoreInputs
from failpred_jax.scores.subsample import keep_per_class, keep_uniform
from failpred_jax.scores.trust_score import dense_sets, score_units, trust_ratio

PARITY = Path(__file__).parents[3] / 'shared' / 'data' / 'parity' / 'reference.npz'


def high_density_set(points, alpha, k):
    """Algorithm 1 of the paper, word by word, on points in float64."""
    radii = []
    for x in points:
        within = sorted(math.dist(x, other) for other in points)
        radii.append(within[min(k, len(points)) - 1])
    for epsilon in sorted(radii):
        if sum(r > epsilon for r in radii) <= alpha * len(points):
            return [x for x, r in zip(points, radii, strict=True) if r <= epsilon]
    return []


def slow_trust_score(train, labels, units, predicted, num_classes, alpha, k):
    sets = [high_density_set(train[labels == c].astype(np.float64), alpha, k) for c in range(num_classes)]
    values = []
    for x, c in zip(units.astype(np.float64), predicted, strict=True):
        distances = [min((math.dist(x, point) for point in points), default=math.inf) for points in sets]
        values.append(min(d for i, d in enumerate(distances) if i != c) / distances[c])
    return np.array(values)


def blobs(rng, num_units, num_classes=3, num_features=4):
    centers = 2 * rng.normal(size=(num_classes, num_features))
    labels = rng.integers(num_classes, size=num_units).astype(np.int32)
    return (centers[labels] + rng.normal(size=(num_units, num_features))).astype(np.float32), labels, centers


def fit_inputs(train, labels, val, val_labels, val_logits):
    return FitInputs(ScoreInputs(val_logits, val), val_labels, ScoreInputs(None, train), labels, jax.random.key(0))


@pytest.mark.parametrize('alpha', [0.0, 1 / 16, 0.25])
def test_equals_the_paper_in_loops(alpha, rng):
    train, labels, centers = blobs(rng, 90)
    units = 2 * rng.normal(size=(40, 4)).astype(np.float32)
    logits = -cdist(units, centers).astype(np.float32)
    fast = score_units(units, logits, dense_sets(train, labels, 3, alpha))
    slow = slow_trust_score(train, labels, units, logits.argmax(axis=1), 3, alpha, 10)
    np.testing.assert_allclose(fast, slow, rtol=5e-6)


@pytest.mark.skipif(not PARITY.exists(), reason='the parity vectors of the reference implementation are not here')
def test_second_neighbor_without_filter_equals_the_reference():
    given = np.load(PARITY)
    logits = np.eye(given['t_y'].max() + 1)[given['t_pred']]
    labels = given['t_y'].astype(np.int32)
    fitted, notes, *_ = SCORES['trust_score_reference'].fit(
        fit_inputs(given['t_X'], labels, given['t_Xt'], np.zeros(len(logits), np.int32), logits)
    )
    found = SCORES['trust_score_reference'].fn(ScoreInputs(logits, given['t_Xt']), fitted)
    np.testing.assert_allclose(found, given['t_score'], rtol=1e-5)
    assert not notes


def test_reference_leaves_out_classes_without_a_second_point(rng):
    train, labels, _ = blobs(rng, 40)
    labels[labels == 2] = 1
    labels[7] = 2
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2]]
    given = fit_inputs(train, labels, train[:3], labels[:3], logits)
    fitted, *_ = SCORES['trust_score_reference'].fit(given)
    found = np.asarray(SCORES['trust_score_reference'].fn(given.val, fitted))
    assert np.isfinite(found).all() and found[2] == 0 < found[:2].min()
    with pytest.raises(ScoreUnavailableError, match='fewer than 2 units'):
        SCORES['trust_score_reference'].fit(given._replace(train_labels=np.where(labels == 2, 2, 1)))


def test_filter_keeps_points_that_tie_at_the_edge():
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    _, counts = filter_by_density(corners, np.zeros(4, int), 1, (0.0, 0.3), k=2)
    assert counts.tolist() == [[4, 4]]


def test_alpha_is_the_one_with_the_least_validation_aurc(rng, monkeypatch):
    """The search over nested shells gives, for every alpha, what a bank built for that alpha gives."""
    train, labels, centers = blobs(rng, 130)
    val, val_labels, _ = blobs(rng, 50)
    logits = -cdist(val, centers).astype(np.float32)
    seen = []

    def aurc(confidence, correct, mask):
        seen.append(np.asarray(confidence))
        return {4: 0.1}.get(len(seen) - 1, 0.2)

    monkeypatch.setattr(choice, 'aurc', aurc)
    fitted, notes, candidates, _ = SCORES['trust_score'].fit(fit_inputs(train, labels, val, val_labels, logits))
    assert float(fitted.alpha) == ALPHAS[4]
    assert '0.125' in notes[0]
    np.testing.assert_array_equal(np.stack(seen, axis=1), candidates)
    for alpha, confidence in zip(ALPHAS, seen, strict=True):
        direct = score_units(val, logits, dense_sets(train, labels, 3, alpha))
        np.testing.assert_allclose(confidence, direct, rtol=1e-6)


def test_alpha_without_validation_errors_is_zero_and_says_so(rng):
    train, labels, _ = blobs(rng, 60)
    logits = np.eye(3, dtype=np.float32)[labels]
    fitted, notes, *_ = SCORES['trust_score'].fit(fit_inputs(train, labels, train, labels, logits))
    assert float(fitted.alpha) == 0
    assert 'undefined' in notes[0]


def test_a_class_without_training_points_is_infinitely_far():
    distances = np.array([[1.0, np.inf, 3.0], [1.0, np.inf, 3.0]], np.float32)
    np.testing.assert_allclose(trust_ratio(distances, np.array([0, 1])), [3, 0])


def test_one_class_is_refused(rng):
    with pytest.raises(ScoreUnavailableError, match='one class'):
        dense_sets(rng.normal(size=(5, 2)), np.zeros(5, int), 3, 0.0)


def test_needs_training_features(rng):
    given = fit_inputs(None, None, None, None, np.zeros((1, 2)))._replace(train=None)
    for name in (
        'trust_score',
        'trust_score_reference',
        'knn_distance',
        'mahalanobis',
        'relative_mahalanobis',
        'learned_from_features',
    ):
        with pytest.raises(ScoreUnavailableError, match='training set'):
            SCORES[name].fit(given)


def test_subsampling_by_class_keeps_rare_classes_whole():
    labels = np.repeat(np.arange(4), [1000, 30, 500, 5])
    kept = keep_per_class(labels, jax.random.key(0), max_points=200)
    counts = np.bincount(labels[kept], minlength=4)
    assert counts.tolist() == [82, 30, 82, 5]
    assert np.all(np.diff(kept) > 0)
    np.testing.assert_array_equal(kept, keep_per_class(labels, jax.random.key(0), max_points=200))
    assert not np.array_equal(kept, keep_per_class(labels, jax.random.key(1), max_points=200))
    np.testing.assert_array_equal(keep_per_class(labels, jax.random.key(0), 2000), np.arange(1535))


def test_subsampling_uniformly():
    kept = keep_uniform(1000, jax.random.key(0), max_points=100)
    assert len(np.unique(kept)) == 100
    assert kept.min() < 100 and kept.max() >= 900
    np.testing.assert_array_equal(keep_uniform(50, jax.random.key(0), 100), np.arange(50))
