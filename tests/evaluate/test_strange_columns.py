"""Trouble with one score's calibration is told of that score, and changes nothing of the others."""

import numpy as np
import pytest

from failpred_jax.evaluate.calibrating import calibrate_scores
from failpred_jax.report import style
from failpred_jax.results import Predictions

RNG = np.random.default_rng(0)
N = 120
RIGHT = RNG.random(N) < 0.7
STRANGE = {
    'constant': np.full(N, 0.5), 'all right': RIGHT.astype(float), 'two values': RNG.choice([0.2, 0.9], N),
    'infinities': RNG.choice([-np.inf, np.inf], N), 'one infinity': np.r_[np.inf, RNG.random(N - 1)],
    'huge': RNG.normal(size=N) * 1e300,
    'tiny': RNG.random(N) * 1e-310, 'nothing': np.full(N, np.nan), 'numbers': RNG.integers(-(2**62), 2**62, N),
}  # fmt: skip


def units(columns, at):
    return Predictions(np.zeros(0, int), np.zeros((0, 0)), RIGHT[at], {k: v[at] for k, v in columns.items()})


@pytest.mark.parametrize('name', STRANGE)
def test_a_strange_column_changes_nothing_of_the_others(name):
    usual = {'mine': np.where(RIGHT, RNG.random(N) ** 0.5, RNG.random(N)), 'other': RNG.normal(size=N) + RIGHT}
    val, test = slice(0, N // 2), slice(N // 2, N)
    alone = calibrate_scores(units(usual, val), units(usual, test), 20)
    both = {**usual, name: STRANGE[name]}
    found = calibrate_scores(units(both, val), units(both, test), 20)
    assert {key: found[key] for key in alone} == alone
    assert found[name].chosen or any('not calibrated: ' in note for note in found[name].notes)
    for of_one in found[name].figures.values():
        assert all(np.isfinite(value) for value in of_one.values())


def test_what_float32_does_not_hold_stays_as_it_is():
    assert style.compact([1e300, 1.0]).tolist() == [1e300, 1.0]
    assert style.compact([np.inf, 1.0]).dtype == np.float32
