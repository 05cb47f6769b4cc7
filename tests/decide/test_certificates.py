"""Certificates: exact, the same for every order-preserving change of the confidence, and plain where there are none."""

import math

import numpy as np
import pytest
from scipy.stats import beta, binom

from failpred_jax.decide import (
    Costs,
    certify_cost,
    certify_each,
    certify_expected,
    certify_generalized,
    certify_selective,
    certify_tiers,
    chow_threshold,
    least_rejected,
    threshold_for_budget,
    threshold_for_coverage,
)
from failpred_jax.decide.binomial import mean_p_value, most_errors, share_interval, units_needed
from failpred_jax.decide.costs import cost_order
from failpred_jax.errors import UserError


def units(rng, num_units=800, base=0.1):
    """Return confidences and correctness with a risk of base * c ** 2 at coverage c."""
    share = rng.random(num_units)
    return 1 - share, rng.random(num_units) >= 3 * base * share**2


def test_fewest_units_and_most_errors_are_exact():
    assert [units_needed(r, 0.05) for r in (0.5, 0.05, 0.01)] == [5, 59, 299]
    for risk, delta in ((0.05, 0.05), (0.3, 0.01), (0.003, 0.2)):
        sizes = np.arange(0, 700, 7)
        found = most_errors(sizes, risk, delta)
        passes = binom.cdf(np.arange(700), sizes[:, None], risk) <= delta
        assert found.tolist() == (passes.sum(axis=1) - 1).tolist()
        needed = units_needed(risk, delta)
        assert most_errors([needed - 1, needed], risk, delta).tolist() == [-1, 0]


def test_selective_certificate_is_the_last_rank_that_passes(rng):
    confidence, correct = units(rng)
    found = certify_selective(confidence, correct, 0.05)
    accepted = confidence > found.threshold
    assert found.is_certified and 0.1 < found.coverage < 1
    assert (found.num_accepted, found.num_errors) == (accepted.sum(), (accepted & ~correct).sum())
    assert binom.cdf(found.num_errors, found.num_accepted, 0.05) <= 0.05
    # One rank further, or earlier, by hand.
    falling = np.sort(confidence)[::-1]
    passed = None
    for size in np.unique(np.round(np.linspace(59, 800, 50)).astype(int)):
        inside = confidence > (falling[size] if size < 800 else -1)
        if binom.cdf((inside & ~correct).sum(), size, 0.05) > 0.05:
            break
        passed = size
    assert found.num_accepted == passed


@pytest.mark.parametrize(
    'change',
    [
        lambda c: (c * 2**62).astype(np.int64),
        lambda c: c.astype(np.float64) * 1e-300,
        lambda c: 1 + c * 1e-12,
        lambda c: np.where(c > np.quantile(c, 0.99), np.inf, np.log(c + 1e-9)),
    ],
    ids=['int64', 'tiny', 'close', 'infinite'],
)
def test_order_alone_counts(change, rng):
    confidence, correct = units(rng)
    confidence = np.round(confidence, 3)
    changed = change(confidence)
    for certify in (certify_selective, certify_generalized):
        plain, other = certify(confidence, correct, 0.05), certify(changed, correct, 0.05)
        assert np.array_equal(confidence > plain.threshold, changed > other.threshold)
    assert isinstance(other.threshold, int) == (changed.dtype.kind == 'i')


def test_generalized_takes_the_loosest_threshold_that_passes(rng):
    confidence, correct = units(rng, 300)
    confidence = np.round(confidence, 2)
    for found, allowed in (
        (certify_generalized(confidence, correct, 0.04), most_errors(300, 0.04, 0.05)),
        (certify_expected(confidence, correct, 0.04), math.floor(0.04 * 301) - 1),
    ):
        passing = [t for t in (-1, *np.unique(confidence)) if (~correct[confidence > t]).sum() <= allowed]
        assert np.array_equal(confidence > found.threshold, confidence > min(passing))
        assert found.num_errors <= allowed
    assert (
        certify_expected(confidence, correct, 0.04).coverage >= certify_generalized(confidence, correct, 0.04).coverage
    )


def test_nothing_is_promised_that_cannot_be_shown(rng):
    confidence, correct = units(rng, 58)
    found = certify_selective(confidence, correct, 0.05)
    assert not found.is_certified and found.threshold == math.inf and found.needs == 59
    assert found.reason == 'not certifiable: needs 59 units for 0.05 at delta = 0.05, there are 58'
    assert certify_generalized(confidence, correct, 0.05).needs == 59
    assert certify_expected(confidence, correct, 0.01).needs == 99
    wrong = certify_selective(confidence, np.zeros(58, bool), 0.2)
    assert wrong.reason.startswith('not certified: 14 of the 14 most confident units are wrong')
    assert wrong.reason.endswith("more calibration units or config.decide.kind='generalized' may be certified")
    assert 'config.decide.starts=5' in wrong.reason and 'sequences;' not in wrong.reason
    several = certify_selective(confidence, np.zeros(58, bool), 0.2, starts=5).reason
    assert '(the first of 5 sequences; the others failed as well)' in several and 'starts=5' not in several
    # A single value of confidence: everything or nothing.
    assert certify_selective(np.ones(200), np.ones(200, bool), 0.05).threshold == -math.inf
    assert not certify_selective(np.ones(200), np.arange(200) % 5 > 0, 0.05).is_certified


def test_saturated_confidences_do_not_end_the_sequence(rng):
    """Half of the units tie at the top: the first ranks cut nothing off, and are left out."""
    share = rng.random(600)
    confidence = np.minimum(1 - share, 0.5)
    correct = rng.random(600) >= 0.3 * share**2
    found = certify_selective(confidence, correct, 0.08)
    assert found.is_certified and found.num_accepted >= (confidence == 0.5).sum()


def test_groups_hold_together_and_small_ones_say_what_they_need(rng):
    confidence, correct = units(rng, 1000, 0.02)
    groups = np.where(np.arange(1000) < 40, 2, np.arange(1000) % 2)
    found = certify_each(confidence, correct, groups, 0.1, names=range(4))
    needed = units_needed(0.1, 0.05 / 4)
    assert [found[g].needs for g in (2, 3)] == [needed, needed] and found[3].num_units == 0
    assert 'needs 42 units' in found[3].reason
    for group in (0, 1):
        alone = certify_selective(confidence[groups == group], correct[groups == group], 0.1, 0.05 / 4)
        assert alone == found[group]


def test_tiers_share_delta(rng):
    confidence, correct = units(rng, 2000)
    tiers = certify_tiers(confidence, correct, {'accept': 0.02, 'second_model': 0.08}, 0.05)
    assert tiers['accept'].threshold >= tiers['second_model'].threshold
    assert tiers['accept'] == certify_selective(confidence, correct, 0.02, 0.025)
    with pytest.raises(UserError, match='each greater than the one before'):
        certify_tiers(confidence, correct, {'accept': 0.1, 'second_model': 0.1})


def test_several_starts_survive_an_early_error(rng):
    """The most confident unit is wrong: one sequence ends there, five do not."""
    confidence, correct = np.arange(1000) / 1000, np.ones(1000, bool)
    correct[-1] = False
    assert not certify_selective(confidence, correct, 0.01).is_certified
    assert certify_selective(confidence, correct, 0.01, starts=5).is_certified


def test_floors_and_budgets_are_order_statistics(rng):
    confidence, correct = units(rng, 200)
    found = threshold_for_coverage(confidence, correct, 0.7)
    size = found.num_accepted
    assert beta.ppf(0.05, size, 201 - size) >= 0.7 > beta.ppf(0.05, size - 1, 202 - size)
    assert (confidence > found.threshold).sum() == size
    np.testing.assert_allclose(binom.cdf(found.num_errors, size, found.risk_bound), 0.05, rtol=1e-6)
    assert threshold_for_budget(confidence, correct, 0.3) == threshold_for_coverage(confidence, correct, 1 - 0.3)
    with pytest.raises(UserError, match='it needs 299'):
        threshold_for_coverage(confidence, correct, 0.99)


def test_least_rejected_is_what_a_perfect_score_rejects():
    correct = np.arange(1000) >= 100
    share, low = least_rejected(correct, 0.02)
    # Rejecting nothing but errors, 80 of them and a bit leave 2 %.
    assert 81 <= 1000 * share <= 82 and 0 < low < share
    assert least_rejected(correct, 0.2) == (0, 0)


def test_chow_rule_is_cheapest_where_confidence_is_calibrated(rng):
    p = rng.random(200_000)
    correct = rng.random(200_000) < p
    costs = Costs(10.0, 1.0, 0.1)
    best = costs.of_decisions(p >= chow_threshold(costs), correct).mean()
    assert chow_threshold(costs) == 0.8
    for other in (0.0, 0.7, 0.9, 1.0):
        assert best < costs.of_decisions(p >= other, correct).mean()
    # A reviewer as bad as the model on everything is never asked.
    assert chow_threshold(Costs(1.0, 0.5, 0.6)) == 0


def test_promised_cost_tests_in_the_given_order(rng):
    confidence, correct = units(rng, 2000, 0.3)
    costs = Costs(1.0, 0.3)
    thresholds = cost_order(*units(rng, 500, 0.3), costs)
    assert thresholds[-1] == -math.inf and np.all(np.diff(thresholds) < 0)
    found = certify_cost(confidence, correct, costs, 0.25, thresholds)
    cost = costs.of_decisions(confidence > found.threshold, correct).mean()
    assert found.is_certified and cost < 0.25 and mean_p_value(cost, 2000, 0.25) <= 0.05
    assert not certify_cost(confidence, correct, costs, 0.1, thresholds).is_certified
    assert certify_cost(confidence, correct, costs, 2.0, thresholds).threshold == -math.inf


def test_share_interval_is_exact():
    low, high = share_interval(3, 40)
    np.testing.assert_allclose([binom.sf(2, 40, low), binom.cdf(3, 40, high)], 0.025, rtol=1e-6)
    assert share_interval(0, 10)[0] == 0 and share_interval(10, 10)[1] == 1 and share_interval(0, 0) == (0, 1)


@pytest.mark.parametrize(
    ('call', 'words'),
    [
        (lambda c, y: certify_selective(c, y, 0.0), 'risk is 0.0; it must lie between 0 and 1'),
        (lambda c, y: certify_selective(c, y, 0.1, 1.5), 'delta is 1.5'),
        (lambda c, y: certify_selective(c, y, 0.1, starts=0), 'starts is 0; it must be 1 or greater'),
        (lambda c, y: certify_selective(c[:5], y, 0.1), 'one value per unit'),
        (lambda c, y: certify_generalized(np.full(9, np.nan), y[:9], 0.1), '9 values that are NaN'),
        (lambda c, y: certify_each(c, y, y[:3], 0.1), 'give one group per unit'),
        (lambda c, y: Costs(-1.0, 1.0), 'the cost of an error is -1; it must be greater than 0'),
        (lambda c, y: Costs(1.0, -1.0), 'the cost of a review is -1; it must be 0 or greater'),
        (lambda c, y: Costs(1.0, 0.0, 1.0), 'at least 0 and less than 1'),
    ],
)
def test_bad_input_is_one_message(call, words, rng):
    confidence, correct = units(rng, 100)
    with pytest.raises(UserError, match=words):
        call(confidence, correct)
