"""A confidence as P(correct): each fit against scikit-learn, and the choice among them."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from failpred_jax.calibrate.beta import SMALLEST, fit_beta
from failpred_jax.calibrate.confidence import KNOT_ERROR, METHODS, fit_all, fit_confidence
from failpred_jax.calibrate.folds import draw_folds
from failpred_jax.calibrate.intervals import calibration_intervals
from failpred_jax.calibrate.logistic import fit_logistic, softened
from failpred_jax.errors import UserError
from failpred_jax.metrics import calibration_metrics


@pytest.fixture
def units(rng):
    """Confidences that claim more than they keep: P(correct) = s^3."""
    confidence = rng.beta(6, 1, 3000)
    return confidence, rng.random(3000) < confidence**3


@pytest.mark.parametrize('ridge', [1.0, 100.0])
def test_logistic_equals_scikit_learn(ridge, rng):
    design = rng.normal(size=(400, 5))
    correct = rng.random(400) < expit(design @ [2, 0, -1, 0.5, 0] + 2)
    fitted = fit_logistic(design, correct.astype(float), ridge)
    model = LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=1000).fit(design, correct)
    np.testing.assert_allclose(fitted.weights, model.coef_[0], atol=1e-5)
    np.testing.assert_allclose(fitted.intercept, model.intercept_[0], atol=1e-5)
    assert fitted.has_converged


def test_beta_equals_scikit_learn_and_its_maps_rise(units):
    confidence, correct = units
    target = softened(correct)
    design = np.stack([np.log(confidence), -np.log(np.maximum(1 - confidence, SMALLEST))], axis=1)
    # A soft target is a unit of both kinds, weighted.
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.concatenate([design, design]), np.repeat([1, 0], len(target)), np.concatenate([target, 1 - target])
    )
    beta = fit_beta(confidence, correct)
    np.testing.assert_allclose(beta(confidence), model.predict_proba(design)[:, 1], atol=1e-5)
    for rising in (fit_beta(1 - confidence, correct), fit_beta(np.round(confidence), correct)):
        assert rising.a >= 0 and rising.b >= 0
        assert np.all(np.diff(rising(np.linspace(0, 1, 50))) >= 0)


@pytest.mark.parametrize('method', [*METHODS, None])
def test_calibrates_units_it_has_not_seen(method, units, rng):
    fitted = fit_confidence(*units, method, is_probability=True)
    new = rng.beta(6, 1, 3000)
    correct = rng.random(3000) < new**3
    before, after = calibration_metrics(new, correct), calibration_metrics(fitted(new), correct)
    # A sigmoid of s is no cube of s: Platt scaling helps, and is not the best.
    assert after['ece'] < before['ece'] / 2
    assert after['nll'] < before['nll']
    assert fitted.method in METHODS and (method is None or fitted.method == method)


def test_knots_are_the_map(units):
    confidence, correct = units
    for method in METHODS:
        fitted = fit_confidence(confidence, correct, method)
        x, y = fitted.knots()
        assert np.all(np.diff(x) > 0)
        # Also beyond the held-out units.
        apart = np.concatenate([confidence, np.linspace(0, 1, 999), [1e-12, 1 - 1e-12]])
        if method != 'beta':
            apart = np.concatenate([apart, np.linspace(-9, 9, 999), [-1e30, 1e30]])
        np.testing.assert_allclose(np.interp(apart, x, y), fitted(apart), atol=3 * KNOT_ERROR)
        assert len(x) < 700
        assert fitted.to_dict()['method'] == method


@pytest.mark.parametrize('sign', [1, -1, 0])
def test_knots_are_the_map_of_confidences_on_any_scale(sign, rng):
    """Steep, falling, and flat: a sigmoid bends far from the held-out confidences, or nowhere."""
    confidence = rng.normal(1e6, 1e3, 800)
    correct = rng.random(800) < expit(sign * (confidence - 1e6) / 3e2 + 3)
    fitted = fit_confidence(confidence, correct, 'platt')
    apart = np.concatenate([confidence, np.linspace(0, 2e6, 2001), np.linspace(9e5, 1.1e6, 2001), [-3e38, 3e38]])
    np.testing.assert_allclose(np.interp(apart, *fitted.knots()), fitted(apart), atol=3 * KNOT_ERROR)


def test_a_map_that_predicts_no_better_than_none_is_refused(rng):
    confidence = rng.beta(6, 1, 1500)
    kept = fit_confidence(confidence, rng.random(1500) < confidence, is_probability=True)
    assert kept.method == 'none' and kept.notes == ('the confidence itself, as no map predicts held-out units better',)
    np.testing.assert_array_equal(kept(confidence), confidence)
    # Also where a file has it, and beyond the held-out units.
    apart = np.concatenate([confidence, [0, 1e-9, confidence.min() / 2, 1, 1.5]])
    np.testing.assert_array_equal(np.interp(apart, *kept.knots()), np.clip(apart, 0, 1))
    assert all(kept.loss['none'] <= loss for loss in kept.loss.values())


def test_any_scale_and_float64_keep_their_order(rng):
    step = np.arange(2000)
    correct = rng.random(2000) < expit(step / 400 - 1)
    # Apart by less than float32 can tell.
    fine = 1e9 + step / 100
    coarse = fit_confidence(step.astype(float), correct, 'platt')
    np.testing.assert_allclose(fit_confidence(fine, correct, 'platt')(fine), coarse(step), rtol=1e-6)
    found, unavailable = fit_all(fine, correct)
    assert set(found) == {'platt', 'isotonic'} and 'in [0, 1]' in unavailable['beta']
    wrong_way = fit_confidence(-step, correct, 'platt')
    assert 'decreasing' in wrong_way.notes[0]


def test_one_kind_only_is_refused():
    for correct, words in ((np.ones(9, bool), 'no errors'), (np.zeros(9, bool), 'nothing but errors')):
        with pytest.raises(UserError, match=words):
            fit_confidence(np.arange(9) / 9, correct)
    with pytest.raises(UserError, match='unknown calibration method'):
        fit_confidence(np.arange(9) / 9, np.arange(9) > 3, 'spline')


def test_folds_spread_the_errors():
    correct = np.arange(103) >= 13
    folds = draw_folds(correct, 5, seed=0)
    assert np.bincount(folds[~correct]).tolist() == [3, 3, 3, 2, 2]
    assert np.ptp(np.bincount(folds)) <= 1
    np.testing.assert_array_equal(folds, draw_folds(correct, 5, seed=0))


def test_intervals_hold_the_figures_and_zero_where_calibrated(units, rng):
    confidence, correct = units
    calibrated = rng.random(3000) < confidence
    for is_right, holds_zero in ((correct, False), (calibrated, True)):
        found = calibration_intervals({'mine': confidence}, is_right, 500)['mine']
        measured = calibration_metrics(confidence, is_right)
        for metric in ('brier', 'nll'):
            assert found[metric].low < measured[metric] < found[metric].high
            # The normal interval of a mean, which is right for so many units.
            values = (confidence - is_right) ** 2 if metric == 'brier' else None
            if values is not None:
                width = 2 * 1.96 * values.std() / np.sqrt(len(values))
                np.testing.assert_allclose(found[metric].high - found[metric].low, width, rtol=0.15)
        assert (found['ece'].low == 0) == holds_zero
        assert found['ece'].low < found['ece'].high
    np.testing.assert_allclose(
        calibration_metrics(confidence, correct)['nll'], log_loss(correct, confidence), rtol=1e-5
    )
    others = {f'other {k}': confidence**k for k in range(1, 20)}
    beside = calibration_intervals({**others, 'mine': confidence}, correct, 50)['mine']
    assert beside == calibration_intervals({'mine': confidence}, correct, 50)['mine']
    certain = calibration_intervals({'mine': np.ones(3000)}, correct, 100)['mine']
    assert 'nll' not in certain and certain['brier'].low > 0
