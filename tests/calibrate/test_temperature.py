"""The temperature against scipy's scalar minimizer."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from failpred_jax.calibrate.temperature import cross_entropy, fit_temperature


def draw(rng, true_temperature, num_units=4000, num_classes=5):
    """Return logits whose labels are drawn from their softmax at a temperature."""
    logits = 3 * rng.normal(size=(num_units, num_classes))
    probs = softmax(logits / true_temperature, axis=1)
    labels = (probs.cumsum(axis=1) > rng.random((num_units, 1))).argmax(axis=1)
    return logits.astype(np.float32), labels.astype(np.int32)


def slow_loss(logits, labels, temperature):
    return -log_softmax(logits.astype(np.float64) / temperature, axis=1)[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize('true_temperature', [0.2, 1.7, 30.0])
def test_equals_scipy(true_temperature, rng):
    logits, labels = draw(rng, true_temperature)
    temperature, notes = fit_temperature(logits, labels)
    assert temperature.dtype == jnp.float32 and temperature.shape == ()
    found = minimize_scalar(lambda log_t: slow_loss(logits, labels, np.exp(log_t)), bounds=(-5, 8), method='bounded',
                            options={'xatol': 1e-8})  # fmt: skip
    np.testing.assert_allclose(temperature, np.exp(found.x), rtol=2e-3)
    assert slow_loss(logits, labels, float(temperature)) <= found.fun + 1e-6
    before = slow_loss(logits, labels, 1.0)
    assert f'{before:.4f} before, {found.fun:.4f} after' in notes[0]
    np.testing.assert_allclose(cross_entropy(logits, labels, 1.0), before, rtol=1e-5)


def test_does_not_mind_large_logits_or_their_offset(rng):
    logits, labels = draw(rng, 1.0)
    reference, _ = fit_temperature(logits, labels)
    scaled, _ = fit_temperature(1000 * logits, labels)
    np.testing.assert_allclose(scaled, 1000 * reference, rtol=1e-3)
    shifted, _ = fit_temperature(logits + 100, labels)
    np.testing.assert_allclose(shifted, reference, rtol=1e-3)


def test_says_so_where_no_scaling_was_needed(rng):
    logits, labels = draw(rng, 1.5)
    temperature, _ = fit_temperature(logits, labels)
    again, notes = fit_temperature(logits / float(temperature), labels)
    np.testing.assert_allclose(again, 1, atol=1e-3)
    assert 'needed no scaling' in notes[0]


def test_without_a_minimum_it_stays_one_and_says_why(rng):
    logits, _ = draw(rng, 1.0)
    for labels, words in ((logits.argmax(axis=1), 'all are right'), (logits.argmin(axis=1), 'uniform')):
        temperature, notes = fit_temperature(logits, labels)
        assert float(temperature) == 1
        assert 'T stays 1, unfitted' in notes[0] and words in notes[0]
