"""Conformal sets and selective thresholds: definitions, and the guarantees by simulation."""

import math

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binom

from failpred_jax.calibrate.conformal import fit_conformal, prediction_sets
from failpred_jax.calibrate.selective import risk_upper_bound, threshold_at_coverage, threshold_at_risk
from failpred_jax.errors import UserError


def draw_labels(rng, probs):
    return (probs.cumsum(axis=1) > rng.random((len(probs), 1))).argmax(axis=1)


def test_conformal_threshold_is_the_order_statistic():
    true_probs = np.arange(1, 20) / 20
    probs = np.stack([true_probs, 1 - true_probs], axis=1)
    labels = np.zeros(19, int)
    # k = floor(20 * 0.1) = 2: the second smallest.
    assert fit_conformal(probs, labels, 0.1) == 2 / 20
    assert fit_conformal(probs, labels, 0.05) == 1 / 20
    assert fit_conformal(probs, labels, 0.04) == -math.inf
    assert prediction_sets(probs, -math.inf).all()
    with pytest.raises(UserError, match='between 0 and 1'):
        fit_conformal(probs, labels, 0.0)


def test_conformal_sets_cover_as_promised(rng):
    """Mean coverage over many draws lies between 1 - alpha and 1 / (N + 1) more, within 4 standard errors."""
    num_units, alpha, covered = 60, 0.15, []
    for _ in range(3000):
        probs = softmax(2 * rng.normal(size=(num_units + 1, 4)), axis=1)
        # Labels from a flatter distribution: the promise does not need the classifier to be calibrated.
        labels = draw_labels(rng, softmax(np.log(probs) / 2, axis=1))
        threshold = fit_conformal(probs[:-1], labels[:-1], alpha)
        covered.append(prediction_sets(probs[-1:], threshold)[0, labels[-1]])
    slack = 4 * np.sqrt(alpha * (1 - alpha) / len(covered))
    assert 1 - alpha - slack <= np.mean(covered) <= 1 - alpha + 1 / (num_units + 1) + slack


@pytest.mark.parametrize('coverage', [0.1, 0.5, 0.7, 1.0])
def test_threshold_at_coverage_accepts_no_more_than_it_must(coverage, rng):
    confidence = rng.normal(size=50).astype(np.float32)
    assert np.sum(confidence > threshold_at_coverage(confidence, coverage)) == round(50 * coverage)


def test_threshold_at_coverage_accepts_ties_together():
    confidence = np.array([0.2, 1.0, 1.0, 1.0, 0.1], np.float32)
    assert np.sum(confidence > threshold_at_coverage(confidence, 0.2)) == 3
    assert np.sum(confidence > threshold_at_coverage(confidence, 0.61)) == 4
    with pytest.raises(UserError, match='over 0'):
        threshold_at_coverage(confidence, 0.0)


@pytest.mark.parametrize(('num_errors', 'num_units'), [(0, 10), (3, 50), (49, 50)])
def test_bound_solves_its_equation(num_errors, num_units):
    bound = risk_upper_bound(num_errors, num_units, 0.05)
    np.testing.assert_allclose(binom.cdf(num_errors, num_units, bound), 0.05, rtol=1e-6)


def test_bound_of_nothing_but_errors_is_one():
    assert risk_upper_bound(5, 5, 0.1) == 1
    np.testing.assert_allclose(risk_upper_bound(0, 10, 0.05), 1 - 0.05 ** (1 / 10))


def test_threshold_at_risk_takes_the_largest_guaranteed_coverage(rng):
    confidence = rng.random(2000).astype(np.float32)
    correct = rng.random(2000) < 0.5 + 0.5 * confidence
    loose, strict = (threshold_at_risk(confidence, correct, risk) for risk in (0.2, 0.1))
    assert 0 < strict.coverage < loose.coverage < 1
    for found, risk in ((loose, 0.2), (strict, 0.1)):
        accepted = confidence > found.threshold
        assert found.coverage == accepted.mean()
        assert found.risk == np.mean(~correct[accepted]) < found.risk_bound <= risk
    assert threshold_at_risk(confidence, correct, 0.9).threshold == -math.inf
    impossible = threshold_at_risk(confidence, np.zeros(2000, bool), 0.1)
    assert impossible.threshold == math.inf and impossible.coverage == 0 and math.isnan(impossible.risk_bound)
    with pytest.raises(UserError, match='target_risk'):
        threshold_at_risk(confidence, correct, 1.0)


def test_threshold_at_risk_keeps_its_promise(rng):
    """P(correct) = confidence, uniform on [0, 1]: accepting over t has risk (1 - t) / 2. The promise breaks at most
    delta of the time; nothing tells us that it is not broken far less."""
    broken, accepted, delta = [], [], 0.2
    for _ in range(300):
        confidence = rng.random(400).astype(np.float32)
        found = threshold_at_risk(confidence, rng.random(400) < confidence, 0.25, delta)
        broken.append((1 - max(found.threshold, 0)) / 2 > 0.25)
        accepted.append(found.coverage)
    assert np.mean(broken) <= delta
    assert np.mean(accepted) > 0.2
