"""Platt scaling against scipy, isotonic regression against pooling adjacent violators by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from failpred_jax.calibrate.isotonic import fit_isotonic
from failpred_jax.calibrate.platt import fit_platt
from failpred_jax.errors import UserError


@pytest.fixture
def units(rng):
    confidence = rng.normal(size=800)
    return confidence.astype(np.float32), rng.random(800) < expit(2 * confidence + 1)


def test_platt_equals_scipy(units):
    confidence, correct = units
    target = np.where(correct, (correct.sum() + 1) / (correct.sum() + 2), 1 / ((~correct).sum() + 2))

    def loss(params):
        log_odds = params[0] * confidence.astype(np.float64) + params[1]
        return np.sum(np.logaddexp(0, log_odds) - target * log_odds)

    slope, offset = minimize(loss, [0.0, 0.0], tol=1e-10).x
    platt = fit_platt(confidence, correct)
    assert platt.has_converged
    np.testing.assert_allclose(platt(confidence), expit(slope * confidence + offset), atol=1e-5)


def test_platt_does_not_mind_scale_and_keeps_order(units):
    confidence, correct = units
    probability = fit_platt(confidence, correct)(confidence)
    stretched = 1e6 * confidence.astype(np.float64) - 5e6
    np.testing.assert_allclose(fit_platt(stretched, correct)(stretched), probability, rtol=1e-4)
    assert np.all(np.diff(probability[np.argsort(confidence)]) >= 0)
    np.testing.assert_allclose(probability.mean(), correct.mean(), atol=2e-3)


def test_platt_stays_finite_where_others_diverge():
    separable = fit_platt(np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True]))
    assert separable.has_converged and np.isfinite(separable.slope)
    all_correct = fit_platt(np.array([0.5, 0.7, 0.9]), np.ones(3, bool))
    np.testing.assert_allclose(all_correct(0.7), 4 / 5)
    constant = fit_platt(np.ones(10), np.arange(10) < 7)
    np.testing.assert_allclose(constant(1.0), 0.7, atol=0.05)


def test_platt_refuses_nothing_and_infinities():
    for confidence in ([], [1.0, np.inf]):
        with pytest.raises(UserError, match='finite|empty'):
            fit_platt(np.array(confidence), np.ones(len(confidence), bool))


def pool_adjacent_violators(values):
    blocks = []
    for value in values:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            value, count = blocks.pop()
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + value * count) / (blocks[-1][1] + count),
                          blocks[-1][1] + count]  # fmt: skip
    return np.repeat([b[0] for b in blocks], [b[1] for b in blocks])


def test_isotonic_equals_pooling(units):
    confidence, correct = units
    order = np.argsort(confidence)
    isotonic = fit_isotonic(confidence, correct)
    np.testing.assert_allclose(isotonic(confidence[order]), pool_adjacent_violators(correct[order].astype(float)))
    assert isotonic(-1e9) == isotonic.probability[0]
    assert isotonic(1e9) == isotonic.probability[-1]
