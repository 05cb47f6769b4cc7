"""failure_metrics, score_metrics and the core, beyond the laws of tests/contracts/test_metrics.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk

from failpred_jax.errors import UserError
from failpred_jax.metrics import (
    Points,
    failure_metrics,
    fpr_at_tpr,
    ranking,
    ranking_metrics,
    score_metrics,
    undefined_reasons,
)

KEYS = ['accuracy', 'num_errors', 'auroc', 'aupr_success', 'aupr_error', 'fpr_at_95tpr', 'aurc', 'e_aurc', 'augrc']
_core = jax.jit(lambda confidence, correct, mask: ranking_metrics(confidence, correct, mask))
_weighted = jax.jit(ranking_metrics)


def test_by_hand():
    # Falling confidence: correct, (correct and wrong, tied), wrong.
    found = failure_metrics(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
    assert list(found) == KEYS
    assert all(isinstance(value, float) for value in found.values())
    expected = {
        'accuracy': 1 / 2,
        'num_errors': 2,
        'auroc': 3.5 / 4,
        'aupr_success': 1 / 2 * 1 + 1 / 2 * 2 / 3,
        'aupr_error': 1 / 2 * 1 + 1 / 2 * 2 / 3,
        'fpr_at_95tpr': 1 / 2,
        # Risk 0 at coverage 1/4 (and carried to 0), 1/3 at 3/4, 1/2 at 1.
        'aurc': 1 / 2 * (0 + 1 / 3) / 2 + 1 / 4 * (1 / 3 + 1 / 2) / 2,
        'augrc': 1 / 2 * (0 + 1 / 4) / 2 + 1 / 4 * (1 / 4 + 1 / 2) / 2,
    }
    expected['e_aurc'] = expected['aurc'] - (1 / 2 + 1 / 2 * np.log(1 / 2))
    assert found == pytest.approx({name: expected[name] for name in KEYS}, abs=1e-15)


@pytest.mark.parametrize('kind', ['smooth', 'ties', 'constant', 'saturated', 'signed'])
@pytest.mark.parametrize('right', [0.02, 0.5, 0.99])
def test_equals_scikit_learn_in_double_precision(kind, right, rng):
    size = 1000
    correct = rng.random(size) < right
    confidence = {
        'smooth': rng.random(size),
        'ties': np.round(rng.random(size), 2),
        'constant': np.full(size, 0.7),
        'saturated': np.where(rng.random(size) < 0.9, 1.0, rng.random(size)),
        'signed': rng.standard_normal(size) * 10.0 ** rng.integers(-30, 30, size),
    }[kind]
    for dtype in (np.float32, np.float64):
        scores = confidence.astype(dtype)
        mask = rng.random(size) < 0.9
        found = failure_metrics(scores, correct, mask)
        assert found['auroc'] == pytest.approx(sk.roc_auc_score(correct[mask], scores[mask]), abs=1e-12)
        success = sk.average_precision_score(correct[mask], scores[mask])
        error = sk.average_precision_score(~correct[mask], -scores[mask])
        assert found['aupr_success'] == pytest.approx(success, abs=1e-12)
        assert found['aupr_error'] == pytest.approx(error, abs=1e-12)
        single = jax.device_get(_core(scores.astype(np.float32), correct, mask))
        if dtype is np.float32:
            assert {name: float(single[name]) for name in KEYS} == pytest.approx(found, abs=3e-7, rel=3e-7)


def test_long_ties_across_the_lanes_of_the_walk(rng):
    # 1,024 units are 64 lanes of 16: ties of hundreds span lanes that hold no threshold at all.
    confidence = np.repeat(np.array([0.9, 0.8, 0.7, 0.1], np.float32), [3, 450, 540, 7])
    correct = rng.random(1000) < 0.8
    found = failure_metrics(confidence, correct)
    assert found['auroc'] == pytest.approx(sk.roc_auc_score(correct, confidence), abs=1e-12)
    assert found['aupr_error'] == pytest.approx(sk.average_precision_score(~correct, -confidence), abs=1e-12)
    ends = np.array([3, 453, 993, 1000])
    risk = np.cumsum(~correct)[ends - 1] / ends
    assert found['aurc'] == pytest.approx(np.trapezoid([risk[0], *risk], np.array([0, *ends]) / 1000), abs=1e-12)


def test_every_real_type_is_ranked_exactly(rng):
    correct = rng.random(300) < 0.6
    levels = rng.integers(-120, 120, 300)
    expected = failure_metrics(levels.astype(np.float32), correct)
    for confidence in (
        levels,
        levels.astype(np.int8),
        levels.astype(np.float16),
        jnp.asarray(levels, jnp.bfloat16),
        1 + levels * 1e-12,  # float32 would merge all of these.
        levels * 1e300,
        levels.astype(np.int64) + 2**40,
        (levels + 200).astype(np.uint64),
    ):
        assert failure_metrics(confidence, correct) == expected
    assert failure_metrics(levels.reshape(3, 100), correct.reshape(3, 100).astype(int)) == expected
    assert failure_metrics(levels > 0, correct) == failure_metrics((levels > 0).astype(np.float32), correct)


def test_masked_float64_may_hold_nan(rng):
    confidence = 1 + rng.integers(0, 50, 100) * 1e-12
    correct, mask = rng.random(100) < 0.6, np.arange(100) < 90
    expected = failure_metrics(confidence[:90], correct[:90])
    confidence[90:] = np.nan
    assert failure_metrics(confidence, correct, mask) == expected


def test_sizes_share_compilations(rng):
    from failpred_jax.metrics.ranking import _jitted

    failure_metrics(rng.random(10), np.ones(10, bool))
    before = _jitted._cache_size()
    for size in (0, 1, 500, 1024):
        failure_metrics(rng.random(size), np.ones(size, bool))
    assert _jitted._cache_size() == before


def test_many_units_are_sorted_by_numpy_with_the_same_result(rng, monkeypatch):
    confidence = rng.standard_normal(3000).round(2).astype(np.float32)
    correct, mask = rng.random(3000) < 0.8, rng.random(3000) < 0.9
    confidence[~mask] = np.nan
    expected = score_metrics(confidence, correct, mask)
    monkeypatch.setattr(ranking, '_PADDED_SIZES', 2000)
    assert score_metrics(confidence, correct, mask) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert np.isnan(score_metrics(confidence, correct, np.zeros(3000, bool))['accuracy'])
    integers = rng.integers(-(2**31), 2**31, 3000)
    assert score_metrics(integers, correct) == score_metrics(integers * 2.0**40, correct)
    with pytest.raises(UserError, match='holds 1 NaN'):
        score_metrics(np.where(np.arange(3000) == 7, np.nan, 1.0), correct)


def weighted(confidence, correct, mask, weights):
    with jax.enable_x64(True):
        found = jax.device_get(_weighted(confidence.astype(np.float32), correct, mask, weights.astype(np.int32)))
    return {name: float(value) for name, value in found.items()}


def test_weights_are_repetitions(rng):
    confidence, correct = rng.integers(0, 9, 50), rng.random(50) < 0.7
    mask, weights = rng.random(50) < 0.9, rng.integers(0, 4, 50)
    repeated = score_metrics(*(np.repeat(x[mask], weights[mask]) for x in (confidence, correct)))
    assert weighted(confidence, correct, mask, weights) == pytest.approx(repeated, rel=1e-12, abs=1e-12)


def test_counts_beyond_float32():
    confidence = np.pad(np.array([3, 2, 2, 1]), (0, 46))
    correct = np.pad(np.array([True, False, True, False]), (0, 46))
    weights = np.pad(np.array([2**28 + 1, 2**28 + 3, 2**27 + 5, 2**26 + 7]), (0, 46))
    found = weighted(confidence, correct, weights > 0, weights)
    right, wrong = weights[correct], weights[~correct]
    auroc = int(right[0]) * int(wrong.sum()) + int(right[1]) * (int(wrong[0]) / 2 + int(wrong[1]))
    assert found['num_errors'] == wrong.sum()
    assert found['accuracy'] == right.sum() / weights.sum()
    assert found['auroc'] == pytest.approx(auroc / (int(right.sum()) * int(wrong.sum())), abs=1e-15)


def test_edges_and_their_reasons():
    ones = np.linspace(0, 1, 5)
    found = failure_metrics(ones, np.ones(5, bool))
    assert (found['accuracy'], found['num_errors'], found['aupr_success']) == (1, 0, 1)
    assert (found['aurc'], found['e_aurc'], found['augrc']) == (0, 0, 0)
    assert set(undefined_reasons(found)) == {'auroc', 'aupr_error', 'fpr_at_95tpr'}
    assert set(undefined_reasons(found).values()) == {'undefined: there is no error, so nothing to find'}

    found = failure_metrics(ones, np.zeros(5, bool))
    assert (found['accuracy'], found['num_errors'], found['aupr_error']) == (0, 5, 1)
    assert (found['aurc'], found['e_aurc'], found['augrc']) == (1, 0, 0.5)
    assert set(undefined_reasons(found)) == {'auroc', 'aupr_success', 'fpr_at_95tpr'}
    assert set(undefined_reasons(found).values()) == {'undefined: there is no correct prediction'}

    for found in (failure_metrics([], np.zeros(0, bool)), failure_metrics(ones, np.ones(5, bool), np.zeros(5, bool))):
        assert found['num_errors'] == 0
        assert set(undefined_reasons(found)) == set(KEYS) - {'num_errors'}
        assert set(undefined_reasons(found).values()) == {'undefined: there is no unit'}

    assert failure_metrics([0.5], [True])['aurc'] == 0
    assert failure_metrics([0.5], [False])['aurc'] == 1
    assert undefined_reasons(failure_metrics([1, 0], [True, False])) == {}


def test_operating_points_of_any_level(rng):
    confidence, correct = rng.random(1000).astype(np.float32), rng.random(1000) < 0.8
    points = Points(tpr=(0.5, 0.999), coverage=(0.333,), risk=(0.2,))
    found = score_metrics(confidence, correct, points=points)
    in_order = correct[np.argsort(-confidence)]
    tpr, fpr = np.cumsum(in_order) / correct.sum(), np.cumsum(~in_order) / (~correct).sum()
    assert found['fpr_at_50tpr'] == fpr[np.argmax(tpr >= 0.5)]
    assert found['fpr_at_99.9tpr'] == fpr[np.argmax(tpr >= 0.999)]
    assert found['risk_at_33.3coverage'] == np.cumsum(~in_order)[332] / 333
    risk = np.cumsum(~in_order) / np.arange(1, 1001)
    assert found['coverage_at_20risk'] == np.max(np.flatnonzero(risk <= 0.2) + 1, initial=0) / 1000
    half = jax.jit(lambda confidence, correct: fpr_at_tpr(confidence, correct, tpr=0.5))
    assert float(half(np.array([4.0, 3, 2, 1]), np.array([True, False, True, False]))) == 0


def test_bad_input_is_told_in_words():
    good = np.array([0.1, 0.2])
    with pytest.raises(UserError, match=r'confidence holds 1 NaN among 2 values'):
        failure_metrics(np.array([np.nan, 1]), np.ones(2, bool))
    with pytest.raises(UserError, match=r'correct has shape \(3,\) but confidence has \(2,\)'):
        failure_metrics(good, np.ones(3, bool))
    with pytest.raises(UserError, match=r'mask has shape \(1,\) but confidence has \(2,\)'):
        failure_metrics(good, np.ones(2, bool), np.ones(1, bool))
    with pytest.raises(UserError, match='correct holds int64 values besides 0 and 1; give predicted == label'):
        failure_metrics(good, np.array([0, 2]))
    with pytest.raises(UserError, match='mask has type int64; give bool'):
        failure_metrics(good, np.ones(2, bool), np.array([0, 1]))
    with pytest.raises(UserError, match='confidence has type complex128; give real numbers'):
        failure_metrics(good * 1j, np.ones(2, bool))


def test_metrics_of_no_unit_are_found_once(monkeypatch):
    """Of hundreds of classes that are never predicted: a walk outside of a function is compiled at every call."""
    none = np.zeros(3, bool)
    first = score_metrics(np.arange(3.0), none, none)
    monkeypatch.setattr(ranking, 'walk', None)
    for confidence in (np.arange(3.0), np.arange(3)):
        np.testing.assert_equal(score_metrics(confidence, none, none), first)
    assert first['num_errors'] == 0 and np.isnan(first['auroc'])
