"""Seeds and test units together: intervals that hold, and what a count of seeds is worth."""

import numpy as np
import pytest

import failpred_jax.metrics as fm


def resamples(values, of_units, spread, rng, metric='num_errors'):
    """Return Resamples of each seed: values [seeds, S], unit noise [R] shared by seeds but for a part."""
    found = []
    for row in values:
        own = rng.standard_normal((len(row), len(of_units))) * spread / 2
        samples = row[:, None] + spread * of_units + own
        names = tuple(f's{i}' for i in range(len(row)))
        found.append(fm.Resamples(names, (metric,), row[None].astype(float), samples[None].astype(np.float32), 200))
    return found


@pytest.mark.parametrize('of_training', [0.02, 1.0])
def test_intervals_over_seeds_and_units_cover(of_training):
    rng, hits, hits_of_units = np.random.default_rng(0), [], []
    for _ in range(300):
        # The test set moves all seeds together; each training moves its own.
        moved = rng.standard_normal()
        values = 50 + moved + of_training * rng.standard_normal((3, 1))
        every = resamples(values, rng.standard_normal(150), 1.0, rng)
        found = fm.joined_interval(every, fm.join_seeds(every), 'num_errors', 's0')
        assert found.mean == pytest.approx(values.mean())
        hits.append(found.low <= 50 <= found.high)
        low, high = np.quantile(every[0].samples[0, 0], [0.025, 0.975])
        hits_of_units.append(low <= 50 <= high)
    assert 0.92 <= np.mean(hits) <= 0.995
    if of_training == 1:
        assert np.mean(hits_of_units) < 0.9


def test_resamples_of_the_mean_have_the_variance_of_seeds_and_of_units():
    rng = np.random.default_rng(1)
    values = np.array([[1.0], [2.0], [6.0]])
    every = resamples(values, rng.standard_normal(8000), 0.5, rng)
    joined = fm.join_seeds(every)
    assert joined.values[0, 0] == 3
    own = 0.5**2 / 4 / 2
    expected = np.var(values, ddof=1) / 3 + 0.5**2 + own
    assert joined.samples[0, 0].var() == pytest.approx(expected, rel=0.06)


def test_a_difference_that_every_seed_and_unit_shares_is_certain(rng):
    base = rng.standard_normal((3, 1))
    every = resamples(np.concatenate([base, base + 0.5], axis=1), rng.standard_normal(200), 0.0, rng)
    found = fm.joined_interval(every, fm.join_seeds(every), 'num_errors', 's1', 's0')
    assert (found.low, found.high) == pytest.approx((0.5, 0.5), abs=1e-5)
    assert found.p_value < 1e-6
    assert fm.joined_interval(every, fm.join_seeds(every), 'num_errors', 's1', 's1').p_value == 1


@pytest.mark.parametrize(('metric', 'value'), [('auroc', 0.95), ('aurc', 0.01), ('aupr_error', 1.0)])
def test_an_interval_ends_where_the_range_of_the_metric_does(metric, value, rng):
    values = np.array([[value, value / 2], [value * 0.9, value], [value * 0.8, value]])
    every = resamples(values, rng.standard_normal(200), 0.2, rng, metric)
    joined = fm.join_seeds(every)
    found = fm.joined_interval(every, joined, metric, 's0')
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.low == 0 or found.high == 1
    change = fm.joined_interval(every, joined, metric, 's0', 's1')
    assert -1 <= change.low < 0 < change.high <= 1


def test_what_a_count_of_seeds_is_worth():
    assert fm.sign_p_value(3, 3) == fm.sign_p_value(3, 0) == 0.25
    assert fm.sign_p_value(6, 6) == pytest.approx(2 / 64)
    assert fm.sign_p_value(4, 2) == 1
    assert fm.sign_p_value(5, 4.5) == fm.sign_p_value(5, 4) == pytest.approx(12 / 32)


def test_a_seed_without_a_value_leaves_none_to_the_mean(rng):
    every = resamples(np.array([[1.0], [2.0], [np.nan]]), rng.standard_normal(50), 1.0, rng)
    found = fm.joined_interval(every, fm.join_seeds(every), 'num_errors', 's0')
    assert np.isnan([found.mean, found.low, found.high, found.p_value]).all()
