"""What grows with classes is sorted once, taken some at a time and hardly padded, and the values stay the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from failpred_jax import blocks
from failpred_jax.calibrate.temperature import fit_temperature
from failpred_jax.registry import SCORES
from failpred_jax.scores import neighbors
from failpred_jax.scores.crossfit import held_out_values, validation_folds
from failpred_jax.scores.density import ALPHAS, filter_levels
from failpred_jax.scores.distances import _nth_of_a_class
from failpred_jax.scores.mahalanobis import class_moments
from failpred_jax.scores.score import FitInputs, ScoreInputs, as_fit
from failpred_jax.scores.subsample import keep_per_class

# Labels of which classes 3 and 5 have no unit, and class 0 one.
unit_labels = np.random.default_rng(0).choice([1, 2, 4, 6], 400, p=[0.7, 0.15, 0.1, 0.05])
unit_labels[7] = 0


def test_moments_are_those_of_each_class_looked_for_in_turn(rng):
    features = rng.normal(size=(400, 5)).astype(np.float32)
    found = class_moments(features, unit_labels, 8)
    present = [c for c in range(8) if np.any(unit_labels == c)]
    np.testing.assert_array_equal(found.counts, [np.sum(unit_labels == c) for c in present])
    means = [features[unit_labels == c].mean(axis=0, dtype=np.float64) for c in present]
    np.testing.assert_array_equal(found.means, means)
    within = features - np.array(means)[np.searchsorted(present, unit_labels)]
    np.testing.assert_allclose(found.scatter, within.T @ within, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize('most', [20, 100, 399])
def test_the_draw_of_each_class_is_that_of_each_class_looked_for_in_turn(most):
    key = jax.random.key(3)
    shuffled = np.asarray(jax.random.permutation(key, 400))
    by_class = [shuffled[unit_labels[shuffled] == c] for c in np.unique(unit_labels)]
    cap = max(cap for cap in range(1, 400) if sum(min(len(units), cap) for units in by_class) <= most)
    expected = np.sort(np.concatenate([units[:cap] for units in by_class]))
    np.testing.assert_array_equal(keep_per_class(unit_labels, key, most), expected)


@pytest.mark.parametrize('nth', [1, 2, 3])
def test_the_nth_of_a_class_is_the_least_over_classes_of_their_nth_smallest(rng, nth):
    labels = rng.integers(0, 6, (5, 2, 9))
    squares = rng.integers(0, 4, (5, 2, 9)).astype(np.float32)
    squares[rng.random(squares.shape) < 0.3] = np.inf
    found = np.asarray(_nth_of_a_class(squares, labels, nth))
    for at in np.ndindex(found.shape):
        of_class = [np.sort(squares[at][labels[at] == c]) for c in range(6)]
        assert found[at] == min((own[nth - 1] for own in of_class if len(own) >= nth), default=np.inf)
    assert np.isinf(_nth_of_a_class(squares[..., : nth - 1], labels[..., : nth - 1], nth)).all()


def test_small_classes_that_are_hardly_padded_have_the_same_densities(rng, monkeypatch):
    features, labels = rng.normal(size=(300, 6)).astype(np.float32), rng.integers(0, 40, 300)
    labels[:70] = 41
    found = filter_levels(features, labels, 42, ALPHAS)
    monkeypatch.setattr(neighbors, '_FEW', neighbors.CHUNK)
    np.testing.assert_array_equal(found, filter_levels(features, labels, 42, ALPHAS))


@pytest.mark.parametrize('name', ['mcp', 'doctor_alpha', 'max_logit_pnorm', 'rel_u', 'temperature_mcp', 'tcp'])
def test_validation_units_may_be_taken_some_at_a_time(rng, monkeypatch, name):
    logits = (2 * rng.normal(size=(90, 7))).astype(np.float32)
    labels = np.where(rng.random(90) < 0.7, logits.argmax(axis=1), rng.integers(7, size=90)).astype(np.int32)
    given = FitInputs(ScoreInputs(logits), labels, None, None, jax.random.key(0))
    score, folds = SCORES[name], validation_folds(given)

    def values():
        return held_out_values(score, given, score.fit and as_fit(score.fit(given)), folds)

    whole = values()
    monkeypatch.setattr(blocks, 'BLOCK_VALUES', 100)
    np.testing.assert_allclose(values(), whole, rtol=1e-5)


@pytest.mark.parametrize('scale', [0.2, 1, 6])
def test_halving_a_temperature_ends_where_sixty_halvings_end(rng, scale):
    logits = (scale * rng.normal(size=(200, 7))).astype(np.float32)
    labels = np.where(rng.random(200) < 0.6, logits.argmax(axis=1), rng.integers(7, size=200)).astype(np.int32)
    logits -= logits.max(axis=1, keepdims=True)
    of_label = logits[np.arange(200), labels]

    @jax.jit
    def slope(log_inverse):
        probs = jax.nn.softmax(logits * jnp.exp(log_inverse), axis=-1)
        return jnp.mean(jnp.sum(probs * logits, axis=-1) - of_label)

    low, high = -jnp.log(jnp.float32(1e6)), jnp.log(jnp.float32(1e6))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    np.testing.assert_allclose(fit_temperature(logits, labels)[0], jnp.exp(-(low + high) / 2), rtol=1e-6)
