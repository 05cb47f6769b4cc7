"""Scores of confidence heads, and the head that is trained on saved features."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, softmax

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.registry import SCORES
from failpred_jax.scores import from_features
from failpred_jax.scores.from_features import apply_head, init_head, train_head
from failpred_jax.scores.score import FitInputs, ScoreInputs


def test_heads_are_sigmoids(rng):
    logit = (10 * rng.normal(size=50)).astype(np.float32)
    inputs = ScoreInputs(None, confidence_logit=logit, finetuned_logit=-logit)
    np.testing.assert_allclose(SCORES['confidnet'].fn(inputs), expit(logit), rtol=1e-5)
    np.testing.assert_allclose(SCORES['confidnet_finetuned'].fn(inputs), expit(-logit), rtol=1e-5)


def test_tcp_is_the_probability_of_the_label(rng):
    logits, labels = rng.normal(size=(40, 7)).astype(np.float32), rng.integers(7, size=40)
    expected = softmax(logits, axis=1)[np.arange(40), labels]
    np.testing.assert_allclose(SCORES['tcp'].fn(ScoreInputs(logits, labels=labels)), expected, rtol=1e-5)
    assert SCORES['tcp'].reads_label
    assert not any(SCORES[name].reads_label for name in SCORES if name != 'tcp')


def test_head_equals_numpy(rng):
    features, targets = rng.normal(size=(30, 5)).astype(np.float32), rng.random(30)
    features[:, 3] = 2.0
    head = init_head(features, targets, jax.random.key(0), widths=(8, 6))
    np.testing.assert_allclose(jax.nn.sigmoid(apply_head(head, features)), targets.mean(), rtol=1e-5)
    head = head._replace(layers=(*head.layers[:-1], (jnp.ones((6, 1)), jnp.ones(1))))
    deviation = features.std(axis=0)
    hidden = (features - features.mean(axis=0)) * np.divide(1, deviation, out=np.zeros(5), where=deviation > 1e-6)
    for kernel, bias in head.layers[:-1]:
        hidden = np.maximum(hidden @ np.asarray(kernel) + np.asarray(bias), 0)
    np.testing.assert_allclose(apply_head(head, features), hidden.sum(axis=1) + 1, rtol=1e-4, atol=1e-4)


def test_training_learns_and_returns_the_best_judged(rng):
    features = rng.normal(size=(400, 4)).astype(np.float32)
    targets = expit(3 * features[:, 0]).astype(np.float32)
    start = init_head(features, targets, jax.random.key(0), widths=(32, 32))

    def judge(head):
        return float(np.mean((jax.nn.sigmoid(apply_head(head, features)) - targets) ** 2))

    best, num_steps, judgments = train_head(start, features, targets, jax.random.key(1), judge, 200, 4)
    assert judge(best) == min(judgments) < 0.1 * judge(start)
    assert num_steps == 50 * (1 + int(np.argmin(judgments)))

    scripted = iter([math.nan, 3.0, 1.0, 2.0])
    _, num_steps, _ = train_head(start, features, targets, jax.random.key(1), lambda head: next(scripted), 200, 4)
    assert num_steps == 150
    _, num_steps, _ = train_head(start, features, targets, jax.random.key(1), lambda head: math.nan, 200, 4)
    assert num_steps == 200


def given(rng, features):
    logits = rng.normal(size=(len(features), 3)).astype(np.float32)
    units, labels = ScoreInputs(logits, features), rng.integers(3, size=len(features)).astype(np.int32)
    return FitInputs(units, labels, units, labels, jax.random.key(0))


def test_a_head_that_learns_a_constant_is_refused(rng, monkeypatch):
    monkeypatch.setattr(from_features, 'NUM_STEPS', 15)
    with pytest.raises(ScoreUnavailableError, match='learned a constant'):
        SCORES['learned_from_features'].fit(given(rng, np.ones((40, 3), np.float32)))


def test_notes_count_the_training_errors(rng, monkeypatch):
    monkeypatch.setattr(from_features, 'NUM_STEPS', 15)
    inputs = given(rng, rng.normal(size=(60, 3)).astype(np.float32))
    _, notes, candidates, default = SCORES['learned_from_features'].fit(inputs)
    num_errors = int(np.sum(inputs.val.logits.argmax(axis=1) != inputs.val_labels))
    assert f'60 training units, of which the classifier has {num_errors} wrong' in notes[0]
    assert candidates.shape == (60, from_features.NUM_CHECKPOINTS) and default == -1
