"""Every promise is kept in draws from populations whose truth is known: benchmarks/guarantees.py, with fewer draws."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest


def benchmark(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / 'benchmarks' / f'{name}.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


guarantees, plain = benchmark('guarantees'), benchmark('guarantees_plain')

# What loops over draws gets fewer.
SLOW = {'selective_given_thresholds': 250, 'cost': 250, 'coverage_floor': 400, 'expected': 1500}


@pytest.mark.parametrize('promise', guarantees.PROMISES)
def test_a_promise_fails_no_more_often_than_it_says(promise):
    kept = guarantees.PROMISES[promise](np.random.default_rng(1), SLOW.get(promise, 2000))
    assert kept.is_kept, f'failed in {kept.failed} of {kept.draws} draws'
    # A promise that accepts nothing is kept by everybody.
    assert kept.coverage > 0.002


@pytest.mark.parametrize('row', guarantees.TABLE, ids=lambda row: f'{row[0]}-{row[2]:g}')
def test_certified_coverage_is_that_of_the_method(row):
    """The notes' figures are a simulation of their own; within three points, and below what an oracle could accept."""
    one, five = guarantees.table_row(np.random.default_rng(2), row, 2_000_000 // row[0] // 3)
    assert one > row[4] - 3 and five > row[5] - 3
    assert max(one, five) < row[6]


@pytest.mark.parametrize('method', ['lac', 'aps', 'raps', 'saps'])
def test_coverage_of_sets_follows_its_law(method):
    coverages = guarantees.set_coverages(method, np.random.default_rng(3), 4000, pool=30_000)
    assert abs(coverages.mean() - 0.9) < 4 * 0.03 / np.sqrt(4000)
    assert guarantees.law_distance(coverages) > 1e-3


def test_the_simulation_can_tell_a_broken_promise():
    """A limit that is tested at twice delta is noticed: the populations are hard enough."""
    rng = np.random.default_rng(4)
    coverage = rng.random((2000, 300))
    accepted, _ = guarantees.certified(coverage, rng.random(coverage.shape) < 0.0501, 0.05, delta=0.15)
    assert not guarantees.Kept(int((accepted > 0).sum()), 2000, guarantees.DELTA, 0.0).is_kept


@pytest.mark.parametrize('row', plain.ROWS[:1] + plain.ROWS[2:3], ids=str)
def test_a_simulation_of_nothing_of_ours_certifies_the_same_units(row):
    """Draw for draw, and it breaks its promise no more often than it may."""
    rng = np.random.default_rng(5)
    coverage = np.sort(rng.random((300, row[0])), axis=1)
    wrong = rng.random(coverage.shape) < row[1] * (row[3] + 1) * coverage ** row[3]
    _, ours = guarantees.certified(coverage, wrong, row[2])
    np.testing.assert_array_equal(np.round(ours * row[0]), plain.certified_units(wrong, row[2]))
    _, broken = plain.simulate(rng, row, 2000)
    assert guarantees.Kept(int(broken.sum()), 2000, plain.DELTA, 0.0).is_kept
