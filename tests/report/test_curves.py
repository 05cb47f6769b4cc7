"""Thinned counts, histograms and reliability bins keep what they promise."""

import numpy as np
import pytest

from failpred_jax import metrics
from failpred_jax.report import curves


@pytest.fixture
def scored(rng):
    correct = rng.random(5000) < 0.9
    return np.round(np.where(correct, rng.beta(5, 1, 5000), rng.beta(2, 2, 5000)), 3), correct


def test_thinned_counts_are_exact_rows_and_keep_what_is_asked_for(scored):
    counts = metrics.threshold_counts(*scored)
    thinned = curves.thin_counts(counts, 60, keep=[7, 11])
    assert len(thinned.threshold) <= 62 < len(counts.threshold)
    rows = np.searchsorted(-counts.threshold, -thinned.threshold)
    assert {0, 7, 11, len(counts.threshold) - 1} <= set(rows.tolist())
    for full, part in zip(counts, thinned, strict=True):
        np.testing.assert_array_equal(full[rows], part)


def test_thinned_curve_stays_near_the_full_one(scored):
    counts = metrics.threshold_counts(*scored)
    thinned = curves.thin_counts(counts)
    coverage, risk = curves.curve_of('risk_coverage', counts)
    assert np.abs(np.interp(coverage, *curves.curve_of('risk_coverage', thinned)) - risk).max() < 0.01
    areas = [np.trapezoid(y, x) for x, y in (curves.curve_of('roc', c) for c in (counts, thinned))]
    assert abs(areas[0] - areas[1]) < 1e-3


def test_curves_without_errors_are_none_but_for_risk():
    counts = metrics.threshold_counts(np.linspace(0, 1, 9, dtype=np.float32), np.ones(9, bool))
    assert curves.curve_of('roc', counts) is None
    assert curves.curve_of('precision_recall_error', counts) is None
    assert curves.curve_of('risk_coverage', counts)[1].max() == 0


def test_histogram_counts_every_unit_infinities_too(rng):
    confidence = np.concatenate([rng.standard_cauchy(1000), [np.inf, -np.inf]])
    correct = rng.random(1002) < 0.5
    found = curves.histogram(confidence, correct)
    assert found['correct'].sum() + found['wrong'].sum() == 1002
    assert np.isfinite(found['edges']).all()
    assert found['edges'][-1] < np.nanmax(confidence[np.isfinite(confidence)])


def test_histogram_of_one_value_has_width():
    found = curves.histogram(np.full(5, 7.0), np.ones(5, bool))
    assert np.diff(found['edges']).min() > 0
    assert found['correct'].sum() == 5


def test_reliability_bins_and_their_error(scored):
    confidence, correct = scored
    bins = curves.reliability(confidence, correct, num_bins=10)
    assert bins['count'].sum() == len(confidence)
    inside = (confidence > 0.8) & (confidence <= 0.9)
    np.testing.assert_allclose(bins['accuracy'][8], correct[inside].mean(), atol=1e-6)
    np.testing.assert_allclose(bins['confidence'][8], confidence[inside].mean(), atol=1e-6)
    filled = bins['count'] > 0
    gap = np.abs(bins['confidence'] - bins['accuracy'])[filled] * bins['count'][filled]
    np.testing.assert_allclose(curves.calibration_error(bins), gap.sum() / len(confidence), atol=1e-12)


def test_reliability_of_a_histogram_takes_the_middle_of_bins():
    bins = curves.reliability_of_histogram([0, 0.5, 1], [1, 3], [1, 0])
    assert bins['confidence'].tolist() == [0.25, 0.75]
    assert bins['accuracy'].tolist() == [0.5, 1.0]
    empty = curves.reliability_of_histogram([0, 0.5, 1], [0, 3], [0, 0])
    assert np.isnan(empty['confidence'][0])
    assert curves.calibration_error(empty) == pytest.approx(0.25)
