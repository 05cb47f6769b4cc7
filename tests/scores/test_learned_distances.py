"""Errors learned from the classifier's own under dropout."""

import jax
import numpy as np
import pytest

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.metrics import failure_metrics
from failpred_jax.registry import SCORES
from failpred_jax.scores.bank import BY_CLASS, make_bank
from failpred_jax.scores.learned_distances import MOST, distances_of, perturb
from failpred_jax.scores.score import FitInputs, ScoreInputs

CLASSES, WIDTH = 3, 16
SCORE = SCORES['learned_from_distances']


@pytest.fixture
def layer(rng):
    return rng.normal(size=(WIDTH, CLASSES)), rng.normal(size=CLASSES)


def units(rng, layer, num, spread=1.0):
    """Return features around a center for each class, and labels, of which the layer is mostly right."""
    labels = rng.integers(0, CLASSES, num).astype(np.int32)
    centers = np.maximum(layer[0].T * 2, 0)
    features = np.maximum(centers[labels] + spread * rng.normal(size=(num, WIDTH)), 0).astype(np.float32)
    return features, labels


def given(rng, layer, spread=1.0):
    """Return what the score is fitted on, and test inputs with which of them are right."""
    parts = [units(rng, layer, 300, spread) for _ in range(3)]
    train, val, test = (ScoreInputs((f @ layer[0] + layer[1]).astype(np.float32), f) for f, _ in parts)
    inputs = FitInputs(val, parts[1][1], train, parts[0][1], jax.random.key(0))
    return inputs, test, test.logits.argmax(axis=1) == parts[2][1]


def test_units_are_perturbed_as_dropout_does_and_judged_as_they_are_then(rng, layer):
    features, labels = units(rng, layer, 200)
    bank = make_bank(features, labels, CLASSES, jax.random.key(0), frozenset({BY_CLASS}))
    drawn = perturb(bank, *layer, 0.3, jax.random.key(1))
    before = np.asarray(bank.points)[drawn.rows]
    kept = np.isclose(drawn.features, before / 0.7, rtol=1e-6)
    assert (kept | (drawn.features == 0)).all()
    # Of those that were not 0 before.
    assert abs(kept[before > 0].mean() - 0.7) < 0.02
    np.testing.assert_allclose(drawn.logits, drawn.features @ layer[0] + layer[1], rtol=1e-4, atol=1e-4)
    of_rows = np.tile(bank.labels, bank.chunk)[drawn.rows]
    assert np.array_equal(drawn.logits.argmax(axis=1) == of_rows, drawn.is_right)
    num_wrong, num_right = np.bincount(drawn.is_right, minlength=2)
    assert max(num_wrong, num_right) <= MOST
    wrong, all_of_them = drawn.counts
    assert all_of_them == 2000
    np.testing.assert_allclose(drawn.shares, [wrong / num_wrong, (all_of_them - wrong) / num_right])


def test_distances_are_those_to_all_units_but_itself(rng, layer):
    features, labels = units(rng, layer, 150)
    bank = make_bank(features, labels, CLASSES, jax.random.key(0), frozenset({BY_CLASS}))
    drawn = perturb(bank, *layer, 0.5, jax.random.key(1))
    own, other = distances_of(drawn, bank)
    of_rows, rows = np.tile(bank.labels, bank.chunk), np.arange(len(bank.is_unit))
    for i in range(len(own)):
        far = np.linalg.norm(drawn.features[i] - np.asarray(bank.points), axis=1)
        there = bank.is_unit & (rows != drawn.rows[i])
        is_own = of_rows == drawn.logits[i].argmax()
        np.testing.assert_allclose([own[i], other[i]], [far[there & is_own].min(), far[there & ~is_own].min()], 1e-5)


def test_it_finds_errors_and_reads_no_label_of_validation_units(rng, layer):
    inputs, test, correct = given(rng, layer)
    found = SCORE.fn(test, SCORE.fit(inputs).fitted)
    assert 0.02 < np.mean(~correct) < 0.4
    assert failure_metrics(found, correct)['auroc'] > 0.75
    again = SCORE.fn(test, SCORE.fit(inputs._replace(val_labels=inputs.val_labels[::-1])).fitted)
    assert np.array_equal(found, again)


def test_a_class_without_training_units_is_far_and_its_units_have_a_value(rng, layer):
    inputs, test, _ = given(rng, layer)
    there = np.asarray(inputs.train_labels) != 2
    train = ScoreInputs(inputs.train.logits[there], inputs.train.features[there])
    fitted = SCORE.fit(inputs._replace(train=train, train_labels=inputs.train_labels[there])).fitted
    assert (test.logits.argmax(axis=1) == 2).any()
    assert np.isfinite(SCORE.fn(test, fitted)).all()


def test_without_errors_or_classes_it_says_why_it_is_not_there(rng, layer):
    inputs, _, _ = given(rng, (layer[0] * 1e3, layer[1]), spread=0.0)
    features = np.eye(WIDTH, dtype=np.float32)[np.asarray(inputs.train_labels)] + 10
    sure = np.zeros((WIDTH, CLASSES), np.float32)
    sure[0, 0], sure[1, 1], sure[2, 2] = 1, 1, 1
    shift = np.array([0, 0, 1e6], np.float32)
    only = np.full(len(features), 2, np.int32)
    inputs = inputs._replace(
        train=ScoreInputs(features @ sure + shift, features), train_labels=only,
        val=ScoreInputs(features @ sure + shift, features), val_labels=only,
    )  # fmt: skip
    with pytest.raises(ScoreUnavailableError, match='there were 0 errors in 3,000 with 0.7 of the features dropped'):
        SCORE.fit(inputs)
