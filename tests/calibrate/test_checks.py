"""Every fit refuses what is no held-out unit, in words: void labels, NaN, lengths, types."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from failpred_jax.calibrate.beta import fit_beta
from failpred_jax.calibrate.confidence import fit_confidence
from failpred_jax.calibrate.conformal import fit_conformal
from failpred_jax.calibrate.isotonic import fit_isotonic
from failpred_jax.calibrate.platt import fit_platt
from failpred_jax.calibrate.selective import threshold_at_coverage, threshold_at_risk
from failpred_jax.calibrate.temperature import fit_temperature
from failpred_jax.errors import UserError

OF_CONFIDENCE = {
    'platt': lambda confidence, correct: fit_platt(confidence, correct)(0.5),
    'isotonic': lambda confidence, correct: fit_isotonic(confidence, correct)(0.5),
    'beta': lambda confidence, correct: fit_beta(confidence, correct)(0.5),
    'confidence': lambda confidence, correct: fit_confidence(confidence, correct, 'platt')(0.5),
    'threshold_at_risk': lambda confidence, correct: threshold_at_risk(confidence, correct, 0.4).threshold,
}
OF_CLASSES = {
    'conformal': lambda probs, labels: fit_conformal(probs, labels, 0.1),
    'temperature': lambda probs, labels: fit_temperature(probs, labels)[0],
}


@pytest.fixture
def classes(rng):
    logits = rng.normal(size=(200, 4))
    return softmax(2 * logits, axis=1).astype(np.float32), (logits + rng.normal(size=(200, 4))).argmax(axis=1)


@pytest.fixture
def units(classes):
    probs, labels = classes
    return probs.max(axis=1), probs.argmax(axis=1) == labels


@pytest.mark.parametrize('name', OF_CLASSES)
def test_labels_that_are_no_classes(name, classes):
    probs, labels = classes
    void = np.arange(200) % 10 == 0
    fit = OF_CLASSES[name]
    for bad, words in (
        (np.where(void, -1, labels), 'such as -1; leave the units'),
        (np.where(void, 255, labels), 'such as 255; leave the units'),
        (labels[:-1], r'\(199,\)'),
        (labels.astype(float), 'give integers'),
    ):
        with pytest.raises(UserError, match=words):
            fit(probs, bad)
    with pytest.raises(UserError, match='NaN|not finite'):
        fit(np.where(void[:, None], np.nan, probs), labels)
    with pytest.raises(UserError, match='empty'):
        fit(probs[:0], labels[:0])
    # float16 has no 1e-38 and bfloat16 is no type of NumPy's: both are numbers all the same.
    for kind in (np.float16, jnp.bfloat16):
        rounded = np.asarray(probs.astype(kind))
        assert fit(rounded, labels) == fit(rounded.astype(np.float32), labels)


@pytest.mark.parametrize('name', OF_CONFIDENCE)
def test_confidences_that_are_no_numbers_and_correct_that_is_not_bool(name, units):
    confidence, correct = units
    fit = OF_CONFIDENCE[name]
    for bad_confidence, bad_correct, words in (
        (confidence, np.where(correct, 1, -1), 'besides 0 and 1'),
        (confidence, correct[:-1], r'\(199,\)'),
        (np.where(np.arange(200) < 3, np.nan, confidence), correct, '3 values that are'),
        (confidence[:0], correct[:0], 'empty'),
        (confidence.astype(str), correct, 'give real numbers'),
        (np.asarray(jnp.asarray(confidence, jnp.bfloat16)).view('V2'), correct, 'bfloat16; save it as float32'),
    ):
        with pytest.raises(UserError, match=words):
            fit(bad_confidence, bad_correct)
    assert fit(confidence, correct.astype(np.int8)) == fit(confidence, correct)
    rounded = jnp.asarray(confidence, jnp.bfloat16)
    assert fit(rounded, correct) == fit(np.asarray(rounded, np.float32), correct)


def test_conformal_refuses_logits(classes):
    with pytest.raises(UserError, match='apply softmax to logits'):
        fit_conformal(np.log(classes[0]), classes[1], 0.1)


def test_thresholds_tell_float64_apart():
    confidence = 1 + np.arange(100) * 1e-12
    assert np.sum(confidence > threshold_at_coverage(confidence, 0.3)) == 30
    assert np.sum(confidence > threshold_at_risk(confidence, np.arange(100) >= 40, 0.3, 0.5).threshold) < 100
    with pytest.raises(UserError, match='2 values that are NaN'):
        threshold_at_coverage([np.nan, np.nan, 1.0], 0.5)
