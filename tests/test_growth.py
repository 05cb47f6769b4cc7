"""benchmarks/growth_evaluation.py: what its exponents mean, and that its made-up features can have every score."""

import math

import jax
import numpy as np
import pytest

from benchmarks.growth_evaluation import _parts, exponents
from failpred_jax.scores.linear import recover_last_layer
from failpred_jax.scores.score import FitInputs

SIZES = (10, 100, 300, 1000)


@pytest.mark.parametrize('power', [0.5, 1, 2, 3])
def test_a_power_has_its_exponent_at_every_step(power):
    first, *others = exponents(SIZES, [7 * size**power for size in SIZES])
    assert math.isnan(first[0]) and math.isnan(first[1])
    assert [one for one, _ in others] == pytest.approx([power] * 3)


def test_a_fixed_cost_hides_growth_but_not_beyond_the_first_row():
    found = exponents(SIZES, [5000 + 3 * size for size in SIZES])
    assert all(one < 0.4 for one, _ in found[1:])
    assert math.isnan(found[1][1])
    assert [beyond for _, beyond in found[2:]] == pytest.approx([1, 1])
    quadratic = exponents(SIZES, [5e6 + 3 * size**2 for size in SIZES])
    assert all(1.5 < beyond <= 2 for _, beyond in quadratic[2:])


def test_what_is_no_larger_than_the_first_row_has_no_exponent_beyond_it():
    assert math.isnan(exponents(SIZES, [4, 4, 3, 5])[2][1])


def test_the_made_up_logits_are_those_of_a_last_layer():
    (train, labels), (val, val_labels) = _parts((400, 60), 12)
    given = FitInputs(val, val_labels, train, labels, jax.random.key(0))
    layer = recover_last_layer(given, 'test')
    np.testing.assert_allclose(val.features @ layer.weight + layer.bias, val.logits, atol=1e-4)
    assert 0.05 < np.mean(np.argmax(val.logits, axis=1) != val_labels) < 0.6
