"""Inputs on which others' calibration metrics failed in public, with the right value; see docs/field-reports.md."""

import numpy as np
import pytest

from failpred_jax.metrics import bootstrap_pieces, calibration_metrics, intervals


@pytest.mark.parametrize(
    ('confidence', 'correct', 'ece'),
    [
        ([1.0, 1.0, 1.0, 1.0, 0.0], [0, 0, 1, 1, 1], 0.6),
        ([0.0, 1.0, 0.0, 1.0], [0, 1, 0, 1], 0.0),
        ([0.25, 0.25, 0.55, 0.75, 0.75], [0, 0, 1, 1, 1], 0.29),
    ],
    ids=['torchmetrics 1646', 'torchmetrics 1744', 'torchmetrics 1907'],
)
def test_confidences_at_the_ends_and_few_bins_have_their_ece(confidence, correct, ece):
    found = calibration_metrics(np.array(confidence), np.array(correct), num_bins=2)
    assert found['ece'] == pytest.approx(ece, abs=1e-6)


def test_resamples_draw_with_replacement_so_that_intervals_have_a_width():
    """AI-Trader 290: its resamples were permutations of the data, and every interval a point."""
    grade = np.arange(1, 15) / 16
    drawn = bootstrap_pieces({'a': grade}, grade, num_resamples=200)
    low, high = intervals(drawn)['a']['accuracy']
    assert low < grade.mean() - 0.05 < grade.mean() + 0.05 < high
