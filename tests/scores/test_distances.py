"""knn_distance against scikit-learn, Mahalanobis against scipy."""

import jax
import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.neighbors import NearestNeighbors

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.registry import SCORES
from failpred_jax.scores import choice
from failpred_jax.scores.bank import unit_length
from failpred_jax.scores.mahalanobis import class_moments, fit_gaussians, squared_distances
from failpred_jax.scores.score import FitInputs, ScoreInputs

NUM_FEATURES = 6


@pytest.fixture
def given(rng):
    mixing = rng.normal(size=(NUM_FEATURES, NUM_FEATURES))

    def units(num_units):
        labels = rng.integers(4, size=num_units).astype(np.int32)
        centered = rng.normal(size=(num_units, NUM_FEATURES)) + 2 * np.eye(NUM_FEATURES)[labels]
        return (centered @ mixing + 3).astype(np.float32), labels

    train, train_labels = units(300)
    val, val_labels = units(80)
    logits = rng.normal(size=(80, 4)).astype(np.float32)
    return FitInputs(ScoreInputs(logits, val), val_labels, ScoreInputs(None, train), train_labels, jax.random.key(0))


def slow_squares(units, means, covariance):
    inverse = np.linalg.inv(covariance)
    return np.array([[mahalanobis(x, mean, inverse) ** 2 for mean in means] for x in units.astype(np.float64)])


def test_knn_equals_scikit_learn(given, monkeypatch):
    # The stand-in AURC is the mean confidence: least for the farthest neighbor.
    monkeypatch.setattr(choice, 'aurc', lambda confidence, correct, mask: float(np.mean(confidence)))
    fitted, notes, candidates, _ = SCORES['knn_distance'].fit(given)
    assert int(fitted.k) == 50 and 'k = 50' in notes[0]
    train, val = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (given.train.features, given.val.features))
    expected = -NearestNeighbors(n_neighbors=50).fit(train).kneighbors(val)[0][:, -1]
    np.testing.assert_allclose(SCORES['knn_distance'].fn(given.val, fitted), expected, rtol=1e-5)
    np.testing.assert_allclose(candidates[:, -1], expected, rtol=1e-5)


def test_knn_of_few_points(given):
    few = given._replace(train=ScoreInputs(None, given.train.features[:7]), train_labels=given.train_labels[:7])
    fitted, *_ = SCORES['knn_distance'].fit(few)
    assert int(fitted.k) in (1, 5)
    assert np.isfinite(SCORES['knn_distance'].fn(given.val, fitted)).all()


def test_unit_length_of_tiny_huge_and_zero_features():
    lengths = np.linalg.norm(unit_length(np.array([[3e-30, 4e-30], [3e30, 4e30], [0, 0]])), axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 0], rtol=1e-6)


def test_mahalanobis_equals_scipy(given):
    train, labels = given.train.features.astype(np.float64), given.train_labels
    means = np.stack([train[labels == c].mean(axis=0) for c in range(4)])
    covariance = np.cov((train - means[labels]).T, bias=True)
    squares = slow_squares(given.val.features, means, covariance)
    fitted, notes = SCORES['mahalanobis'].fit(given)
    np.testing.assert_allclose(SCORES['mahalanobis'].fn(given.val, fitted), -squares.min(axis=1), rtol=1e-4)
    assert notes == ()

    background = slow_squares(given.val.features, [train.mean(axis=0)], np.cov(train.T, bias=True))
    fitted, _ = SCORES['relative_mahalanobis'].fit(given)
    expected = -(squares - background).min(axis=1)
    np.testing.assert_allclose(SCORES['relative_mahalanobis'].fn(given.val, fitted), expected, rtol=1e-3, atol=1e-3)


def test_dead_features_are_left_out_and_said_so(given):
    def pad(x):
        return np.pad(x, ((0, 0), (0, 2)), constant_values=0.0)

    fitted, _ = SCORES['mahalanobis'].fit(given)
    dead = given._replace(train=ScoreInputs(None, pad(given.train.features)))
    fitted_dead, notes = SCORES['mahalanobis'].fit(dead)
    assert '2 of 8' in notes[0]
    confidence = SCORES['mahalanobis'].fn(ScoreInputs(None, pad(given.val.features)), fitted_dead)
    np.testing.assert_allclose(confidence, SCORES['mahalanobis'].fn(given.val, fitted), rtol=1e-4)


def test_relative_distances_live_in_the_same_directions(given):
    """A direction that tells classes apart without varying within them counts in neither distance, not in one."""
    apart = [np.c_[x, labels] for x, labels in (
        (given.train.features, given.train_labels), (given.val.features, np.roll(given.val_labels, 1)))]  # fmt: skip
    classes_only, _ = SCORES['relative_mahalanobis'].fit(given)
    fitted, notes = SCORES['relative_mahalanobis'].fit(given._replace(train=ScoreInputs(None, apart[0])))
    assert '1 of 7' in notes[0]
    found = SCORES['relative_mahalanobis'].fn(ScoreInputs(None, apart[1]), fitted)
    expected = SCORES['relative_mahalanobis'].fn(given.val, classes_only)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_class_without_units_has_no_gaussian(given):
    train, labels = given.train.features, given.train_labels
    without = labels != 2
    gaussians = fit_gaussians(class_moments(train[without], labels[without], 4))
    assert squared_distances(given.val.features, gaussians).shape == (80, 3)


def test_moments_of_everything_are_those_of_one_class(given):
    """What varies between the means of classes, one of which is empty, joins what varies within them."""
    labels = np.where(given.train_labels == 2, 0, given.train_labels)
    features = given.train.features + 100
    found = class_moments(features, labels, 4).of_everything()
    expected = class_moments(features, np.zeros_like(labels), 1)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_allclose(found.means, expected.means, rtol=1e-12)
    np.testing.assert_allclose(found.scatter, expected.scatter, rtol=1e-9)


def test_features_that_never_vary_are_refused(given):
    constant = given._replace(train=ScoreInputs(None, np.ones_like(given.train.features)))
    with pytest.raises(ScoreUnavailableError, match='do not vary'):
        SCORES['mahalanobis'].fit(constant)
