"""One measuring path: the same arrays give the same figures, whoever brings them."""

import jax
import numpy as np
import pytest

import failpred_jax
from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.measure import measure
from failpred_jax.evaluate.parts import Part, Parts
from failpred_jax.evaluate.scoring import make_plan
from failpred_jax.results import codec
from failpred_jax.scores.score import ScoreInputs

SPLITS = {'train': 90, 'val': 60, 'test': 80}
MISSING = dict.fromkeys(('confidence_logit', 'finetuned_logit', 'mc_dropout', 'ensemble'), 'not here')


@pytest.fixture(scope='module')
def arrays():
    """Return split -> labels, logits and features, as a run has them."""
    rng = np.random.default_rng(0)
    found = {}
    for split, size in SPLITS.items():
        labels = rng.integers(0, 3, size).astype(np.int32)
        features = rng.normal(size=(size, 4)).astype(np.float32) + labels[:, None]
        logits = rng.normal(size=(size, 3)).astype(np.float32) + 2 * np.eye(3, dtype=np.float32)[labels]
        found[split] = {'labels': labels, 'logits': logits, 'features': features}
    return found


@pytest.fixture(scope='module')
def of_run(arrays):
    """Return what a run measures of the arrays, through measure() as evaluate() calls it."""
    parts = {
        split: Part(ScoreInputs(given['logits'], given['features']), given['labels']) for split, given in arrays.items()
    }
    plan = make_plan(('all',), MISSING, 'classification')
    return measure(Parts('classification', **parts, key=jax.random.key(0)), plan, EvaluateConfig(resamples=30))


def test_a_prediction_file_gives_the_figures_of_the_run(arrays, of_run):
    test = arrays['test']
    table = failpred_jax.evaluate_predictions(
        test['labels'],
        test['logits'],
        features=test['features'],
        validation=arrays['val'],
        training=arrays['train'],
        resamples=30,
    )
    found = table.evaluation
    one, other = (codec.measures_to_json(m) for m in (of_run.measures, found.measures))
    assert one['classifier'] == other['classifier']
    assert one['scores'] == other['scores']
    assert (one['best'], one['comparisons'], one['undefined']) == (
        other['best'],
        other['comparisons'],
        other['undefined'],
    )
    assert len(one['scores']) > 15
    assert {*found.validation.confidences} == {*of_run.validation.confidences} == {*one['scores']}


def test_the_saved_predictions_are_a_prediction_file_with_the_same_figures(arrays, of_run):
    kept = of_run.test
    table = failpred_jax.evaluate_predictions(kept.labels, kept.logits, kept.confidences, resamples=30)
    for name, score in of_run.measures.scores.items():
        again = table.evaluation.scores[name]
        assert (again.metrics, again.intervals, again.role) == (score.metrics, score.intervals, score.role), name


def test_validation_confidences_come_from_fits_that_have_not_seen_them(arrays, of_run):
    val = of_run.validation
    np.testing.assert_array_equal(val.labels, arrays['val']['labels'])
    np.testing.assert_array_equal(val.correct, val.logits.argmax(-1) == val.labels)
    parts = Parts(
        'classification', *(Part(ScoreInputs(g['logits'], g['features']), g['labels']) for g in [arrays['val']] * 2)
    )
    plan = make_plan(('mcp', 'temperature_mcp', 'tcp'), {}, 'classification')
    again = measure(parts, plan, EvaluateConfig(resamples=0))
    for name in ('mcp', 'temperature_mcp', 'tcp'):
        np.testing.assert_array_equal(again.validation.confidences[name], val.confidences[name])
    for name in ('mcp', 'tcp'):
        np.testing.assert_array_equal(again.test.confidences[name], val.confidences[name])
    # What was fitted on these labels comes by fits that have not seen the unit's own.
    fitted, held_out = (of['temperature_mcp'] for of in (again.test.confidences, val.confidences))
    assert not np.array_equal(fitted, held_out)
    np.testing.assert_allclose(fitted, held_out, atol=0.2)


def test_the_order_of_test_units_changes_no_figure(arrays, of_run):
    order = np.random.default_rng(1).permutation(SPLITS['test'])
    plan = make_plan(('mcp', 'margin', 'energy'), {}, 'classification')
    given = arrays['test']
    parts = Parts('classification', Part(ScoreInputs(given['logits'][order]), given['labels'][order]))
    found = measure(parts, plan, EvaluateConfig(resamples=0)).measures
    for name in ('mcp', 'margin', 'energy'):
        assert found.scores[name].metrics == of_run.measures.scores[name].metrics
    expected = of_run.measures.classifier
    assert found.classifier.metrics == pytest.approx(expected.metrics, rel=1e-6)
    np.testing.assert_array_equal(found.classifier.confusion.dense(), expected.confusion.dense())
