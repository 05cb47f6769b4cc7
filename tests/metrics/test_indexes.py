"""Rows of pandas objects are units by their index: in other orders they are refused, not read by position."""

import numpy as np
import pandas as pd
import pytest

from failpred_jax.calibrate.platt import fit_platt
from failpred_jax.decide import certify_expected, certify_generalized, certify_selective
from failpred_jax.errors import UserError
from failpred_jax.metrics import calibration_metrics, failure_metrics, score_metrics

OF_UNITS = {
    'failure_metrics': failure_metrics,
    'score_metrics': score_metrics,
    'calibration_metrics': calibration_metrics,
    'fit_platt': fit_platt,
    'certify_selective': lambda confidence, correct: certify_selective(confidence, correct, 0.2),
    'certify_generalized': lambda confidence, correct: certify_generalized(confidence, correct, 0.2),
    'certify_expected': lambda confidence, correct: certify_expected(confidence, correct, 0.2),
}


@pytest.mark.parametrize('of_units', OF_UNITS.values(), ids=OF_UNITS)
def test_series_in_other_orders_are_refused(of_units, rng):
    confidence = pd.Series(rng.random(64), [f'u{i}' for i in range(64)])
    correct = pd.Series(rng.random(64) < confidence, confidence.index)
    with pytest.raises(
        UserError, match=r"'correct' and 'confidence' have different indexes|'confidence' and 'correct'"
    ):
        of_units(confidence.sample(frac=1, random_state=0), correct)
    # One order, one of them without an index, or indexes of their own taken away.
    for pair in (
        (confidence, correct),
        (confidence, correct.to_numpy()),
        (confidence.reset_index(drop=True), correct.reset_index(drop=True)),
    ):
        found = of_units(*pair)
        np.testing.assert_equal(found, of_units(confidence.to_numpy(), correct.to_numpy()))
