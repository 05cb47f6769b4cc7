"""Which score decides, chosen on validation units."""

import numpy as np

from failpred_jax.decide.choices import choose_score
from failpred_jax.decide.units import Units


def units(confidences, correct):
    return Units({name: np.asarray(values) for name, values in confidences.items()}, correct)


def test_on_few_validation_errors_the_baseline_decides_and_it_is_said(rng):
    mcp = rng.permutation(600)

    def held_out(num_wrong):
        # The most confident are wrong, so that any other score is better.
        return units({'mcp': mcp, 'other': -mcp}, mcp < 600 - num_wrong)

    calibration = held_out(30)
    few = choose_score('', calibration, held_out(9))
    assert few == ('mcp', 'the baseline: 9 validation errors are too few to choose a score on')
    assert choose_score('', calibration, held_out(10))[0] == 'other'
    # A score of one's own, without a baseline, is chosen on whatever there is.
    without = units({'mine': mcp, 'other': -mcp}, mcp < 597)
    assert choose_score('', without, without)[0] == 'other'
