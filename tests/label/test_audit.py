"""Audits: drawn as promised, unbiased, with intervals that cover where errors are few and confidence says little."""

import numpy as np
import pytest

from benchmarks.label import coverage, population
from failpred_jax.errors import UserError
from failpred_jax.label.design import STRAY, draw, inclusion_probabilities
from failpred_jax.label.estimate import estimate_mean, fit_slope


def test_every_unit_is_drawn_with_its_probability(rng):
    p_correct = rng.beta(3, 0.5, 60)
    inclusion = inclusion_probabilities(p_correct, 20)
    assert inclusion.sum() == pytest.approx(20) and inclusion.max() <= 1
    # However sure of a unit the model is, and however unsure of all others.
    assert inclusion.min() > np.sqrt(STRAY / (0.25 + STRAY)) * 20 / 60
    drawn = np.array([np.bincount(draw(inclusion, 20, seed), minlength=60) for seed in range(4000)])
    assert set(drawn.ravel()) == {0, 1} and set(drawn.sum(axis=1)) == {20}
    deviation = (drawn.mean(axis=0) - inclusion) / np.sqrt(np.maximum(inclusion * (1 - inclusion), 1e-12) / 4000)
    assert np.abs(deviation[inclusion < 1]).max() < 4
    # The order is random: the first unit of the list is as likely to be an early one of the pool as a late one.
    first = np.array([draw(inclusion, 20, seed)[0] for seed in range(2000)])
    assert np.abs(np.bincount(first, minlength=60) / 2000 - inclusion / 20).max() < 0.03


@pytest.mark.parametrize(
    'p_correct', [np.ones(50), np.zeros(50), np.full(50, 0.5), np.r_[np.full(3, 0.5), np.ones(47)]]
)
def test_extreme_confidences_have_probabilities_too(p_correct):
    for budget in (1, 10, 49, 50):
        inclusion = inclusion_probabilities(p_correct, budget)
        assert inclusion.sum() == pytest.approx(budget) and (inclusion > 0).all() and (inclusion <= 1).all()
        assert len(set(draw(inclusion, budget, 0).tolist())) == budget
        found = estimate_mean(np.zeros(budget, bool), draw(inclusion, budget, 0), p_correct, inclusion)
        assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(
    ('name', 'confidence', 'widest'),
    [
        ('sharp', 'calibrated', 0.75),
        ('sharp', 'overconfident', 1.0),
        ('broad', 'useless', 1.5),
        ('rare', 'calibrated', 0.95),
        ('sharp', '1 % stray', 1.0),
        ('rare', '1 % stray', 1.15),
        ('rare', '3 % stray', 1.15),
    ],
)
def test_intervals_cover_and_are_as_narrow_as_they_may_be(name, confidence, widest):
    """benchmarks/label.py with fewer draws; 95 % of 150 are 142.5, and 135 are three deviations below."""
    found = coverage(*population(name, confidence), budget=300, draws=150)
    assert found.covered >= 0.9 and found.covered_accepted >= 0.9
    assert found.width < widest
    assert abs(found.bias) < 0.003


def test_all_labels_leave_nothing_open(rng):
    wrong = rng.random(80) < 0.2
    p_correct = rng.random(80)
    inclusion = inclusion_probabilities(p_correct, 80)
    found = estimate_mean(wrong, np.arange(80), p_correct, inclusion)
    assert found.value == pytest.approx(wrong.mean(), abs=1e-6)
    assert found.high - found.low < 0.002 and found.labels == 80 and found.errors == wrong.sum()


def test_a_uniform_confidence_gives_the_interval_of_a_share():
    """Where the confidence says nothing the estimate is the share of errors; its interval ends where Wilson's does, or
    as far down as the plain one, which is lower."""
    p_correct, inclusion = np.full(100_000, 0.9), np.full(100_000, 1e-3)
    wrong = np.arange(100) < 7
    found = estimate_mean(wrong, np.arange(100), p_correct, inclusion)
    assert found.value == pytest.approx(0.07)
    assert found.high == pytest.approx(0.1375, abs=0.004) and 0.07 - 1.96 * 0.0262 <= found.low <= 0.0343
    none = estimate_mean(np.zeros(100, bool), np.arange(100), p_correct, inclusion)
    assert none.value == 0 and none.high == pytest.approx(0.037, abs=0.004)


def test_an_overconfident_model_is_found_out(rng):
    logits = rng.normal(-3, 2, 4000)
    wrong = rng.random(4000) < 1 / (1 + np.exp(-logits / 2))
    slope, deviation = fit_slope(logits, wrong)
    assert abs(slope - 0.5) < 4 * deviation and deviation < 0.05
    assert fit_slope(logits[:30], np.zeros(30, bool))[1] < 0.6


def test_nothing_to_estimate_from_is_said():
    p_correct, inclusion = np.full(10, 0.5), np.full(10, 0.5)
    with pytest.raises(UserError, match='no label to estimate from'):
        estimate_mean(np.zeros(0, bool), np.zeros(0, int), p_correct, inclusion)
    with pytest.raises(UserError, match='no units to estimate'):
        estimate_mean(np.zeros(1, bool), np.zeros(1, int), p_correct, inclusion, np.zeros(10, bool))
