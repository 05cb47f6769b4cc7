"""Calibration, classification and segmentation for callers with data; bins; errors in words."""

import jax
import numpy as np
import pytest
import sklearn.metrics as sk

import failpred_jax.metrics as fm
from failpred_jax.errors import UserError
from failpred_jax.registry import METRICS


def test_bins_of_a_diagram():
    confidence = np.array([0.0, 0.2, 0.2, 0.21, 0.9, 1.0], np.float32)
    correct = np.array([False, True, False, True, True, True])
    reliability_bins = jax.jit(fm.reliability_bins, static_argnames=('num_bins', 'equal_mass'))
    bins = reliability_bins(confidence, correct, num_bins=5)
    np.testing.assert_array_equal(bins.count, [3, 1, 0, 0, 2])  # An edge belongs to the bin below it.
    np.testing.assert_allclose(bins.accuracy, [1 / 3, 1, np.nan, np.nan, 1], rtol=1e-6)
    np.testing.assert_allclose(bins.confidence, [0.4 / 3, 0.21, np.nan, np.nan, 0.95], rtol=1e-6)
    mass = reliability_bins(confidence, correct, num_bins=3, equal_mass=True)
    np.testing.assert_array_equal(mass.count, [3, 1, 2])  # Ties stay together, so the first bin is fuller.


def test_calibration_of_a_known_kind(rng):
    confidence = np.repeat([0.2, 0.9], 500)
    correct = np.concatenate([np.arange(500) < 150, np.arange(500) < 400])  # 30% and 80%
    found = fm.calibration_metrics(confidence, correct)
    # Debiased ECE is a file of its own, which `measure_calibration` adds.
    assert set(found) | {'ece_debiased'} == {name for name in METRICS if METRICS[name].inputs == 'probability'}
    assert set(fm.measure_calibration(confidence, correct)) == set(found) | {'ece_debiased'}
    assert found['ece'] == pytest.approx(0.1, abs=1e-6)
    assert found['ece_equal_mass'] == pytest.approx(0.1, abs=1e-6)
    assert found['mce'] == pytest.approx(0.1, abs=1e-6)
    assert found['signed_ece'] == pytest.approx(0, abs=1e-6)
    assert found['brier_reliability'] == pytest.approx(0.01, abs=1e-6)
    assert found['brier_resolution'] == pytest.approx(0.0625, abs=1e-6)
    assert found['brier_uncertainty'] == pytest.approx(0.55 * 0.45, abs=1e-12)
    parts = found['brier_reliability'] - found['brier_resolution'] + found['brier_uncertainty']
    assert found['brier'] == pytest.approx(parts, abs=1e-6)  # No spread inside a bin here.
    assert fm.calibration_metrics([1.0], [False])['nll'] == np.inf
    assert all(np.isnan(value) for value in fm.calibration_metrics([], np.zeros(0, bool)).values())


def test_classifier_equals_scikit_learn(rng):
    probs = rng.dirichlet(np.ones(6), 300).astype(np.float32)
    labels, mask = rng.integers(0, 6, 300), rng.random(300) < 0.8
    labels[~mask] = 255
    found = fm.classifier_metrics(probs, labels, mask, top_k=(1, 3, 6))
    kept, truth = probs[mask].astype(np.float64), labels[mask]
    predicted = kept.argmax(axis=-1)
    assert found['accuracy'] == found['top_1_accuracy'] == sk.accuracy_score(truth, predicted)
    assert found['balanced_accuracy'] == pytest.approx(sk.balanced_accuracy_score(truth, predicted))
    assert found['top_3_accuracy'] == pytest.approx(sk.top_k_accuracy_score(truth, kept, k=3, labels=range(6)))
    assert 'top_6_accuracy' not in found
    assert found['confusion'] == sk.confusion_matrix(truth, predicted, labels=range(6)).tolist()
    segmented = fm.segmentation_metrics(found['confusion'])
    assert segmented['pixel_accuracy'] == found['accuracy']
    assert segmented['iou'] == pytest.approx(sk.jaccard_score(truth, predicted, average=None, labels=range(6)).tolist())
    assert segmented['mean_iou'] == pytest.approx(np.mean(segmented['iou']))
    assert 'accuracy' not in segmented


def test_logits_may_stand_for_probabilities_in_top_k():
    logits = np.array([[3.0, -1.0, 3.0], [0.0, 0.0, 0.0]])
    top = {k: [float(fm.top_k_accuracy(logits[i : i + 1], np.array([2]), k=k)) for i in range(2)] for k in (1, 2, 3)}
    assert top == {1: [0, 0], 2: [1, 0], 3: [1, 1]}  # Ties as argmax: the lower class first.


def test_bad_input_is_told_in_words():
    probs = np.full((2, 2), 0.5)
    with pytest.raises(UserError, match=r'confidence is outside \[0, 1\] for 1 of 2 units'):
        fm.calibration_metrics([0.5, 1.5], [True, False])
    with pytest.raises(UserError, match=r'labels has shape \(3,\), but the predictions ask for \(2,\)'):
        fm.classifier_metrics(probs, np.zeros(3, int))
    with pytest.raises(UserError, match=r'1 labels are outside 0 ... 1, such as 7; mask'):
        fm.classifier_metrics(probs, np.array([0, 7]))
    with pytest.raises(UserError, match='labels has type float64; give integers'):
        fm.classifier_metrics(probs, np.array([0.0, 1.0]))
    with pytest.raises(UserError, match=r'probs has values outside \[0, 1\] for 2 units; apply softmax'):
        fm.classifier_metrics(probs * 4, np.array([0, 1]))
