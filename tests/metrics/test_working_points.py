"""Thresholds chosen on validation, and figures class by class."""

import numpy as np
import pytest

import failpred_jax.metrics as fm
from failpred_jax.errors import UserError
from failpred_jax.metrics.working_points import binomial_interval


def units(rng, size):
    confidence = np.round(rng.random(size), 2)
    return confidence, rng.random(size) < 0.5 + confidence / 2


def test_points_are_chosen_on_validation_and_measured_on_test(rng):
    (val, val_correct), (test, correct) = units(rng, 500), units(rng, 700)
    found = fm.working_points(val, val_correct, test, correct, (0.5, 0.9), (0.1, 0.2))
    assert [(point.aim, point.target) for point in found] == [
        ('coverage', 0.5), ('coverage', 0.9), ('risk', 0.1), ('risk', 0.2),
    ]  # fmt: skip
    for point in found:
        # The slow search over every distinct confidence.
        thresholds = np.unique(val)
        shares = np.array([(val >= t).mean() for t in thresholds])
        risks = np.array([(~val_correct[val >= t]).mean() for t in thresholds])
        if point.aim == 'coverage':
            assert point.threshold == thresholds[shares >= point.target].max()
            assert point.val_coverage >= point.target
        else:
            assert point.threshold == thresholds[risks <= point.target].min()
            assert point.val_risk <= point.target
        accepted = test >= point.threshold
        assert point.coverage == accepted.mean()
        assert point.risk == pytest.approx((~correct[accepted]).mean())
        assert point.coverage_low < point.coverage < point.coverage_high
        assert point.risk_low < point.risk < point.risk_high


def test_a_risk_that_no_threshold_reaches_accepts_nothing():
    (point,) = fm.working_points([1, 2, 3], [True, True, False], [1, 2, 5], [True] * 3, (), (0.1,))
    assert (point.threshold, point.val_coverage, point.coverage) == (np.inf, 0, 0)
    assert np.isnan([point.risk, point.val_risk, point.risk_low, point.risk_high]).all()
    assert point.coverage_high > 0.5
    with pytest.raises(UserError, match='no test unit'):
        fm.working_points([1.0], [True], [], [])
    with pytest.raises(UserError, match='holds 1 NaN'):
        fm.working_points([1.0], [True], [np.nan], [True])


def test_no_error_in_a_hundred_is_the_rule_of_three():
    low, high = binomial_interval(0, 100, 0.9)
    assert (low, high) == (0, pytest.approx(0.0295, abs=1e-4))
    assert binomial_interval(100, 100, 0.9)[1] == 1


def test_metrics_of_a_class_are_those_of_its_units_alone(rng, monkeypatch):
    confidence, correct = units(rng, 300)
    scores = {'a': confidence, 'b': 1 + rng.integers(0, 50, 300) * 1e-12}
    classes = rng.integers(0, 5, 300)
    correct[classes == 3] = True
    found = fm.class_failure_metrics(scores, correct, classes, 6)
    for name, score in scores.items():
        for c in range(6):
            alone = fm.score_metrics(score[classes == c], correct[classes == c])
            expected = np.array(list(alone.values()))
            np.testing.assert_allclose([found[name][metric][c] for metric in alone], expected, atol=1e-12)
    assert np.isnan(found['a']['auroc'][3]) and found['a']['accuracy'][3] == 1
    assert np.isnan(found['a']['accuracy'][5])
    monkeypatch.setattr('failpred_jax.metrics.per_class._MAX_MASKED', 0)
    again = fm.class_failure_metrics(scores, correct, classes, 6)
    np.testing.assert_allclose(again['b']['aurc'], found['b']['aurc'], atol=1e-12)
    with pytest.raises(UserError, match='give one class from 0 to 4 for each of the 300 units'):
        fm.class_failure_metrics(scores, correct, classes + 1, 5)
