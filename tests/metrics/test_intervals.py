"""Intervals: they cover what they claim, hold the value, have a width where little is known, and say what they are."""

import numpy as np
import pytest

import failpred_jax.metrics as fm
from failpred_jax.metrics.clusters import cluster_weights

N, R = 60, 40


def simulate(rng, num_scores, num_units, num_errors, gap, hard):
    """Return `num_scores` independent draws of the confidences of one population, and what is correct.

    Correct units are standard normal around `gap`; of the errors a share `hard` is just as confident, the others are
    around 0. Taken as scores, a single call resamples them all.
    """
    correct = np.arange(num_units) >= num_errors
    is_low = ~correct & (rng.random((num_scores, num_units)) >= hard)
    drawn = rng.standard_normal((num_scores, num_units)) + np.where(is_low, 0, gap)
    return {f's{i}': row.astype(np.float32) for i, row in enumerate(drawn)}, correct


def true_values(gap, hard, num_units, num_errors):
    found = simulate(np.random.default_rng(9), 1, 500 * num_units, 500 * num_errors, gap, hard)
    return fm.score_metrics(found[0]['s0'], found[1])


def coverage(found, metric, truth):
    ends = np.array([row[metric] for row in found.values()])
    return float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))


def test_intervals_cover_with_few_errors_where_percentiles_do_not():
    gap, hard, size = 3.0, 0.05, (300, 20)
    scores, correct = simulate(np.random.default_rng(0), 200, *size, gap, hard)
    truth = true_values(gap, hard, *size)
    drawn = fm.bootstrap(scores, correct, num_resamples=300)
    found = fm.intervals(drawn)
    plain = fm.bootstrap(scores, correct, num_resamples=300, num_places=0).samples
    low, high = np.quantile(plain[drawn.metrics.index('auroc')], [0.025, 0.975], axis=-1)
    assert np.mean((low <= truth['auroc']) & (truth['auroc'] <= high)) < 0.85
    for metric in ('auroc', 'aurc', 'augrc', 'aupr_error', 'fpr_at_95tpr'):
        assert coverage(found, metric, truth[metric]) >= 0.925, metric
    # Covering is no feat for an interval that holds everything.
    widths = np.array([row['auroc'][1] - row['auroc'][0] for row in found.values()])
    assert np.median(widths) < 0.2


def test_intervals_of_many_errors_are_those_of_the_plain_bootstrap():
    scores, correct = simulate(np.random.default_rng(0), 3, 2000, 400, 2.0, 0.1)
    found = fm.intervals(fm.bootstrap(scores, correct, num_resamples=400))
    plain = fm.bootstrap(scores, correct, num_resamples=400, num_places=0)
    m = plain.metrics.index('auroc')
    for s, row in enumerate(found.values()):
        low, high = np.quantile(plain.samples[m, s], [0.025, 0.975])
        assert row['auroc'] == pytest.approx((low, high), abs=0.2 * (high - low))


def test_five_errors_that_are_found_perfectly_leave_much_open():
    correct = np.arange(1000) >= 5
    found = fm.intervals(fm.bootstrap({'a': correct + np.linspace(0, 0.5, 1000)}, correct, num_resamples=500))['a']
    assert found['auroc'][1] == 1
    # The rule of three for 5 errors: up to 0.45 of them may be as confident as correct units (one-sided).
    assert 0.4 < found['auroc'][0] < 0.8
    assert found['fpr_at_95tpr'][0] == 0
    assert found['fpr_at_95tpr'][1] > 0.4
    assert found['aupr_error'][0] < 0.8


def test_no_error_is_no_proof_that_there_is_none():
    drawn = fm.bootstrap({'a': np.linspace(0, 1, 1000)}, np.ones(1000, bool), num_resamples=500)
    found = fm.intervals(drawn)['a']
    assert np.isnan(found['auroc']).all()
    assert found['accuracy'][1] == 1
    # The rule of three: at most 3 errors in 1,000.
    assert 0.99 < found['accuracy'][0] < 0.998
    assert found['aurc'][0] == 0 < found['aurc'][1]
    assert 'rest on 0 errors' in fm.interval_warning(drawn)
    assert fm.no_interval(drawn)['a'] == {}


def test_intervals_of_a_dozen_clusters_cover():
    rng, groups, truth = np.random.default_rng(0), 12, 0.8
    # The accuracy of each image varies; a resample's is the mean over drawn images.
    images = rng.beta(16, 4, (800, groups))
    weights = cluster_weights(groups, 1, 400, 0)
    samples = (images @ weights.T / groups)[None]
    drawn = fm.Resamples(
        tuple(map(str, range(800))), ('accuracy',), images.mean(axis=1)[None], samples, groups, is_clustered=True
    )
    assert 0.935 <= coverage(fm.intervals(drawn), 'accuracy', truth) <= 0.975
    low, high = np.quantile(samples[0], [0.025, 0.975], axis=-1)
    assert np.mean((low <= truth) & (truth <= high)) < 0.93
    assert 'rest on 12 units: in simulations' in fm.interval_warning(drawn)


@pytest.mark.parametrize('is_clustered', [False, True])
def test_intervals_hold_the_value_stay_in_range_and_widen_with_their_level(is_clustered, rng):
    correct = rng.random(N) < 0.7
    drawn = fm.bootstrap({'a': correct + rng.standard_normal(N), 'b': correct * 1.0}, correct, num_resamples=R)
    drawn = fm.Resamples(drawn.scores, drawn.metrics, drawn.values, drawn.samples, drawn.support, is_clustered)
    wide, narrow = fm.intervals(drawn, 0.95), fm.intervals(drawn, 0.5)
    for s, name in enumerate(drawn.scores):
        for m, metric in enumerate(drawn.metrics):
            (low, high), (inner_low, inner_high) = wide[name][metric], narrow[name][metric]
            assert low <= inner_low <= drawn.values[m, s] <= inner_high <= high, metric
            if metric in ('auroc', 'aurc', 'accuracy', 'aupr_error'):
                assert low >= 0
                assert high <= 1


def test_few_resamples_that_define_a_metric_give_no_interval_but_a_reason():
    samples = np.array([[[np.nan, 1, 2, 3]], [[np.nan, np.nan, np.nan, 1]]], np.float32)
    found = fm.Resamples(('a',), ('auroc', 'aupr_error'), np.array([[2.0], [1.0]]), samples, 10)
    low, high = fm.intervals(found, 0.5)['a']['auroc']
    assert 1 <= low < 2 < high <= 3
    assert np.isnan(fm.intervals(found, 0.5)['a']['aupr_error']).all()
    assert fm.no_interval(found) == {'a': {'aupr_error': 'only 25% of the resamples define it'}}
    assert fm.interval_warning(found) == ''
