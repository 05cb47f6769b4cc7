"""max_logit_pnorm, rel_u and temperature_mcp against their definitions in loops."""

import jax
import numpy as np
import pytest
from scipy.special import softmax

from failpred_jax.calibrate.temperature import fit_temperature
from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.registry import SCORES
from failpred_jax.scores import choice
from failpred_jax.scores.pnorm import POWERS, normalized_max
from failpred_jax.scores.rel_u import confusion_weights
from failpred_jax.scores.score import FitInputs, ScoreInputs


def fit_inputs(logits, labels):
    return FitInputs(ScoreInputs(logits), labels, None, None, jax.random.key(0))


@pytest.fixture
def val(rng):
    logits = (2 * rng.normal(size=(200, 5))).astype(np.float32)
    return logits, np.where(rng.random(200) < 0.7, logits.argmax(axis=1), rng.integers(5, size=200)).astype(np.int32)


@pytest.mark.parametrize('p', POWERS)
def test_pnorm_equals_the_definition(p, val):
    logits = val[0].astype(np.float64)
    centered = logits - logits.mean(axis=1, keepdims=True)
    divisor = [5 if p == 0 else np.linalg.norm(z, ord=p) for z in centered]
    np.testing.assert_allclose(normalized_max(val[0], p), centered.max(axis=1) / divisor, rtol=2e-5)


def test_pnorm_of_huge_logits_does_not_overflow(val):
    np.testing.assert_allclose(normalized_max(1e30 * val[0], 10.0), normalized_max(val[0], 10.0), rtol=1e-5)
    assert normalized_max(np.full((1, 5), 7.0), 3.0) == 0


def test_pnorm_takes_the_power_of_least_aurc_or_falls_back(val, monkeypatch):
    score = SCORES['max_logit_pnorm']
    inputs = ScoreInputs(val[0])

    def prefers(wanted):
        return lambda confidence, correct, mask: 0.1 if np.allclose(confidence, wanted) else 0.2

    monkeypatch.setattr(choice, 'aurc', prefers(normalized_max(val[0], 4.0)))
    fitted, notes, *_ = score.fit(fit_inputs(*val))
    assert 'p = 4' in notes[0]
    np.testing.assert_allclose(score.fn(inputs, fitted), normalized_max(val[0], 4.0))
    odds = SCORES['doctor_beta'].fn(inputs)
    for aurc_fn, words in ((prefers(odds), 'no p in 0..10'), (lambda *given: np.nan, 'undefined')):
        monkeypatch.setattr(choice, 'aurc', aurc_fn)
        fitted, notes, *_ = score.fit(fit_inputs(*val))
        assert 'ranks as mcp' in notes[0] and words in notes[0]
        np.testing.assert_allclose(score.fn(inputs, fitted), odds)


def test_pnorm_of_two_classes_is_refused(val):
    with pytest.raises(ScoreUnavailableError, match='two classes'):
        SCORES['max_logit_pnorm'].fit(fit_inputs(val[0][:, :2], val[1] % 2))


def test_rel_u_equals_the_definition(val):
    logits, labels = val
    probs = softmax(logits.astype(np.float64), axis=1)
    is_error = logits.argmax(axis=1) != labels
    of_errors = np.mean([np.outer(p, p) for p in probs[is_error]], axis=0)
    of_correct = np.mean([np.outer(p, p) for p in probs[~is_error]], axis=0)
    for weight in (0.5, 0.8):
        expected = np.maximum(weight * of_errors - (1 - weight) * of_correct, 0)
        np.fill_diagonal(expected, 0)
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(confusion_weights(logits, labels, weight), expected, atol=1e-5)
    fitted, notes = SCORES['rel_u'].fit(fit_inputs(logits, labels))
    assert f'{is_error.sum()} validation errors' in notes[0]
    confidence = SCORES['rel_u'].fn(ScoreInputs(logits), fitted)
    np.testing.assert_allclose(confidence, [-p @ np.asarray(fitted, np.float64) @ p for p in probs], rtol=1e-4)


def test_rel_u_without_errors_is_refused(val):
    logits, _ = val
    with pytest.raises(ScoreUnavailableError, match='no errors'):
        SCORES['rel_u'].fit(fit_inputs(logits, logits.argmax(axis=1)))
    with pytest.raises(ScoreUnavailableError, match='nothing but errors'):
        SCORES['rel_u'].fit(fit_inputs(logits, (logits.argmax(axis=1) + 1) % 5))


def test_rel_u_falls_back_to_gini_where_no_pair_stands_out():
    logits = np.array([[9.0, 0, 0], [9, 0, 0], [0, 1, 0.5], [0.5, 0, 1]], np.float32)
    labels = np.array([1, 2, 1, 2])
    fitted, notes = SCORES['rel_u'].fit(fit_inputs(logits, labels))
    assert 'Gini' in notes[0]
    gini = 1 - (softmax(logits, axis=1) ** 2).sum(axis=1)
    np.testing.assert_allclose(SCORES['rel_u'].fn(ScoreInputs(logits), fitted), -gini, rtol=1e-3)


def test_temperature_mcp_uses_the_temperature_of_least_cross_entropy(val):
    fitted, notes = SCORES['temperature_mcp'].fit(fit_inputs(*val))
    temperature, expected_notes = fit_temperature(*val)
    assert notes == expected_notes
    expected = softmax(val[0] / float(temperature), axis=1).max(axis=1)
    np.testing.assert_allclose(SCORES['temperature_mcp'].fn(ScoreInputs(val[0]), fitted), expected, rtol=1e-5)
