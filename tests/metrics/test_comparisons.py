"""Comparisons: signs, corrections, and how often equally good scores are told apart."""

import numpy as np
import pytest

import failpred_jax.metrics as fm
from failpred_jax.errors import UserError

R = 12
EQUAL, REPEATS = 24, 40


@pytest.fixture(scope='module')
def resamples(data):
    return fm.bootstrap(*data, num_resamples=R, seed=3)


@pytest.fixture(scope='module')
def equals():
    """Resamples of 40 times 24 equally good scores, correlated as scores of one classifier are, on 30 errors."""
    rng = np.random.default_rng(0)
    correct = np.arange(200) >= 30
    common = rng.standard_normal((REPEATS, 1, 200))
    drawn = np.sqrt(0.5) * (common + rng.standard_normal((REPEATS, EQUAL, 200))) + 2 * correct
    scores = {f'{i}.{j}': drawn[i, j].astype(np.float32) for i in range(REPEATS) for j in range(EQUAL)}
    found = fm.bootstrap(scores, correct, num_resamples=250)
    return [found.of([f'{i}.{j}' for j in range(EQUAL)]) for i in range(REPEATS)]


def test_a_score_is_level_with_its_twin(resamples):
    pair = fm.compare(resamples, 'good', 'twin', 'auroc')
    assert (pair.difference, pair.low, pair.high, pair.wins) == (0, 0, 0, 0.5)
    assert (pair.p_value, pair.is_distinguishable) == (1, False)


def test_comparison_has_the_right_sign(resamples):
    for metric, sign in (('auroc', 1), ('aurc', -1)):
        pair = fm.compare(resamples, 'good', 'noise', metric)
        back = fm.compare(resamples, 'noise', 'good', metric)
        assert sign * pair.difference > 0
        assert pair.wins > 0.9
        assert back.wins == pytest.approx(1 - pair.wins)
        assert (back.low, back.high, back.p_value) == pytest.approx((-pair.high, -pair.low, pair.p_value))
        assert (pair.p_value < 0.05) == (pair.low > 0 or pair.high < 0)
    assert fm.compare(resamples, 'good', 'noise', 'auroc').is_distinguishable
    level = fm.level_with_best(resamples)
    assert level['auroc'] == ('good', 'twin')
    assert level['num_errors'] == ()
    assert level['accuracy'] == ('good', 'noise', 'twin')


def test_holm_corrects_for_all_that_is_compared(equals):
    found = fm.compare_with_reference(equals[0], '0.0', 'auroc')
    assert list(found) == [f'0.{j}' for j in range(1, EQUAL)]
    rows = sorted(found.values(), key=lambda row: row.p_value)
    raw = np.array([row.p_value for row in rows])
    # Holm's definition, the slow way.
    expected = [max(min(1, (len(raw) - j) * raw[j]) for j in range(i + 1)) for i in range(len(raw))]
    np.testing.assert_allclose([row.p_adjusted for row in rows], expected)
    alone = fm.compare(equals[0], '0.5', '0.0', 'auroc')
    assert found['0.5'].p_value == alone.p_value == alone.p_adjusted <= found['0.5'].p_adjusted


@pytest.mark.parametrize('metric', ['auroc', 'aurc'])
def test_equally_good_scores_are_seldom_told_apart(equals, metric):
    by_holm = [
        any(row.is_distinguishable for row in fm.compare_with_reference(drawn, drawn.scores[0], metric).values())
        for drawn in equals
    ]
    excluded = [len(fm.level_with_best(drawn)[metric]) < EQUAL for drawn in equals]
    # At the nominal 5 %, more than 5 of 40 have a chance of 1.4 %.
    assert sum(by_holm) <= 5
    assert sum(excluded) <= 5
    # What was done before: the best on the data against each other one, uncorrected.
    naive = []
    for drawn in equals[:20]:
        values = drawn.values[drawn.metrics.index(metric)]
        best = drawn.scores[int(np.argmax(values) if metric == 'auroc' else np.argmin(values))]
        naive.append(any(fm.compare(drawn, best, s, metric).is_distinguishable for s in drawn.scores if s != best))
    assert sum(naive) >= 10


def test_a_better_score_is_found_and_a_worse_one_left_out(rng):
    correct = np.arange(800) >= 160
    scores = {f's{i}': rng.standard_normal(800) + 1.5 * correct for i in range(6)}
    scores['better'] = rng.standard_normal(800) + 3 * correct
    drawn = fm.bootstrap(scores, correct, num_resamples=200)
    assert fm.level_with_best(drawn)['auroc'] == ('better',)
    rows = fm.compare_with_reference(drawn, 's0', 'auroc')
    assert [name for name, row in rows.items() if row.is_distinguishable] == ['better']
    # A score alone is compared with nothing.
    assert fm.level_with_best(drawn.of(['s1']))['auroc'] == ('s1',)
    assert fm.compare_with_reference(drawn.of(['s1']), 's1', 'auroc') == {}


def test_undefined_stays_undefined(data):
    confidences, correct = data
    found = fm.bootstrap(confidences, np.ones_like(correct), num_resamples=R)
    assert np.isnan(fm.compare(found, 'good', 'good', 'auroc').difference)
    assert fm.level_with_best(found)['auroc'] == ()
    rows = fm.compare_with_reference(found, 'good', 'auroc')
    assert all(np.isnan(row.p_adjusted) and not row.is_distinguishable for row in rows.values())


def test_bad_input_is_told_in_words(resamples):
    with pytest.raises(UserError, match=r"unknown score 'goood' \(resampled: good, noise, twin\)"):
        fm.compare(resamples, 'goood', 'noise', 'auroc')
    with pytest.raises(UserError, match="unknown metric 'auc'"):
        fm.compare(resamples, 'good', 'noise', 'auc')
