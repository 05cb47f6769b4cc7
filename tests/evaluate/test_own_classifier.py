"""An ensemble as a classifier of its own, and every score as P(correct) before and after calibration."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import log_loss, roc_auc_score

from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.calibrating import BEFORE, calibrate_score
from failpred_jax.evaluate.own_classifier import measure_own
from failpred_jax.evaluate.parts import Part, Parts
from failpred_jax.metrics import measure_calibration
from failpred_jax.registry import METRICS
from failpred_jax.scores.sampled import add_logits, finish_samples, init_samples
from failpred_jax.scores.score import ScoreInputs

OPTIONS = dataclasses.replace(EvaluateConfig(), resamples=0)


@pytest.fixture
def members(rng):
    """Three members' logits [3, N, C] of the same units, and their labels."""
    labels = rng.integers(5, size=400).astype(np.int32)
    logits = rng.normal(size=(3, 400, 5)) + rng.normal(size=(400, 5))
    logits[:, np.arange(400), labels] += 2
    return (2 * logits).astype(np.float32), labels


def part(logits, labels):
    sums = init_samples(logits.shape[1:])
    for member in logits:
        sums = add_logits(sums, member)
    return Part(ScoreInputs(logits[0], ensemble=finish_samples(sums)), labels)


def test_ensemble_has_its_own_predictions_errors_and_scores(members):
    logits, labels = members
    mean = softmax(logits.astype(np.float64), axis=-1).mean(axis=0)
    found = measure_own(Parts('classification', part(logits, labels)), 'ensemble', OPTIONS).measures
    correct = mean.argmax(axis=1) == labels
    assert correct.sum() != (logits[0].argmax(axis=1) == labels).sum()
    assert found.classifier.num_errors == np.sum(~correct)
    np.testing.assert_allclose(found.classifier.metrics['multiclass_nll'], log_loss(labels, mean), rtol=1e-5)
    auroc = roc_auc_score(correct, mean.max(axis=1))
    for name in ('mcp', 'ensemble'):
        assert found.scores[name].metrics['auroc'] == pytest.approx(auroc, abs=1e-6)
    assert {'ensemble_entropy', 'ensemble_mutual_information', 'doctor_alpha'} <= set(found.scores)
    # Its logits are log-probabilities; a single classifier's features and heads are not its own.
    assert not {'energy', 'max_logit', 'trust_score', 'mc_dropout', 'fusion'} & set(found.scores)
    assert measure_own(Parts('classification', part(logits, labels)), 'mc_dropout', OPTIONS) is None


def test_a_score_as_probability_before_and_after(rng):
    true = rng.beta(6, 1, (2, 3000))
    correct = rng.random((2, 3000)) < true
    claimed = true ** (1 / 3)
    found = calibrate_score('mcp', claimed[0], correct[0], claimed[1], correct[1], num_resamples=200)
    assert set(found.figures) == set(found.intervals) == {BEFORE, 'platt', 'isotonic', 'beta'}
    assert found.figures[BEFORE]['ece'] == measure_calibration(claimed[1], correct[1])['ece']
    for method in ('isotonic', 'beta'):
        assert found.figures[method]['nll'] < found.figures[BEFORE]['nll']
        assert found.figures[method]['ece'] < found.figures[BEFORE]['ece'] / 2
    assert found.intervals[BEFORE]['ece'].low > found.intervals['beta']['ece'].high
    assert found.chosen.method in ('isotonic', 'beta')

    # A user's own score on a scale of its own: P(correct) only once it is calibrated.
    log_odds = np.log(true / (1 - true))
    own = calibrate_score('mine', log_odds[0], correct[0], log_odds[1], correct[1])
    assert set(own.figures) == {'platt', 'isotonic'} and not own.intervals
    assert 'not meant as a probability' in own.unavailable[BEFORE] and 'in [0, 1]' in own.unavailable['beta']
    np.testing.assert_allclose(own.chosen(log_odds[1]), expit(log_odds[1]), atol=0.1)
    for of_val, words in ((None, 'no validation units'), (np.ones(3000, bool), 'no errors')):
        alone = calibrate_score('mcp', claimed[0], of_val, claimed[1], correct[1])
        assert set(alone.figures) == {BEFORE} and words in alone.notes[0]


def test_debiased_ece_is_not_lifted_by_chance(rng):
    """Calibrated confidences have a binned ECE above 0 by chance alone; the mean of the debiased one is near it."""
    plain, debiased, off = [], [], []
    for _ in range(40):
        confidence = rng.beta(6, 1, 400).astype(np.float32)
        found = measure_calibration(confidence, rng.random(400) < confidence)
        plain.append(found['ece_equal_mass'])
        debiased.append(found['ece_debiased'])
        wrong = measure_calibration(confidence, rng.random(400) < confidence - 0.2 * confidence)
        off.append(wrong['ece_debiased'])
    assert np.mean(debiased) < np.mean(plain) / 3 > 0.01
    assert np.mean(off) == pytest.approx(0.2 * 6 / 7, abs=0.01)
    assert METRICS['ece_debiased'].reference.startswith('Kumar')
