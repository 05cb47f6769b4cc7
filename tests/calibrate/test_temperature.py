"""The temperature against scipy's scalar minimizer."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from failpred_jax.calibrate import temperature as temperature_module
from failpred_jax.calibrate.temperature import cross_entropy, fit_temperature
from failpred_jax.errors import UserError


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


def test_masked_classes_are_left_out(rng):
    """Once the temperature came out as 1e-6, and the cross-entropy went from 0.9 to 750,000 in a normal note."""
    logits, labels = draw(rng, 2.0)
    alone, note = fit_temperature(logits, labels)
    masked = np.concatenate([logits, np.full((len(logits), 2), -np.inf, np.float32)], axis=1)
    found, masked_note = fit_temperature(masked, labels)
    np.testing.assert_allclose(found, alone, rtol=1e-6)
    assert masked_note == note
    # A label on a masked class costs infinitely much at every temperature.
    found, notes = fit_temperature(masked, np.where(np.arange(len(labels)) < 3, 5, labels))
    assert float(found) == 1 and '3 of 4000 held-out labels have the logit -inf' in notes[0]
    for bad, words in ((np.inf, r'NaN or \+inf'), (-np.inf, 'no class left')):
        with pytest.raises(UserError, match=words):
            fit_temperature(np.where(np.arange(len(logits))[:, None] < 2, bad, logits), labels)


def test_a_fit_that_ends_worse_than_it_began_is_refused(rng, monkeypatch):
    logits, labels = draw(rng, 2.0)
    lost = (jnp.float32(np.log(1e6)), jnp.float32(-1.0), jnp.float32(1.0))
    monkeypatch.setattr(temperature_module, '_bisect', lambda logits, labels: lost)
    found, notes = fit_temperature(logits, labels)
    assert float(found) == 1 and 'would raise the held-out cross-entropy' in notes[0]
