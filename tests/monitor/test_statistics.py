"""What the alarms rest on: bets that are fair, bounds that hold, ranks that are uniform, promises that are kept."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from monitor.population import made, units
from scipy.stats import binom, kstest

from failpred_jax.decide import certify_expected
from failpred_jax.decide.binomial import share_interval as share_interval_of_decide
from failpred_jax.metrics.debiased_calibration import ece_debiased as ece_of_metrics
from failpred_jax.monitor import Monitor, Options, ranks
from failpred_jax.monitor.alarms import STAKES, log_bets
from failpred_jax.monitor.bounds import mean_upper_bound, share_interval, share_upper_bound
from failpred_jax.monitor.calibration import ece_debiased
from failpred_jax.monitor.estimates import atc_level, by_calibration, by_level, pairwise_agreement
from failpred_jax.monitor.wealth import log_threshold, no_wealth

SOURCE = Path(__file__).parents[2] / 'benchmarks' / 'monitor.py'
_spec = importlib.util.spec_from_file_location('simulated', SOURCE)
assert _spec is not None and _spec.loader is not None
simulated = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(simulated)


def test_the_bound_of_a_mean_holds_and_is_far_below_hoeffdings(rng):
    draws = (lambda n: rng.beta(0.05, 1, n), lambda n: (rng.random(n) < 0.02) * 1.0, lambda n: rng.random(n) ** 4)
    for draw, mean in zip(draws, (0.05 / 1.05, 0.02, 0.2), strict=True):
        missed = sum(mean_upper_bound(draw(200), 0.1, seed) < mean for seed in range(200))
        # 10 % are allowed; more than this would be seen once in 1,000 times of a bound that holds.
        assert missed <= binom.ppf(0.999, 200, 0.1)
    values = rng.beta(0.05, 2, 2000)
    assert values.mean() < mean_upper_bound(values, 0.01) < values.mean() + math.sqrt(math.log(100) / 4000) / 3
    assert mean_upper_bound(np.ones(50), 0.05) == 1 and mean_upper_bound(np.zeros(0), 0.05) == 1
    assert 0 < mean_upper_bound(np.zeros(100), 0.05) < 0.1


def test_shares_and_calibration_are_those_that_are_defined_elsewhere(rng):
    for count, num in ((0, 7), (3, 7), (7, 7), (0, 0), (12, 4000)):
        assert share_interval(count, num) == pytest.approx(share_interval_of_decide(count, num), abs=1e-12)
    assert binom.cdf(3, 50, share_upper_bound(3, 50, 0.02)) == pytest.approx(0.02)
    # Distinct and tied; of one shape, so that the other is compiled once.
    for p in (rng.random(64).astype(np.float32), np.round(rng.random(64), 1).astype(np.float32)):
        right = rng.random(64) < p**2
        assert ece_debiased(p.astype(float), right) == pytest.approx(float(ece_of_metrics(p, right)), abs=1e-6)
    assert math.isnan(ece_debiased(np.zeros(0), np.zeros(0, bool)))


def test_bets_have_a_mean_of_1_at_the_limit(rng):
    middle = (np.arange(200_000) + 0.5) / 200_000
    assert np.exp(ranks.log_bets(middle)).mean(axis=0) == pytest.approx(np.ones(ranks.NUM_BETS), abs=5e-3)
    # Errors are 0 or 1: the mean over both is exact.
    bets = np.exp(log_bets(np.array([0.0, 1.0]), 0.07))
    assert 0.93 * bets[0] + 0.07 * bets[1] == pytest.approx(np.ones(len(STAKES)))


def test_the_wealth_is_an_e_process_whenever_it_starts_and_however_it_is_cut(rng):
    # All 2^6 courses of three windows of two fair bets: the mean of the wealth is 1 after each window.
    factors = np.log(np.array([[0.5, 0.9], [1.5, 1.1]]))
    mean = [0.0, 0.0, 0.0]
    for course in np.ndindex(*[2] * 6):
        wealth = no_wealth(2, is_ever=True)
        for window in range(3):
            wealth, path = wealth.after(factors[list(course[2 * window : 2 * window + 2])])
            mean[window] += math.exp(wealth.log_value()) / 64
            assert path[-1] == pytest.approx(wealth.log_value(), abs=1e-12)
    assert mean == pytest.approx([1, 1, 1])
    # The other promise: less the number of rounds, it keeps its mean.
    found = []
    for course in np.ndindex(*[2] * 4):
        wealth = no_wealth(2, is_ever=False)
        for window in range(2):
            wealth, _ = wealth.after(factors[list(course[2 * window : 2 * window + 2])])
        found.append(math.exp(wealth.log_value()))
    assert np.mean(found) == pytest.approx(2)
    assert log_threshold(0.01, 0, 3, 100) == pytest.approx(math.log(100))
    assert log_threshold(0.01, 10_000, 1, 100) == pytest.approx(math.log(101))


def test_ranks_among_all_before_are_uniform_with_few_units_and_ties(rng):
    found, last = [], []
    for seed in range(400):
        confidence = rng.integers(0, 6, 60) if seed % 2 else rng.random(60)
        edges, counts = ranks.split_reference(confidence[:30], seed)
        p_values, after = ranks.rank_p_values(ranks.cells_of(confidence[30:], edges), counts, rng.random(30))
        assert after.sum() == 24 + 30 and counts.sum() == 24
        found.append(p_values)
        last.append(p_values[-1] * p_values[0])
    assert kstest(np.ravel(found), 'uniform').pvalue > 1e-3
    # Independent of one another: the product of two has a mean of 1/4.
    assert np.mean(last) == pytest.approx(0.25, abs=4 * 0.22 / 20)


def test_ranks_do_not_depend_on_the_slices_that_they_are_computed_in(rng, monkeypatch):
    cells, counts, uniform = rng.integers(0, 9, 700), rng.integers(0, 50, 9), rng.random(700)
    p_values, after = ranks.rank_p_values(cells, counts, uniform)
    slow = []
    for cell, u in zip(cells, uniform, strict=True):
        slow.append((counts[:cell].sum() + (1 - u) * (counts[cell] + 1)) / (counts.sum() + 1))
        counts = counts + (np.arange(9) == cell)
    np.testing.assert_allclose(p_values, slow, rtol=1e-12)
    np.testing.assert_array_equal(after, counts)


def test_estimates_on_units_like_the_reference_cover_what_is_right(rng):
    policy, reference = made(rng, 2000)
    level = atc_level(reference)
    assert level.share == pytest.approx(reference.accuracy, abs=1e-3)
    covered = np.zeros(3)
    for _ in range(200):
        confidence, right = units(rng, 300)
        calibrated, difference = by_calibration(confidence, reference)
        found = (calibrated, difference, by_level(confidence, level, 2000))
        covered += [e.low <= right.mean() <= e.high for e in found]
    assert (covered >= 180).all(), covered


def test_agreement_is_that_of_pairs():
    found = pairwise_agreement(np.array([[1, 1, 1], [0, 1, 1], [0, 1, 2]]))
    np.testing.assert_allclose(found, [1, 1 / 3, 0])


def test_promises_are_kept_and_drops_are_found():
    clean = simulated.streams(20, drop=0.0, length=4000, num_reference=500)
    assert clean.share_of_alarms('any') <= binom.ppf(0.999, 20, 0.05) / 20
    # What the test at each window does to a clean stream.
    assert clean.share_of_alarms('a KS test per window') > 0.25
    drop = simulated.streams(5, drop=0.10, length=3000, num_reference=2000)
    assert drop.share_of_alarms('estimated_error') == 1 and drop.share_of_alarms('confidence_ranks') == 1
    assert drop.median_delay('confidence_ranks') < 300
    # A source that is as bad as the bound allows: the bets alone keep their part of the promise.
    at_limit = simulated.at_the_limit(60, alpha=0.2, length=3000)
    assert at_limit <= binom.ppf(0.999, 60, 0.2)


def test_a_mean_run_length_is_kept(rng):
    policy, reference = made(rng, 3000)
    lengths = []
    for seed in range(20):
        monitor = Monitor(
            policy, reference, Options(window=20, run_length=400, alarms=('confidence_ranks',), seed=seed)
        )
        while not monitor.raised and monitor.num_units < 6000:
            monitor.update(confidence=units(rng, 200)[0])
        lengths.append(monitor.raised['confidence_ranks'].unit if monitor.raised else 6000)
    assert np.mean(lengths) > 400


def test_a_promise_of_a_mean_has_a_limit_that_holds_for_the_units_it_was_made_with(rng):
    draws, num_units, options = 400, 200, Options(alarms=('accepted_error',), alpha=0.2)
    over_limit = over_risk = 0
    for _ in range(draws):
        confidence = rng.random(num_units)
        found = certify_expected(confidence, rng.random(num_units) < confidence, 0.05)
        tier = {'name': 'accept', 'thresholds': [found.threshold], 'kind': 'expected', 'risk': 0.05, 'reason': ''}
        (armed,) = Monitor(*made(rng, 100, tiers=[{**tier, 'units': num_units}]), options).armed
        assert armed.among_all and armed.alpha == armed.alpha_source == 0.1 and armed.limit == armed.bound > 0.05
        # Of units that are right with a probability of their confidence, so many are over it and wrong.
        share = (1 - found.threshold) ** 2 / 2
        over_limit += share > armed.limit
        over_risk += share > 0.05
    assert 0.05 < over_limit / draws < 0.1 + 3 * np.sqrt(0.1 * 0.9 / draws)
    # The risk itself would be no limit: it is over that in about half of the draws.
    assert over_risk / draws > 0.3
