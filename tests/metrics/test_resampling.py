"""Bootstrap: resamples are what they claim."""

import jax
import numpy as np
import pytest

import failpred_jax.metrics as fm
from failpred_jax.errors import UserError
from failpred_jax.metrics import ranking, reweighted
from failpred_jax.metrics import resampling as room
from failpred_jax.metrics.walk import STANDARD

N, R = 60, 12


@pytest.fixture(scope='module')
def resamples(data):
    return fm.bootstrap(*data, num_resamples=R, seed=3, num_places=0)


def test_weights_are_multinomial():
    draw = jax.jit(fm.resample_weights, static_argnums=(1, 2))
    weights = np.asarray(draw(jax.random.key(0), 50, 400))
    np.testing.assert_array_equal(weights.sum(axis=0), 50)
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1 - 1 / 50, rel=0.05)
    later = draw(jax.random.key(0), 50, 400, 300)
    np.testing.assert_array_equal(later[:, :100], weights[:, 300:])


@pytest.mark.parametrize('num_units', [7, 300, 512])
def test_draws_do_not_depend_on_how_many_are_made_at_once(num_units):
    """Numbers are drawn in whole blocks, which is faster; those that count are the ones of the size itself."""
    key = jax.random.key(5)
    weights = room.host_weights(key, num_units, 2, 3, 0)
    for row, number in zip(weights, (3, 4), strict=True):
        drawn = jax.random.randint(jax.random.fold_in(key, number), (num_units,), 0, num_units)
        np.testing.assert_array_equal(row, np.bincount(drawn, minlength=num_units))
    np.testing.assert_array_equal(weights.T, fm.resample_weights(key, num_units, 2, 3))


def test_one_more_unit_is_drawn_like_any_other_and_stands_anywhere():
    weights = np.asarray(fm.resample_weights(jax.random.key(0), 50, 4000, 0, 8))
    assert weights.shape == (58, 4000)
    np.testing.assert_array_equal(weights.sum(axis=0), 51)
    assert weights[50:].sum(axis=0).mean() == pytest.approx(1, abs=0.06)
    assert weights[:50].mean() == pytest.approx(1, abs=0.01)
    assert weights[50:].mean(axis=1) == pytest.approx(np.full(8, 1 / 8), abs=0.025)


@pytest.mark.parametrize('num_errors', [0, 1, 5, 55, 59, 60])
def test_the_one_more_is_of_the_rarer_kind_among_the_confidences_of_the_other(num_errors, rng):
    confidence, correct = rng.permutation(N).astype(np.float32), np.arange(N) >= num_errors
    found = fm.bootstrap({'a': confidence}, correct, num_resamples=R, seed=3)
    rarer_is_error = num_errors <= N - num_errors
    others = np.sort(confidence[correct == rarer_is_error])
    places = others[[len(others) * (2 * k + 1) // 16 for k in range(8)]]
    weights = np.asarray(fm.resample_weights(jax.random.key(3), N, R, 0, 8))
    all_confidences, all_correct = np.append(confidence, places), np.append(correct, np.full(8, not rarer_is_error))
    for r in range(R):
        drawn = np.repeat(np.arange(N + 8), weights[:, r])
        exact = fm.score_metrics(all_confidences[drawn], all_correct[drawn])
        expected = [exact[name] for name in found.metrics]
        np.testing.assert_allclose(found.samples[:, 0, r], expected, rtol=2e-6, atol=2e-6)
    assert found.support == min(num_errors, N - num_errors)


def test_each_resample_is_the_metric_of_the_units_drawn(data, resamples):
    confidences, correct = data
    weights = np.asarray(fm.resample_weights(jax.random.key(3), N, R))
    assert resamples.samples.shape == (len(resamples.metrics), 3, R)
    for s, confidence in enumerate(confidences.values()):
        exact = fm.score_metrics(confidence, correct)
        np.testing.assert_array_equal(resamples.values[:, s], [exact[name] for name in resamples.metrics])
        for r in range(R):
            drawn = np.repeat(np.arange(N), weights[:, r])
            exact = fm.score_metrics(confidence[drawn], correct[drawn])
            expected = [exact[name] for name in resamples.metrics]
            np.testing.assert_allclose(resamples.samples[:, s, r], expected, rtol=2e-6, atol=2e-6)


def test_deterministic_and_independent_of_blocks_order_and_padding(data, resamples, monkeypatch):
    confidences, correct = data
    padded = {name: np.append(np.nan, confidences[name]) for name in ('twin', 'noise', 'good')}
    again = fm.bootstrap(
        padded, np.append(True, correct), np.arange(N + 1) > 0, num_resamples=R, seed=jax.random.key(3), num_places=0
    )
    np.testing.assert_array_equal(again.samples[:, ::-1], resamples.samples)
    other = fm.bootstrap(confidences, correct, num_resamples=R, seed=4)
    assert (other.samples != resamples.samples).any()
    monkeypatch.setattr(room, '_MAX_LANES', 8)
    blocks = fm.bootstrap(confidences, correct, num_resamples=R, seed=3, num_places=0)
    np.testing.assert_array_equal(blocks.samples, resamples.samples)


@pytest.mark.parametrize(('num_levels', 'accuracy'), [(10**6, 0.95), (300, 0.9), (10**6, 0.02)])
def test_long_orders_are_walked_in_pieces_with_and_without_ties(num_levels, accuracy, rng):
    size = 3 * reweighted._PIECE // 2
    confidence = rng.integers(0, num_levels, size).astype(np.int32)
    correct = rng.random(size) < accuracy
    weights = rng.poisson(1, (2, size)).astype(np.uint8)
    # Nothing at all above the first thresholds.
    weights[0, confidence >= np.quantile(confidence, 0.9)] = 0
    found, total = reweighted.walk_reweighted(reweighted.make_ranking(confidence, correct), weights, STANDARD)
    with jax.enable_x64(True):
        values = {name: np.asarray(value) for name, value in ranking.values(found, total).items()}
    for row in range(2):
        drawn = np.repeat(np.arange(size), weights[row])
        exact = fm.score_metrics(confidence[drawn], correct[drawn])
        for name, value in exact.items():
            assert values[name][row] == pytest.approx(value, rel=1e-6, abs=1e-7), name


def test_bad_input_is_told_in_words(data):
    confidences, correct = data
    with pytest.raises(UserError, match='no unit is counted'):
        fm.bootstrap(confidences, correct, np.zeros(N, bool))
