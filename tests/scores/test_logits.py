"""The logit scores against their definitions in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax

from failpred_jax import blocks
from failpred_jax.registry import SCORES
from failpred_jax.scores import logits as module
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.scores.softmax import entropy_of


def margin(z):
    p = np.sort(softmax(z, axis=1), axis=1)
    return -np.log(1 - p[:, -1] + p[:, -2])


def doctor_alpha(z):
    g = (softmax(z, axis=1) ** 2).sum(axis=1)
    return -np.log((1 - g) / g)


def doctor_beta(z):
    miss = 1 - softmax(z, axis=1).max(axis=1)
    return -np.log(miss / (1 - miss))


SLOW = {
    'mcp': lambda z: softmax(z, axis=1).max(axis=1),
    'margin': margin,
    'entropy': lambda z: (softmax(z, axis=1) * log_softmax(z, axis=1)).sum(axis=1),
    'max_logit': lambda z: z.max(axis=1),
    'energy': lambda z: logsumexp(z, axis=1),
    'doctor_alpha': doctor_alpha,
    'doctor_beta': doctor_beta,
}


def of(name, z):
    return np.asarray(SCORES[name].fn(ScoreInputs(logits=np.asarray(z, np.float32))))


@pytest.mark.parametrize('num_classes', [2, 10])
@pytest.mark.parametrize('name', SLOW)
def test_equals_the_definition(name, num_classes, rng):
    z = (rng.normal(size=(200, num_classes)) * rng.uniform(0.1, 5, size=(200, 1))).astype(np.float32)
    np.testing.assert_allclose(of(name, z), SLOW[name](z.astype(np.float64)), rtol=3e-5, atol=3e-6)


@pytest.mark.parametrize('name', ['margin', 'entropy', 'doctor_alpha', 'doctor_beta', 'max_logit', 'energy'])
def test_tells_confident_units_apart_where_mcp_cannot(name):
    z = np.stack([np.arange(20, 60, 2.0), np.zeros(20), np.full(20, -1.0)], axis=1)
    assert np.all(of('mcp', z) == 1)
    assert np.all(np.diff(of(name, z)) > 0)


@pytest.mark.parametrize('name', sorted(SLOW))
def test_any_leading_axes(name, rng):
    z = rng.normal(size=(3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(of(name, z).ravel(), of(name, z.reshape(12, 5)), rtol=1e-6)


def test_ties_between_classes():
    z = np.zeros((1, 4))
    assert of('margin', z) == 0
    assert of('mcp', z) == pytest.approx(0.25)
    assert of('entropy', z) == pytest.approx(-np.log(4))
    assert of('doctor_beta', z) == pytest.approx(-np.log(3))


def test_doctor_beta_ranks_as_mcp(rng):
    z = rng.normal(size=(500, 10)) * 2
    order = np.argsort(of('doctor_beta', z))
    assert np.all(np.diff(of('mcp', z)[order]) >= -1e-7)


def test_entropy_of_probabilities(rng):
    p = softmax(rng.normal(size=(50, 6)) * 4, axis=1)
    np.testing.assert_allclose(entropy_of(p), -(p * np.log(p)).sum(axis=1), rtol=1e-5)
    # A winner that rounds to 1 keeps the entropy of what it lost.
    rest = 1e-12
    assert entropy_of(jnp.asarray([1.0, rest, 0.0])) == pytest.approx(rest * (1 - np.log(rest)), rel=1e-5)


def test_every_score_of_the_module_is_a_function_of_the_module():
    assert all(getattr(module, name) is SCORES[name].fn for name in SLOW)


@pytest.mark.parametrize('share', [0.985, 0.995])
@pytest.mark.parametrize('form', [softmax, log_softmax, lambda z, axis: z])
def test_a_scale_is_told_alike_from_all_rows_and_from_a_few_at_a_time(form, share, rng, monkeypatch):
    raw = rng.normal(size=(1000, 5)).astype(np.float32) * 3
    logits = np.where((np.arange(1000) < share * 1000)[:, None], form(raw, axis=1), raw).astype(np.float32)
    whole = module.normalized_reason(logits)
    # Log-probabilities are told from all but a hundredth of the rows; of probabilities none may lie outside [0, 1].
    assert (whole is not None) == (form is log_softmax and share > 0.99)
    monkeypatch.setattr(blocks, 'BLOCK_VALUES', 35)
    assert module.normalized_reason(logits) == whole
    assert module.normalized_reason(logits[: int(share * 1000)]) == module.normalized_reason(form(raw, axis=1))
