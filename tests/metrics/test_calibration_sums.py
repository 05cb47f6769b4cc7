"""Calibration from sums equals calibration of all units at once, however they were divided."""

import jax
import numpy as np
import pytest

from failpred_jax.metrics import calibration_from_sums, calibration_metrics, calibration_sums


def units(rng, count=600):
    confidence = rng.random(count).astype(np.float32)
    return confidence, rng.random(count) < confidence, rng.random(count) < 0.8


@pytest.mark.parametrize('cuts', [(), (100,), (1, 300, 599)])
def test_any_division_gives_the_figures_of_the_whole(rng, cuts):
    confidence, correct, mask = units(rng)
    parts = zip(*(np.split(x, cuts) for x in (confidence, correct, mask)), strict=True)
    sums = [calibration_sums(*part) for part in parts]
    found = calibration_from_sums(jax.tree.map(lambda *x: sum(x), *sums))
    expected = calibration_metrics(confidence, correct, mask)
    for name, value in found.items():
        assert value == pytest.approx(expected[name], abs=1e-12), name
    assert {*expected} - {*found} == {'ece_equal_mass'}


def test_masked_units_count_nowhere(rng):
    confidence, correct, mask = units(rng)
    changed = np.where(mask, confidence, np.float32(7))
    for x, y in zip(calibration_sums(confidence, correct, mask), calibration_sums(changed, correct, mask), strict=True):
        assert np.array_equal(x, y)


def test_no_units_and_no_probabilities_have_no_calibration():
    none = calibration_sums(np.zeros(4, np.float32), np.zeros(4, bool), np.zeros(4, bool))
    outside = calibration_sums(np.full(4, 1.5, np.float32), np.ones(4, bool), np.ones(4, bool))
    for sums in (none, outside):
        assert all(np.isnan(value) for value in calibration_from_sums(sums).values())
