"""What is measured and decided of given probabilities is so of these numbers, also once a run is read again."""

import jax
import numpy as np
import pytest

from failpred_jax import evaluate_predictions
from failpred_jax.decide.sets import fit_sets
from failpred_jax.decide.units import of_predictions
from failpred_jax.metrics import measure_classifier
from failpred_jax.metrics.metric import of_inputs
from failpred_jax.prediction_file.file import parse_arrays
from failpred_jax.results import read_evaluation, write_evaluation


def votes(rng, rows=600, classes=10, trees=15):
    """Return the shares of so many trees' votes, which lie on the edges of bins, and labels that they often miss."""
    probs = rng.multinomial(trees, rng.dirichlet(np.ones(classes), size=rows)) / trees
    return probs, np.array([rng.choice(classes, p=row) for row in probs])


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_metrics_of_classes_are_their_own_functions_of_the_numbers_given(dtype, rng):
    probs, labels = votes(rng)
    given = probs.astype(dtype).astype(np.float32)
    found = evaluate_predictions(labels, probs.astype(dtype), resamples=0).evaluation.measures.classifier.metrics
    for metric in of_inputs('classes'):
        if metric.from_logits is None:
            with jax.enable_x64(True):
                assert found[metric.name] == pytest.approx(float(metric.fn(given, labels)), rel=1e-6), metric.name


def test_the_softmax_of_logs_would_put_votes_into_other_bins(rng):
    probs, labels = votes(rng)
    logs = np.log(np.maximum(probs, 1e-300)).astype(np.float32)
    as_given, by_logs = (
        measure_classifier(logs, labels, 'classification', p) for p in (probs.astype(np.float32), None)
    )
    assert as_given.metrics['classwise_ece'] != pytest.approx(by_logs.metrics['classwise_ece'], rel=1e-3)


def test_sets_of_a_run_that_is_read_again_hold_classes_of_equal_probability_alike(rng, tmp_path):
    probs, labels = votes(rng)
    own = {'labels': labels, 'logits': probs}
    found = evaluate_predictions(labels, probs, calibration=own, validation=own, resamples=0).evaluation
    write_evaluation(found, 'table', tmp_path)
    kept = read_evaluation(tmp_path)
    for part in (kept.test, kept.validation, kept.calibration):
        units = of_predictions(part)
        np.testing.assert_array_equal(units.probs, probs.astype(np.float32))
        np.testing.assert_array_equal(units.take(np.arange(5, 9)).probs, probs[5:9].astype(np.float32))
    rule = fit_sets(units.probs, labels, method='lac', alpha=0.1)
    taken, count = rule(units.probs), np.round(probs * 15).astype(int)
    assert all(len(np.unique(taken[count == number])) == 1 for number in np.unique(count))


@pytest.mark.parametrize('names', [('logits', 'probs'), ('probs', 'log_probs'), ('logits', 'probs', 'log_probs')])
@pytest.mark.parametrize('scale', [0, 7])
def test_the_same_predictions_given_twice_are_read_once(names, scale, rng):
    probs, labels = votes(rng, trees=200)
    logs = np.log(np.maximum(probs, 1e-300))
    kinds = {'probs': probs, 'log_probs': logs, 'logits': logs + scale}
    found = parse_arrays({'labels': labels, **{name: kinds[name] for name in names}}, 'the test')['evaluated']
    kept = 'logits' if 'logits' in names and scale else 'probs'
    alone = parse_arrays({'labels': labels, kept: kinds[kept]}, 'the test')['evaluated']
    np.testing.assert_array_equal(found.logits, alone.logits)
    np.testing.assert_array_equal(found.probabilities, alone.probabilities)
    assert any(f"the same as '{kept}', which is read" in note for note in found.notes)
