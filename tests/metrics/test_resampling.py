"""Bootstrap: resamples are what they claim, and intervals and comparisons follow from them."""

import jax
import numpy as np
import pytest

import failpred_jax.metrics as fm
from failpred_jax.errors import UserError
from failpred_jax.metrics import resampling as room

N, R = 60, 12


@pytest.fixture(scope='module')
def data():
    rng = np.random.default_rng(1)
    correct = rng.random(N) < 0.7
    good = np.round(correct + rng.standard_normal(N), 1).astype(np.float32)
    noise = rng.integers(0, 5, N).astype(np.float32)
    return {'good': good, 'noise': noise, 'twin': 2 * good}, correct


@pytest.fixture(scope='module')
def resamples(data):
    return fm.bootstrap(*data, num_resamples=R, seed=3)


def test_weights_are_multinomial():
    draw = jax.jit(fm.resample_weights, static_argnums=(1, 2))
    weights = np.asarray(draw(jax.random.key(0), 50, 400))
    np.testing.assert_array_equal(weights.sum(axis=0), 50)
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1 - 1 / 50, rel=0.05)
    later = draw(jax.random.key(0), 50, 400, 300)
    np.testing.assert_array_equal(later[:, :100], weights[:, 300:])


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
        padded, np.append(True, correct), np.arange(N + 1) > 0, num_resamples=R, seed=jax.random.key(3)
    )
    np.testing.assert_array_equal(again.samples[:, ::-1], resamples.samples)
    other = fm.bootstrap(confidences, correct, num_resamples=R, seed=4)
    assert (other.samples != resamples.samples).any()
    monkeypatch.setattr(room, '_MAX_LANES', 8)
    blocks = fm.bootstrap(confidences, correct, num_resamples=R, seed=3)
    # Compiled for other shapes, a division may round otherwise.
    np.testing.assert_allclose(blocks.samples, resamples.samples, rtol=1e-6, atol=1e-6)


def test_a_score_is_level_with_its_twin(resamples):
    pair = fm.compare(resamples, 'good', 'twin', 'auroc')
    assert (pair.difference, pair.low, pair.high, pair.wins, pair.is_distinguishable) == (0, 0, 0, 0.5, False)


def test_comparison_has_the_right_sign(resamples):
    for metric, sign in (('auroc', 1), ('aurc', -1)):
        pair = fm.compare(resamples, 'good', 'noise', metric)
        back = fm.compare(resamples, 'noise', 'good', metric)
        assert sign * pair.difference > 0
        assert pair.wins > 0.9
        assert back.wins == pytest.approx(1 - pair.wins)
        assert (back.low, back.high) == pytest.approx((-pair.high, -pair.low))
    assert fm.compare(resamples, 'good', 'noise', 'auroc').is_distinguishable
    level = fm.level_with_best(resamples)
    assert level['auroc'] == ('good', 'twin')
    assert level['num_errors'] == ()
    assert level['accuracy'] == ('good', 'noise', 'twin')


def test_intervals_hold_the_value_and_widen_with_their_level(resamples):
    wide, narrow = fm.intervals(resamples, 0.95), fm.intervals(resamples, 0.5)
    for metric in ('accuracy', 'auroc', 'aurc', 'augrc'):
        (low, high), (inner_low, inner_high) = wide['good'][metric], narrow['good'][metric]
        assert low <= inner_low <= inner_high <= high
        assert low <= resamples.values[resamples.metrics.index(metric), 0] <= high


def test_undefined_stays_undefined(data):
    confidences, correct = data
    found = fm.bootstrap(confidences, np.ones_like(correct), num_resamples=R)
    assert np.isnan(fm.intervals(found)['good']['auroc']).all()
    assert np.isnan(fm.compare(found, 'good', 'good', 'auroc').difference)
    assert fm.level_with_best(found)['auroc'] == ()
    assert fm.intervals(found)['good']['accuracy'] == (1, 1)


def test_resamples_without_errors_are_left_out():
    samples = np.array([[[np.nan, 1, 2, 3]], [[np.nan, np.nan, np.nan, 1]]], np.float32)
    found = fm.Resamples(('a',), ('auroc', 'aupr_error'), np.array([[2.0], [1.0]]), samples)
    limits = fm.intervals(found, 0.5)['a']
    assert limits['auroc'] == (1.5, 2.5)
    assert np.isnan(limits['aupr_error']).all()


def test_bad_input_is_told_in_words(data, resamples):
    confidences, correct = data
    with pytest.raises(UserError, match='no unit is counted'):
        fm.bootstrap(confidences, correct, np.zeros(N, bool))
    with pytest.raises(UserError, match=r"unknown score 'goood' \(resampled: good, noise, twin\)"):
        fm.compare(resamples, 'goood', 'noise', 'auroc')
    with pytest.raises(UserError, match="unknown metric 'auc'"):
        fm.compare(resamples, 'good', 'noise', 'auc')
