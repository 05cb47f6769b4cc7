"""Running sums of stochastic passes against NumPy on all of them at once."""

import jax
import numpy as np
import pytest
from jax import lax
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score
from sklearn.neural_network import MLPClassifier

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.registry import SCORES
from failpred_jax.scores.sampled import add_logits, add_sample, finish_samples, init_samples
from failpred_jax.scores.score import SampleSummary, ScoreInputs

FIELDS = ('mc_dropout', 'ensemble')


def summarize(samples):
    sums = init_samples(samples.shape[1:])
    for probs in samples:
        sums = add_sample(sums, probs)
    return finish_samples(sums)


def entropy(p):
    return -(p * np.log(p)).sum(axis=-1)


@pytest.fixture
def samples(rng):
    return softmax(3 * rng.normal(size=(20, 30, 6)), axis=-1).astype(np.float32)


def test_summary_equals_numpy(samples):
    summary, p = summarize(samples), samples.astype(np.float64)
    np.testing.assert_allclose(summary.mean_probs, p.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(summary.mean_entropy, entropy(p).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(summary.variance, p.var(axis=0).mean(axis=-1), rtol=1e-5)


@pytest.mark.parametrize('field', FIELDS)
def test_scores_equal_their_definitions(field, samples, rng):
    # Of a classifier that the samples often contradict.
    frozen = rng.normal(size=(30, 6)).astype(np.float32)
    p = samples.astype(np.float64)
    mean = p.mean(axis=0)
    expected = {
        field: mean[np.arange(30), frozen.argmax(axis=-1)],
        f'{field}_entropy': -entropy(mean),
        f'{field}_mutual_information': entropy(p).mean(axis=0) - entropy(mean),
        'mc_dropout_variance': -p.var(axis=0).mean(axis=-1),
        'mc_dropout_logit_entropy': -entropy(softmax(np.log(p).mean(axis=0), axis=-1)),
    }
    inputs = ScoreInputs(frozen, **dict.fromkeys(FIELDS, summarize(samples)))
    for name, values in expected.items():
        np.testing.assert_allclose(SCORES[name].fn(inputs), values, rtol=2e-5, atol=1e-6)


def test_small_variances_survive(rng):
    """Near 1, the mean of squares less the square of the mean would be rounding noise."""
    p = 1 - 1e-4 * rng.random(size=(50, 8, 1))
    samples = np.concatenate([p, 1 - p], axis=-1).astype(np.float32)
    expected = samples.astype(np.float64).var(axis=0).mean(axis=-1)
    np.testing.assert_allclose(summarize(samples).variance, expected, rtol=1e-2)


def test_works_per_pixel_inside_a_jitted_scan(samples):
    maps = samples.reshape(20, 5, 6, 6)

    @jax.jit
    def scanned(maps):
        return finish_samples(lax.scan(lambda sums, p: (add_sample(sums, p), None), init_samples((5, 6, 6)), maps)[0])

    for actual, expected in zip(scanned(maps), summarize(samples), strict=True):
        np.testing.assert_allclose(actual, np.asarray(expected).reshape(actual.shape), rtol=1e-5)


@pytest.mark.parametrize('name', sorted(n for n in SCORES if SCORES[n].needs & set(FIELDS) and SCORES[n].fit is None))
def test_samples_that_do_not_differ_are_an_error(name, samples):
    same = summarize(np.repeat(samples[:1], 10, axis=0))
    assert not np.any(same.variance)
    with pytest.raises(ScoreUnavailableError, match='variance is 0'):
        SCORES[name].fn(ScoreInputs(samples[0], mc_dropout=same, ensemble=same, columns={}))


def test_one_unit_that_varies_is_enough(samples):
    summary = SampleSummary(samples[0], np.zeros(30, np.float32), np.eye(30, dtype=np.float32)[0])
    assert SCORES['mc_dropout'].fn(ScoreInputs(samples[0], mc_dropout=summary)).shape == (30,)
    with pytest.raises(ScoreUnavailableError, match='were not kept'):
        SCORES['mc_dropout_logit_entropy'].fn(ScoreInputs(samples[0], mc_dropout=summary))


@pytest.mark.parametrize('field', FIELDS)
def test_speaks_about_the_prediction_that_is_judged(field):
    """The members lean to class 1 by .823; the frozen classifier says 0, which they give .177."""
    members = np.array([[[0.51, 0.49]], [[0.01, 0.99]], [[0.01, 0.99]]], np.float32)
    inputs = ScoreInputs(np.array([[0.1, 0.0]]), **{field: summarize(members)})
    assert SCORES[field].fn(inputs) == pytest.approx(0.53 / 3)


@pytest.mark.filterwarnings('ignore::sklearn.exceptions.ConvergenceWarning')
def test_real_digits_are_ranked_better_by_the_mean_at_the_prediction_that_is_judged():
    """Three MLPs of one hidden layer, each judged with the ensemble's confidence; the largest mean is the old score."""
    digits = load_digits()
    (train, train_labels), (test, labels) = (
        (digits.data[at] / 16, digits.target[at]) for at in (slice(500), slice(500, None))
    )
    members = [
        MLPClassifier((16,), random_state=seed, max_iter=40, learning_rate_init=0.01)
        .fit(train, train_labels)
        .predict_proba(test)
        for seed in range(3)
    ]
    summary = summarize(np.stack(members))
    largest = np.asarray(summary.mean_probs).max(axis=-1)
    found = []
    for member in members:
        is_error = member.argmax(axis=-1) != labels
        assert 100 < is_error.sum() < 200
        inputs = ScoreInputs(np.log(np.maximum(member, 1e-30)), ensemble=summary)
        at_prediction = np.asarray(SCORES['ensemble'].fn(inputs))
        assert (at_prediction <= largest).all()
        found.append([average_precision_score(is_error, -score) for score in (largest, at_prediction)])
    before, after = np.array(found).T
    assert (after > before).all()
    assert after.mean() - before.mean() > 0.05


def test_logits_and_probabilities_leave_the_same(rng):
    logits = (5 * rng.normal(size=(8, 20, 4))).astype(np.float32)
    sums = init_samples((20, 4))
    for passed in logits:
        sums = add_logits(sums, passed)
    for found, expected in zip(finish_samples(sums), summarize(softmax(logits, axis=-1)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    # The reference averages logits, not probabilities, and one constant a pass changes nothing.
    reference = softmax(logits.astype(np.float64).mean(axis=0), axis=-1)
    found = SCORES['mc_dropout_logit_entropy'].fn(ScoreInputs(None, mc_dropout=finish_samples(sums)))
    np.testing.assert_allclose(found, -entropy(reference), rtol=1e-4, atol=1e-6)
