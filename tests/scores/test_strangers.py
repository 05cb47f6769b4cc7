"""The scores made for strangers, each against a slow version from its paper in NumPy, float64."""

import jax
import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.registry import SCORES
from failpred_jax.scores import linear, nnguide
from failpred_jax.scores.linear import recover_last_layer
from failpred_jax.scores.score import FitInputs, ScoreInputs, as_fit

NUM_FEATURES, NUM_CLASSES = 12, 5
NEEDS_LAYER = ('fdbd', 'vim', 'react')


class Layer:
    """A last layer on features after a ReLU, and units of three parts that went through it."""

    def __init__(self, rng):
        self.weight = rng.normal(size=(NUM_FEATURES, NUM_CLASSES))
        self.bias = rng.normal(size=NUM_CLASSES)
        mixing = rng.normal(size=(6, NUM_FEATURES))
        self.train, self.val, self.test = (
            np.maximum(rng.normal(size=(count, 6)) @ mixing + 0.3 * rng.normal(size=(count, NUM_FEATURES)) + 0.5, 0)
            for count in (200, 60, 60)
        )
        self.head = rng.normal(size=60)

    def logits(self, features):
        return features @ self.weight + self.bias

    def inputs(self, features):
        logits = self.logits(features)
        head = self.head if len(features) == 60 else None
        return ScoreInputs(logits.astype(np.float32), features.astype(np.float32), head)

    def given(self):
        labels = np.zeros(60, np.int32), np.zeros(200, np.int32)
        train = self.inputs(self.train)._replace(confidence_logit=None)
        return FitInputs(self.inputs(self.val), labels[0], train, labels[1], jax.random.key(0))


@pytest.fixture
def layer(rng):
    return Layer(rng)


def computed(name, layer, given=None):
    score = SCORES[name]
    inputs = layer.inputs(layer.test)
    fitted = None if score.fit is None else as_fit(score.fit(given or layer.given())).fitted
    return np.asarray(score.fn(inputs) if fitted is None else score.fn(inputs, fitted))


def residual_of(features, train, origin, kept):
    """The length of what is left of each row outside the first `kept` principal directions of the training rows."""
    _, _, directions = np.linalg.svd(train - origin)
    found = []
    for row in features - origin:
        inside = sum((row @ d) * d for d in directions[:kept])
        found.append(np.sqrt(((row - inside) ** 2).sum()))
    return np.array(found)


def kept_of(train):
    values = np.linalg.svd(train - train.mean(axis=0))[1] ** 2
    return min(next(k for k in range(1, len(values) + 1) if values[:k].sum() >= 0.995 * values.sum()), len(values) - 1)


def test_gen(layer):
    probs = softmax(layer.logits(layer.test), axis=1)
    expected = [-sum(p**0.1 * (1 - p) ** 0.1 for p in row) for row in probs]
    np.testing.assert_allclose(computed('gen', layer), expected, rtol=1e-5)


def test_gen_reads_the_hundred_largest_of_many_classes(rng):
    logits = rng.normal(size=(4, 150)).astype(np.float32)
    probs = np.sort(softmax(logits.astype(np.float64), axis=1), axis=1)[:, -100:]
    expected = -(probs**0.1 * (1 - probs) ** 0.1).sum(axis=1)
    np.testing.assert_allclose(SCORES['gen'].fn(ScoreInputs(logits)), expected, rtol=1e-5)


def test_fdbd(layer):
    expected = []
    for features in layer.test:
        logits = layer.logits(features)
        top = logits.argmax()
        others = [c for c in range(NUM_CLASSES) if c != top]
        distances = [
            abs((layer.weight[:, top] - layer.weight[:, c]) @ features + layer.bias[top] - layer.bias[c])
            / np.linalg.norm(layer.weight[:, top] - layer.weight[:, c])
            for c in others
        ]
        expected.append(np.mean(distances) / np.linalg.norm(features - layer.train.mean(axis=0)))
    np.testing.assert_allclose(computed('fdbd', layer), expected, rtol=1e-4)


def test_fdbd_of_log_probabilities_is_that_of_the_logits(layer):
    given = layer.given()
    shifted = given._replace(
        val=given.val._replace(logits=given.val.logits - logsumexp(given.val.logits, axis=1, keepdims=True)),
        train=given.train._replace(logits=given.train.logits - logsumexp(given.train.logits, axis=1, keepdims=True)),
    )
    np.testing.assert_allclose(computed('fdbd', layer, shifted), computed('fdbd', layer), rtol=1e-4)


def test_nnguide(layer):
    unit = layer.train / np.linalg.norm(layer.train, axis=1, keepdims=True)
    energies = logsumexp(layer.logits(layer.train), axis=1)
    expected = []
    for features in layer.test:
        similar = sorted(e * (u @ features) / np.linalg.norm(features) for e, u in zip(energies, unit, strict=True))
        expected.append(logsumexp(layer.logits(features)) * np.mean(similar[-10:]))
    np.testing.assert_allclose(computed('nnguide', layer), expected, rtol=1e-4)


def test_nnguide_says_of_how_many_points_it_reads(layer, monkeypatch):
    monkeypatch.setattr(nnguide, 'MAX_POINTS', 50)
    found = as_fit(SCORES['nnguide'].fit(layer.given()))
    assert found.fitted.points.shape == (50, NUM_FEATURES)
    assert found.notes == ('reads 50 of 200 training units, drawn with the seed of the run',)


def test_residual(layer):
    expected = -residual_of(layer.test, layer.train, layer.train.mean(axis=0), kept_of(layer.train))
    np.testing.assert_allclose(computed('residual', layer), expected, rtol=1e-3, atol=1e-5)


def test_vim(layer):
    origin = -np.linalg.pinv(layer.weight.T) @ layer.bias
    train, test = (residual_of(x, layer.train, origin, NUM_FEATURES // 2) for x in (layer.train, layer.test))
    alpha = layer.logits(layer.train).max(axis=1).mean() / train.mean()
    logits = layer.logits(layer.test)
    found = computed('vim', layer)
    np.testing.assert_allclose(found, logsumexp(logits, axis=1) - alpha * test, rtol=1e-3, atol=1e-3)
    # The paper's own score, minus the probability of the virtual class, ranks alike.
    virtual = softmax(np.concatenate([logits, alpha * test[:, None]], axis=1), axis=1)[:, -1]
    assert (found.argsort() == (-virtual).argsort()).mean() > 0.95


def test_react(layer):
    limit = np.quantile(layer.train, 0.9)
    expected = [logsumexp(np.minimum(features, limit) @ layer.weight + layer.bias) for features in layer.test]
    np.testing.assert_allclose(computed('react', layer), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['sirc', 'sirc_residual', 'sirc_confidnet'])
def test_sirc_ranks_as_the_formula_of_the_paper(name, layer):
    probs = softmax(layer.logits(layer.test), axis=1)
    first = 1 / (1 + np.exp(-layer.head)) if name == 'sirc_confidnet' else probs.max(axis=1)
    center, kept = layer.train.mean(axis=0), kept_of(layer.train)
    if name == 'sirc':
        val, test = (np.abs(x).mean(axis=1) for x in (layer.val, layer.test))
    else:
        val, test = (-residual_of(x, layer.train, center, kept) for x in (layer.val, layer.test))
    a, b = val.mean() - 3 * val.std(), 1 / val.std()
    expected = -(1 - first) * (1 + np.exp(-b * (test - a)))
    found = computed(name, layer)
    np.testing.assert_allclose(found, -np.log(-expected), rtol=1e-3, atol=1e-3)


def test_the_last_layer_is_recovered_and_unknown_directions_are_counted(layer):
    layer.train[:, 3] = 0
    layer.val[:, 3] = 0
    found = recover_last_layer(layer.given(), 'mine')
    known = np.arange(NUM_FEATURES) != 3
    np.testing.assert_allclose(found.weight[known], layer.weight[known], atol=1e-4)
    np.testing.assert_allclose(found.bias, layer.bias, atol=1e-4)
    assert np.abs(found.weight[3]).max() < 1e-9
    assert found.notes == ('the weights of 1 of 12 directions, in which features do not vary, are 0',)


def test_half_precision_is_recovered_too(layer):
    given = layer.given()
    half = [part._replace(logits=part.logits.astype(np.float16), features=part.features.astype(np.float16))
            for part in (given.val, given.train)]  # fmt: skip
    found = recover_last_layer(given._replace(val=half[0], train=half[1]), 'mine')
    np.testing.assert_allclose(found.weight, layer.weight, atol=0.02)


@pytest.mark.parametrize('name', NEEDS_LAYER)
def test_logits_that_are_not_linear_in_the_features_make_it_unavailable(name, layer):
    given = layer.given()
    bent = given._replace(
        val=given.val._replace(logits=np.tanh(given.val.logits)),
        train=given.train._replace(logits=np.tanh(given.train.logits)),
    )
    with pytest.raises(ScoreUnavailableError, match=f'{name} needs logits that are a linear function of the features'):
        SCORES[name].fit(bent)


@pytest.mark.parametrize('name', ['residual', 'vim', 'fdbd', 'nnguide', 'react', 'sirc_residual'])
def test_without_training_features_it_is_unavailable(name, layer):
    with pytest.raises(ScoreUnavailableError, match='needs the features of the training set'):
        SCORES[name].fit(layer.given()._replace(train=None, train_labels=None))


def test_one_feature_has_no_residual(layer):
    given = layer.given()
    narrow = given._replace(train=given.train._replace(features=given.train.features[:, :1]))
    with pytest.raises(ScoreUnavailableError, match='there is one feature alone'):
        SCORES['residual'].fit(narrow)


def test_a_constant_second_score_leaves_the_first_in_order(layer):
    given = layer.given()
    flat = given._replace(val=given.val._replace(features=np.ones((60, NUM_FEATURES), np.float32)))
    score, inputs = SCORES['sirc'], layer.inputs(layer.test)._replace(features=np.ones((60, NUM_FEATURES), np.float32))
    found = np.asarray(score.fn(inputs, as_fit(score.fit(flat)).fitted))
    assert (found.argsort() == np.asarray(SCORES['doctor_beta'].fn(inputs)).argsort()).all()


def test_rows_are_drawn_where_there_are_too_many(layer, monkeypatch):
    monkeypatch.setattr(linear, 'MAX_ROWS', 40)
    np.testing.assert_allclose(recover_last_layer(layer.given(), 'mine').weight, layer.weight, atol=1e-4)
