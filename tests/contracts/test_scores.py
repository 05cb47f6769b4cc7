"""What every registered score must hold, on real digits. A score is tested by being registered."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from failpred_jax.evaluate.scoring import Plan, compute_scores, fit_scores
from failpred_jax.registry import SCORES
from failpred_jax.scores.sampled import add_logits, finish_samples, init_samples
from failpred_jax.scores.score import Fit, FitInputs, Score, ScoreInputs, as_fit

# One size for all, and one for the parts: every shape compiles anew.
NUM_UNITS, NUM_PART = 320, 80
ALL = sorted(SCORES)


class Classifier:
    """A small network of scikit-learn's, and noisy digits that it often gets wrong."""

    def __init__(self):
        images, labels = load_digits(return_X_y=True)
        rng = np.random.default_rng(0)
        images = images / 16 + 0.35 * rng.normal(size=images.shape)
        order = rng.permutation(len(images))
        self.images, self.labels = images[order].astype(np.float32), labels[order].astype(np.int32)
        self.networks = [self.train(seed) for seed in range(3)]

    def train(self, seed):
        network = MLPClassifier((24,), max_iter=60, learning_rate_init=5e-3, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ConvergenceWarning)
            return network.fit(self.images[:NUM_UNITS], self.labels[:NUM_UNITS])

    def features(self, images, network):
        return np.maximum(images @ network.coefs_[0] + network.intercepts_[0], 0).astype(np.float32)

    def logits(self, features, network):
        return (features @ network.coefs_[1] + network.intercepts_[1]).astype(np.float32)

    def inputs(self, units, seed):
        images, network = self.images[units], self.networks[0]
        features = self.features(images, network)
        logits = self.logits(features, network)
        rng = np.random.default_rng(seed)
        dropout = init_samples(logits.shape)
        for _ in range(10):
            kept = features * (rng.random(features.shape) > 0.3) / 0.7
            dropout = add_logits(dropout, self.logits(kept, network))
        ensemble = init_samples(logits.shape)
        for member in self.networks:
            ensemble = add_logits(ensemble, self.logits(self.features(images, member), member))
        lead = np.diff(np.sort(logits, axis=1)[:, -2:], axis=1)[:, 0]
        return ScoreInputs(
            logits=logits,
            features=features,
            confidence_logit=(lead - 1 + rng.normal(size=lead.shape)).astype(np.float32),
            finetuned_logit=(lead - 1 + rng.normal(size=lead.shape)).astype(np.float32),
            mc_dropout=finish_samples(dropout),
            ensemble=finish_samples(ensemble),
            labels=self.labels[units],
        )


@functools.cache
def data() -> tuple[ScoreInputs, FitInputs, np.ndarray, np.ndarray]:
    """Return test inputs, what to fit on, which test predictions are correct, and features of what is no digit."""
    classifier = Classifier()
    train_units, val_units, test_units = (slice(i * NUM_UNITS, (i + 1) * NUM_UNITS) for i in range(3))
    train, val, test = (classifier.inputs(u, i) for i, u in enumerate((train_units, val_units, test_units)))
    fit_inputs = FitInputs(
        val=val._replace(labels=None),
        val_labels=classifier.labels[val_units],
        train=ScoreInputs(train.logits, train.features),
        train_labels=classifier.labels[train_units],
        key=jax.random.key(0),
    )
    # For scores that combine others, some of those, and one that the user brought in float64.
    plan = Plan(tuple(SCORES[name] for name in ('mcp', 'rel_u', 'trust_score', 'ensemble')), {})
    fitted = fit_scores(plan, fit_inputs, {'mine': -val.features.sum(axis=1, dtype=np.float64)})
    fit_inputs = fit_inputs._replace(val=fit_inputs.val._replace(columns=fitted.columns))
    columns = compute_scores(plan, test, fitted)[0] | {'mine': -test.features.sum(axis=1, dtype=np.float64)}
    # Pixels in another order.
    shuffled = classifier.images[test_units][:, np.random.default_rng(5).permutation(classifier.images.shape[1])]
    strange = classifier.features(shuffled, classifier.networks[0])
    return test._replace(columns=columns), fit_inputs, test.logits.argmax(axis=1) == test.labels, strange


@functools.cache
def fit_of(name: str) -> Fit:
    return as_fit(SCORES[name].fit(data()[1]))


@functools.cache
def fit(name: str):
    """Return the fitted score as a function of ScoreInputs alone, and its notes."""
    score: Score = SCORES[name]
    if score.fit is None:
        return score.fn, ()
    found = fit_of(name)
    return functools.partial(score.fn, fitted=found.fitted), found.notes


@functools.cache
def jitted(name: str):
    """Return the same compiled whole, which for a shape seen once is quicker than operation by operation."""
    return jax.jit(fit(name)[0])


def needed(name: str, inputs: ScoreInputs) -> ScoreInputs:
    """Return the inputs with all but the declared needs taken away."""
    keeps = SCORES[name].needs
    return ScoreInputs(**{f: getattr(inputs, f) if f in keeps else None for f in ScoreInputs._fields if f != 'logits'},
                       logits=inputs.logits if 'logits' in keeps else None)  # fmt: skip


@functools.cache
def confidence_of_all(name: str) -> np.ndarray:
    return np.asarray(fit(name)[0](needed(name, data()[0])))


def take(inputs: ScoreInputs, units) -> ScoreInputs:
    return jax.tree.map(lambda x: x[units], inputs)


def assert_same(actual, expected):
    """The same to float32 rounding: a matrix product's last digits depend on its shape."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=2e-5, atol=2e-6 * max(scale, 1))


def test_the_classifier_is_wrong_often_enough():
    assert 20 < np.sum(~data()[2]) < 200


@pytest.mark.parametrize('name', ALL)
def test_is_described(name):
    score = SCORES[name]
    assert score.name == name
    assert score.description and '\n' not in score.description
    assert score.reference and any(c.isdigit() for c in score.reference)
    assert score.fn.__doc__
    assert score.needs and score.needs <= set(ScoreInputs._fields)
    assert score.reads_label == ('labels' in score.needs)
    assert not (score.fits_on_train and score.fit is None)
    assert score.combines == ('columns' in score.needs)


@pytest.mark.parametrize('name', ALL)
def test_has_one_finite_float32_a_unit(name):
    confidence = fit(name)[0](needed(name, data()[0]))
    assert confidence.shape == (NUM_UNITS,)
    assert confidence.dtype == jnp.float32
    assert np.isfinite(confidence).all()
    if SCORES[name].is_probability:
        assert np.min(confidence) >= 0 and np.max(confidence) <= 1
    assert all(isinstance(note, str) and note for note in fit(name)[1])


@pytest.mark.parametrize('name', ALL)
def test_is_higher_where_the_prediction_is_right(name):
    if SCORES[name].ranks_errors:
        assert roc_auc_score(data()[2], confidence_of_all(name)) > 0.55
        return
    found = np.asarray(fit(name)[0](needed(name, data()[0]._replace(features=data()[3]))))
    assert roc_auc_score(np.arange(2 * NUM_UNITS) < NUM_UNITS, np.concatenate([confidence_of_all(name), found])) > 0.6


@pytest.mark.parametrize('name', ALL)
def test_of_a_subset_is_the_subset(name):
    units = np.random.default_rng(1).permutation(NUM_UNITS) < NUM_PART
    assert_same(jitted(name)(take(needed(name, data()[0]), units)), confidence_of_all(name)[units])


@pytest.mark.parametrize('name', ALL)
def test_does_not_depend_on_the_batch_size(name):
    inputs, fn = needed(name, data()[0]), jitted(name)
    batches = [np.asarray(fn(take(inputs, slice(i, i + NUM_PART)))) for i in range(0, NUM_UNITS, NUM_PART)]
    assert_same(np.concatenate(batches), confidence_of_all(name))


@pytest.mark.parametrize('name', ALL)
def test_goes_along_with_a_permutation(name):
    order = np.random.default_rng(2).permutation(NUM_UNITS)
    assert_same(fit(name)[0](take(needed(name, data()[0]), order)), confidence_of_all(name)[order])


@pytest.mark.parametrize('name', ALL)
def test_is_the_same_on_one_and_on_eight_devices(name):
    assert len(jax.devices()) == 8
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec('data'))
    spread = jax.device_put(needed(name, data()[0]), sharding)
    assert_same(jitted(name)(spread), confidence_of_all(name))


@pytest.mark.parametrize('name', ALL)
def test_is_finite_on_extreme_logits(name):
    test = data()[0]
    rng = np.random.default_rng(3)
    extreme = (1e4 * rng.choice([-1.0, 0.0, 1.0], size=test.logits.shape)).astype(np.float32)
    extreme[0], extreme[1], extreme[2] = 0, 1e4, np.eye(extreme.shape[1])[3] * 1e4
    samples = init_samples(extreme.shape)
    for sign in (1, -1):
        samples = add_logits(samples, sign * extreme)
    summary = finish_samples(samples)
    head = extreme[:, 0]
    inputs = test._replace(
        logits=extreme, confidence_logit=head, finetuned_logit=head, mc_dropout=summary, ensemble=summary
    )
    assert np.isfinite(fit(name)[0](needed(name, inputs))).all()


@pytest.mark.parametrize('name', [n for n in ALL if SCORES[n].fit is not None])
def test_fits_the_same_under_the_same_key(name):
    again = as_fit(SCORES[name].fit(data()[1]))
    np.testing.assert_array_equal(SCORES[name].fn(needed(name, data()[0]), again.fitted), confidence_of_all(name))
    assert again.notes == fit(name)[1]


@pytest.mark.parametrize('name', [n for n in ALL if SCORES[n].fit is not None])
def test_candidates_hold_the_chosen_one(name):
    score, given, found = SCORES[name], data()[1], fit_of(name)
    if found.candidates is None or score.combines:
        return
    values = np.asarray(score.fn(given.val, found.fitted))
    candidates = np.asarray(found.candidates)
    assert candidates.shape[0] == len(values)
    assert min(np.abs(candidates - values[:, None]).max(axis=0)) <= 1e-5 * np.abs(values).max()


@pytest.mark.parametrize('name', [n for n in ALL if SCORES[n].fit is not None and not SCORES[n].reads_val_labels])
def test_a_fit_that_claims_not_to_read_validation_labels_does_not(name):
    given = data()[1]
    blind = as_fit(SCORES[name].fit(given._replace(val_labels=np.roll(given.val_labels, 7))))
    np.testing.assert_array_equal(SCORES[name].fn(needed(name, data()[0]), blind.fitted), confidence_of_all(name))
