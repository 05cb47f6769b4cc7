"""An ensemble as a classifier of its own, and every score as P(correct) before and after calibration."""

import dataclasses

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss, roc_auc_score

from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.calibrating import BEFORE, calibrate_scores
from failpred_jax.evaluate.own_classifier import measure_own
from failpred_jax.evaluate.parts import Part, Parts
from failpred_jax.metrics import measure_calibration
from failpred_jax.registry import METRICS
from failpred_jax.results import Predictions
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
    assert set(found.scores) == {'mcp', 'ensemble', 'ensemble_entropy', 'ensemble_mutual_information'}
    assert measure_own(Parts('classification', part(logits, labels)), 'mc_dropout', OPTIONS) is None


def predictions(confidences, correct):
    return Predictions(correct.astype(np.int32), np.zeros((len(correct), 2)), correct, confidences)


def test_scores_as_probabilities_before_and_after(rng):
    true = rng.beta(6, 1, (2, 3000))
    correct = rng.random((2, 3000)) < true
    claimed, log_odds = true ** (1 / 3), np.log(true / (1 - true))
    val, test = (predictions({'mcp': claimed[i], 'mine': log_odds[i], 'tcp': true[i]}, correct[i]) for i in (0, 1))
    found = calibrate_scores(val, test, num_resamples=200)
    assert set(found) == {'mcp', 'mine'}
    mcp, mine = found['mcp'], found['mine']
    assert set(mcp.figures) == set(mcp.intervals) == {BEFORE, 'platt', 'isotonic', 'beta'}
    assert mcp.figures[BEFORE]['ece'] == measure_calibration(claimed[1], correct[1])['ece']
    for method in ('isotonic', 'beta'):
        assert mcp.figures[method]['nll'] < mcp.figures[BEFORE]['nll']
        assert mcp.figures[method]['ece'] < mcp.figures[BEFORE]['ece'] / 2
    assert mcp.intervals[BEFORE]['ece'].low > mcp.intervals['beta']['ece'].high
    assert mcp.after == mcp.chosen in ('isotonic', 'beta')

    # A user's own score on a scale of its own: P(correct) only once it is calibrated.
    assert set(mine.figures) == {'platt', 'isotonic'}
    assert 'not meant as a probability' in mine.unavailable[BEFORE] and 'in [0, 1]' in mine.unavailable['beta']
    assert mine.figures['platt']['ece_debiased'] < 0.01

    flawless = predictions({'mcp': claimed[0]}, np.ones(3000, bool))
    for of_val, words in ((None, 'no validation units'), (flawless, 'no errors')):
        alone = calibrate_scores(of_val, test)['mcp']
        assert set(alone.figures) == {BEFORE} and words in alone.notes[0] and not alone.intervals
        assert alone.after == ''
    certain = calibrate_scores(None, predictions({'mcp': np.ones(3000)}, correct[1]))['mcp']
    assert 'nll' not in certain.figures[BEFORE] and 'wrong' in certain.unavailable[f'{BEFORE}.nll']


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
