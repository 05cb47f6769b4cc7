"""Slices: nothing where nothing is, what is planted where it is, exact tests, and groups that are in one half each."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.stats

from benchmarks.slices import finds_nothing, grown, make_units, precision_at_10
from failpred_jax.errors import UserError
from failpred_jax.slicing import SliceUnits, find_failing, find_grown
from failpred_jax.slicing.conditions import conditions_of, confidence_levels
from failpred_jax.slicing.testing import holm, more_in_second, more_than
from failpred_jax.slicing.units import halves, one_of_each
from failpred_jax.slicing.values import edges_of


def test_nothing_is_found_where_nothing_is():
    """benchmarks/slices.py runs 200; of 12 runs that each err in 5 %, three or more have a probability of 2 %."""
    assert sum(finds_nothing(seed, units=1500) for seed in range(8)) >= 6
    assert sum(finds_nothing(seed, units=1500, groups=500) for seed in range(4)) >= 3
    assert sum(not grown(seed, False, 1500)[0] for seed in range(4)) >= 3


def test_what_is_planted_is_found():
    for shares in (precision_at_10(0, 3000), precision_at_10(1, 3000)):
        assert np.mean([*shares.values()]) >= 0.85
    is_found, share = grown(0, True, 2000)
    assert is_found and share >= 0.9


def test_groups_that_err_together_are_no_slices():
    """Without the groups, units of a few bad patients look like a slice of the sites that these are from."""
    false = 0
    for seed in range(6):
        made = make_units(seed, False, 1500, groups=40).units
        apart = find_failing(
            SliceUnits(made.wrong, made.confidence, made.predicted, made.columns, None, None), seed=seed
        )
        false += any(one.is_confirmed for one, _ in apart.slices)
        if made.wrong.any():
            found = find_failing(SliceUnits(made.wrong, None, None, made.columns, None, made.group), seed=seed)
            assert found.unit == 'groups' and not any(one.is_confirmed for one, _ in found.slices)
            for group in range(40):
                assert len(set(found.searched[made.group == group])) == 1
    assert false >= 2


@pytest.mark.parametrize('start', [0, 10**7, 2**53, 2**62])
@pytest.mark.parametrize('num', [5, 60])
def test_conditions_of_whole_numbers_do_not_depend_on_how_large_they_are(start, num, rng):
    ages = rng.integers(0, num, 500)
    found = [
        conditions_of(SliceUnits(rng.random(500) < 0.1, None, None, {'age': ages + shift}, None, None), None)
        for shift in (0, start)
    ]
    assert len(found[0]) == len(found[1]) >= num - 1 if num < 12 else 8
    for small, large in zip(*found, strict=True):
        assert np.array_equal(small.mask, large.mask)
    assert len({one.name for one in found[1]}) == len(found[1])


def test_edges_are_those_of_quantiles(rng):
    for size in (1, 7, 40, 999):
        values = rng.normal(size=size).round(1)
        for bins in (3, 5, 8):
            asked = [Fraction(k, bins) for k in range(1, bins)]
            slow = {min(v for v in values if np.mean(values <= v) >= float(q) - 1e-12) for q in asked}
            assert edges_of(values, bins).tolist() == sorted(slow)


def test_tests_are_exact(rng):
    assert more_than(3, 10, 0.1) == pytest.approx(scipy.stats.binom.sf(2, 10, 0.1))
    assert more_than(0, 10, 0.1) == 1 and more_than(10, 10, 0.1) == pytest.approx(1e-10)
    # 1 less the rest of the distribution has no digit right here.
    for errors, units in ((60, 300), (250, 300)):
        assert more_than(errors, units, 0.06) == pytest.approx(scipy.stats.binom.sf(errors - 1, units, 0.06), rel=1e-9)
    table = [[12, 88], [5, 95]]
    expected = scipy.stats.fisher_exact(table, alternative='greater').pvalue
    assert more_in_second(5, 100, 12, 100) == pytest.approx(expected)
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]


def test_conditions_are_of_any_column_and_missing_values_are_one(rng):
    units = SliceUnits(
        rng.random(200) < 0.2, rng.random(200), None,
        {'age': np.where(np.arange(200) < 9, np.nan, rng.random(200)), 'site': np.array(['x', ''] * 100),
         'flag': np.arange(200) % 3 == 0, 'one': np.ones(200)},
    )  # fmt: skip
    names = [one.name for one in conditions_of(units, None)]
    # sliceline 41: NaN ended in an error.
    assert 'age = (missing)' in names and 'site = (missing)' in names and 'flag = True' in names
    assert not any(name.startswith('one') for name in names)
    assert sum(name.startswith('age >') for name in names) == 7
    assert [one.name for one in conditions_of(units, None, ['site'])][0] == 'site = (missing)'
    with pytest.raises(UserError, match="no column 'agee'; did you mean 'age'"):
        conditions_of(units, None, ['agee'])
    assert np.bincount(confidence_levels(np.arange(9))).tolist() == [3, 3, 3]
    assert set(confidence_levels(np.ones(9)).tolist()) == {0}


def test_halves_and_one_of_each(rng):
    group = rng.integers(0, 30, 400)
    units = SliceUnits(np.zeros(400, bool), group=group)
    inside = halves(units, 0)
    assert all(len(set(inside[group == g])) == 1 for g in range(30))
    assert 0.2 < inside.mean() < 0.8 and not np.array_equal(inside, halves(units, 1))
    kept = one_of_each(group, inside, 0)
    assert np.bincount(group[kept], minlength=30).max() == 1 and kept.sum() == len(set(group[inside]))


@pytest.mark.parametrize(
    ('units', 'words'),
    [
        (SliceUnits(np.zeros(50, bool), np.arange(50.0)), 'there are 0 errors among 50 units: too few'),
        (SliceUnits(np.ones(50, bool), group=np.zeros(50)), 'all units belong to one group'),
        (SliceUnits(np.arange(50) % 2 == 0), 'nothing to make slices of'),
        (SliceUnits(None, np.arange(50.0)), 'which units are wrong'),
    ],
)
def test_what_cannot_be_searched_is_said(units, words):
    with pytest.raises(UserError, match=words):
        find_failing(units)


def test_two_files_of_other_models_are_told(rng):
    one = SliceUnits(None, rng.random(100), features=rng.random((100, 3)))
    with pytest.raises(UserError, match='the reference has 3 features, the new units 4'):
        find_grown(one, SliceUnits(None, rng.random(100), features=rng.random((100, 4))))
    with pytest.raises(UserError, match='need a confidence in both'):
        find_grown(one, SliceUnits(None, None, features=rng.random((100, 3))))
    alone = SliceUnits(rng.random(80) < 0.3, rng.random(80), None, {'a': np.arange(80) % 2}, None, np.arange(80))
    assert 'every group has one unit' in ' '.join(find_failing(alone).notes)
