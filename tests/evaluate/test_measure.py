"""One measuring path: the same arrays give the same figures, whoever brings them."""

import jax
import numpy as np
import pytest

import failpred_jax
from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate import operating
from failpred_jax.evaluate.describe import describe
from failpred_jax.evaluate.measure import measure
from failpred_jax.evaluate.parts import Part, Parts
from failpred_jax.evaluate.scoring import make_plan
from failpred_jax.evaluate.table import to_markdown
from failpred_jax.metrics import score_metrics
from failpred_jax.metrics.walk import STANDARD
from failpred_jax.results import DatasetDescription, codec
from failpred_jax.scores.score import ScoreInputs

# Equal where they can be: every size compiles anew.
SPLITS = {'train': 90, 'val': 80, 'cal': 80, 'test': 80}
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
        calibration=arrays['cal'],
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
    assert found.run.dataset.num_calibration == SPLITS['cal']
    for name, values in of_run.calibration.confidences.items():
        np.testing.assert_array_equal(found.calibration.confidences[name], values, name)


def test_calibration_units_are_scored_by_the_fits_of_the_validation_units_and_fit_nothing(arrays, of_run):
    of_cal = of_run.calibration
    np.testing.assert_array_equal(of_cal.labels, arrays['cal']['labels'])
    np.testing.assert_array_equal(of_cal.correct, of_cal.logits.argmax(-1) == of_cal.labels)
    parts = {
        split: Part(ScoreInputs(given['logits'], given['features']), given['labels']) for split, given in arrays.items()
    }
    swapped = Parts('classification', **parts | {'test': parts['cal'], 'cal': parts['test']}, key=jax.random.key(0))
    found = measure(swapped, make_plan(('all',), MISSING, 'classification'), EvaluateConfig(resamples=0))
    assert {*of_cal.confidences} == {*of_run.test.confidences}
    for name, values in of_run.test.confidences.items():
        np.testing.assert_array_equal(found.calibration.confidences[name], values, name)
        np.testing.assert_array_equal(found.test.confidences[name], of_cal.confidences[name], name)
        np.testing.assert_array_equal(found.validation.confidences[name], of_run.validation.confidences[name], name)


def test_calibration_units_that_lack_something_lack_those_scores_alone(arrays):
    test, cal = arrays['test'], {key: arrays['cal'][key] for key in ('labels', 'logits')}
    mine = {'mine': np.arange(80.0), 'other': np.arange(80.0)}
    table = failpred_jax.evaluate_predictions(
        test['labels'], test['logits'], mine, features=test['features'], validation=arrays['val'],
        training=arrays['train'], calibration=cal | {'confidence_mine': np.arange(80.0)}, resamples=0,
    )  # fmt: skip
    of_test, of_cal = table.evaluation.test.confidences, table.evaluation.calibration.confidences
    assert {'knn_distance', 'trust_score', 'other'} <= of_test.keys() - of_cal.keys()
    assert {'mcp', 'mine', 'temperature_mcp'} <= of_cal.keys()
    np.testing.assert_array_equal(of_cal['mine'], np.arange(80.0))


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


def test_thresholds_come_from_validation_and_their_figures_from_test(arrays, of_run):
    test, val = of_run.test, of_run.validation
    for name in ('mcp', 'fusion', 'knn_distance'):
        points = of_run.measures.scores[name].working_points
        assert [(point.aim, point.target) for point in points] == [
            *(('coverage', share) for share in STANDARD.coverage), *(('risk', share) for share in STANDARD.risk),
        ]  # fmt: skip
        for point in points:
            kept = val.confidences[name] >= point.threshold
            assert point.val_coverage == kept.mean()
            accepted = test.confidences[name] >= point.threshold
            assert point.coverage == accepted.mean()
            if accepted.any():
                assert point.risk == pytest.approx((~test.correct[accepted]).mean())
                assert point.risk_low <= point.risk <= point.risk_high
    assert of_run.measures.scores['tcp'].working_points == ()


def test_every_predicted_class_has_the_figures_of_its_units(of_run, monkeypatch):
    test, found = of_run.test, of_run.measures.per_class
    predicted = test.logits.argmax(-1)
    assert 'tcp' not in found.scores and {'mcp', 'fusion'} <= found.scores.keys()
    for place, c in enumerate(found.classes):
        of_class = predicted == c
        assert (found.num_units[place], found.num_errors[place]) == (of_class.sum(), (~test.correct[of_class]).sum())
        alone = score_metrics(test.confidences['mcp'][of_class], test.correct[of_class])
        for metric, values in found.scores['mcp'].items():
            assert values[place] == pytest.approx(alone[metric], nan_ok=True)
    monkeypatch.setattr(operating, 'MAX_CLASSES', 2)
    few = operating.with_operating(of_run.measures, None, test, True, 0.95)
    most = sorted(sorted(found.classes, key=lambda c: -found.num_errors[c])[:2])
    assert (
        list(few.per_class.classes) == most and few.per_class.note == 'the 2 predicted classes with most errors, of 3'
    )
    np.testing.assert_allclose(few.per_class.scores['mcp']['auroc'], np.take(found.scores['mcp']['auroc'], most))
    of_pixels = operating.with_operating(of_run.measures, of_run.validation, test, True, 0.95).scores['mcp']
    assert np.isnan([point.risk_low for point in of_pixels.working_points]).all()


def test_the_table_shows_calibration_thresholds_and_classes(of_run):
    run = describe(
        of_run.measures, DatasetDescription('things', class_names=('ant', 'bee', 'cow'), num_classes=3), 0.95
    )
    text = to_markdown(of_run.measures, run)
    assert 'ECE is biased upward' in text
    assert '| learned_from_features \u2020 |' in text
    assert 'learned_from_features was trained to predict the true class probability, not P(correct)' in text
    assert '| accept 80 |' in text.replace('  ', '') and 'errors up to 1' in text
    classes = text[text.index('Within each predicted class') :]
    assert [word for word in ('ant', 'bee', 'cow') if f'| {word} ' in classes] == ['ant', 'bee', 'cow']
    assert 'mcp AUROC' in classes
    assert 'per_class' not in text


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
