"""Curves and their thinning."""

import numpy as np
import pytest
import sklearn.metrics as sk

import failpred_jax.metrics as fm
from failpred_jax.errors import UserError


@pytest.fixture
def units(rng):
    confidence = rng.integers(0, 300, 1000) / 256
    return confidence, rng.random(1000) < 0.5 + confidence / 4


def test_curves_of_scikit_learn(units):
    confidence, correct = units
    counts = fm.threshold_counts(confidence, correct)
    fpr, tpr, thresholds = sk.roc_curve(correct, confidence, drop_intermediate=False)
    for found, expected in zip(fm.roc_curve(counts), (fpr, tpr, thresholds), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    for of, label, score in (('success', correct, confidence), ('error', ~correct, -confidence)):
        precision, recall, _ = sk.precision_recall_curve(label, score)
        found = fm.precision_recall_curve(counts, of)
        np.testing.assert_allclose(found.x, recall[:-1][::-1], rtol=1e-14)
        np.testing.assert_allclose(found.y, precision[:-1][::-1], rtol=1e-14)


def test_areas_are_the_metrics(units):
    counts = fm.threshold_counts(*units)
    expected = fm.score_metrics(*units)
    for curve, name in (
        (fm.roc_curve(counts), 'auroc'),
        (fm.risk_coverage_curve(counts), 'aurc'),
        (fm.risk_coverage_curve(counts, generalized=True), 'augrc'),
    ):
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(expected[name], abs=1e-12)
    curve = fm.accuracy_rejection_curve(counts)
    assert (curve.x[-1], curve.y[-1]) == (0, expected['accuracy'])
    assert curve.y[np.argmax(curve.x <= 0.2)] == pytest.approx(1 - expected['risk_at_80coverage'])


def test_mask_and_order_change_nothing(units, rng):
    confidence, correct = units
    order = rng.permutation(1000)
    expected = fm.threshold_counts(confidence, correct)
    longer = (
        np.append(confidence[order], np.nan),
        np.append(correct[order], True),
        np.append(np.ones(1000, bool), False),
    )
    for found, want in zip(fm.threshold_counts(*longer), expected, strict=True):
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize('name', fm.CURVES)
@pytest.mark.parametrize('tolerance', [0.05, 1e-3])
def test_thinned_curves_stay_close(name, tolerance, rng):
    confidence = rng.random(20_000)
    correct = rng.random(20_000) < 0.3 + 0.7 * confidence
    curve = fm.CURVES[name](fm.threshold_counts(confidence, correct))
    thin = fm.thin_curve(curve, tolerance)
    assert thin.x.size < curve.x.size / 10
    assert (thin.x[0], thin.y[0], thin.x[-1], thin.y[-1]) == (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1])
    at = np.searchsorted(
        -thin.threshold if curve.threshold[0] > curve.threshold[-1] else thin.threshold,
        -curve.threshold if curve.threshold[0] > curve.threshold[-1] else curve.threshold,
    )
    at = at.clip(1, thin.x.size - 1)
    start, end = (np.stack([thin.x[i], thin.y[i]], -1) for i in (at - 1, at))
    along = end - start
    to = np.stack([curve.x, curve.y], -1) - start
    part = np.clip((to * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-300), 0, 1)
    assert np.hypot(*(to - part[:, None] * along).T).max() <= tolerance + 1e-12


def test_edges():
    curve = fm.roc_curve(fm.threshold_counts([1.0, 2.0], [True, True]))
    assert np.isnan(curve.x[1:]).all()
    assert fm.thin_curve(fm.risk_coverage_curve(fm.threshold_counts([1.0], [False]))).y.tolist() == [1, 1]
    with pytest.raises(UserError, match='no unit is counted'):
        fm.threshold_counts([1.0], [True], np.array([False]))
    with pytest.raises(UserError, match='confidence holds NaN'):
        fm.threshold_counts([np.nan, 1.0], [True, False])
    with pytest.raises(ValueError, match="of is 'failure'"):
        fm.precision_recall_curve(fm.threshold_counts([1.0], [True]), 'failure')
