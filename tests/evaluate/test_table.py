"""The table and the figures behind it: those of the metrics, the best marked, and what cannot be shown said."""

import dataclasses
import math

import numpy as np
import pytest

from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.describe import describe
from failpred_jax.evaluate.measure import measure
from failpred_jax.evaluate.parts import Part, Parts
from failpred_jax.evaluate.scoring import Plan
from failpred_jax.evaluate.seeds import summarize_seeds
from failpred_jax.evaluate.seeds import to_markdown as seeds_to_markdown
from failpred_jax.evaluate.table import format_value, to_markdown
from failpred_jax.metrics import FAILURE_METRICS, Metric, failure_metrics
from failpred_jax.registry import METRICS
from failpred_jax.results import DatasetDescription, codec
from failpred_jax.scores.score import ScoreInputs


def measured(rng, accuracy=0.8, scale=1.0, **options):
    """Return what is measured of scores that came with the units, and the units."""
    labels = rng.integers(0, 3, 200).astype(np.int32)
    correct = rng.random(200) < accuracy
    predicted = np.where(correct, labels, (labels + 1) % 3)
    probs = np.full((200, 3), 0.1, np.float32)
    probs[np.arange(200), predicted] = 0.8
    noise = rng.random(200).astype(np.float32)
    confidences = {'mcp': noise, 'confidnet': np.clip(correct * scale + noise, 0, 1), 'tcp': correct.astype(np.float32)}
    parts = Parts('classification', Part(ScoreInputs(np.log(probs)), labels, confidences))
    found = measure(parts, Plan((), {'energy': 'a reason'}), EvaluateConfig(**{'resamples': 50, **options}))
    return found.measures, confidences, correct


def description(found):
    return describe(found, DatasetDescription('things'), 0.95, warnings=('a warning',))


def test_figures_are_those_of_the_metrics(rng):
    found, confidences, correct = measured(rng)
    for name, confidence in confidences.items():
        expected = failure_metrics(confidence, correct)
        assert {key: found.scores[name].metrics[key] for key in FAILURE_METRICS} == expected
        low, high = found.scores[name].intervals['auroc']
        assert low <= expected['auroc'] <= high
    assert found.classifier.num_errors == np.count_nonzero(~correct)
    assert found.classifier.metrics['accuracy'] == correct.mean()


def test_what_rounds_to_nothing_has_no_sign():
    assert [format_value(value, METRICS['aurc']) for value in (-1e-9, 1e-9, -0.5)] == ['0.000', '0.000', '-500.000']
    assert format_value(-0.00001, METRICS['auroc']) == '0.00'


def test_the_upper_bound_never_counts_as_the_best(rng):
    found, *_ = measured(rng)
    assert all('tcp' not in names for names in found.best.values())
    assert found.best['auroc'][0] == 'confidnet'
    assert 'tcp' not in {name for row in found.comparisons for name in (row.a, row.b)}
    pairs = [(row.metric, frozenset((row.a, row.b))) for row in found.comparisons]
    assert len(pairs) == len(set(pairs))


def test_the_reference_is_the_baseline_or_what_was_named_beforehand(rng):
    found, *_ = measured(rng)
    assert found.reference == 'mcp'
    assert {row.b for row in found.comparisons} == {'mcp'}
    found, *_ = measured(rng, reference_score='confidnet')
    assert found.reference == 'confidnet'
    assert {row.b for row in found.comparisons} == {'confidnet'}


@pytest.mark.parametrize(
    ('name', 'why'), [('tcp', 'it reads the label'), ('energy', 'a reason'), ('margin', 'it is not among the scores')]
)
def test_the_baseline_stands_in_for_a_reference_that_is_unavailable_and_it_is_said(name, why, rng):
    usual, *_ = measured(np.random.default_rng(0))
    found, *_ = measured(np.random.default_rng(0), reference_score=name)
    assert found.comparisons == usual.comparisons
    words = f"config.evaluate.reference_score is '{name}', which is unavailable ({why}); scores are compared with mcp"
    assert [note for note in found.notes if note not in usual.notes] == [f'{words} instead']


def test_the_table_marks_the_best_and_says_what_is_unavailable(rng):
    found, *_ = measured(rng)
    found = dataclasses.replace(
        found, scores={n: dataclasses.replace(s, notes=('a note',) * (n == 'mcp')) for n, s in found.scores.items()}
    )
    text = to_markdown(found, description(found))
    row = next(line for line in text.splitlines() if line.startswith('| confidnet'))
    assert '=' in row
    assert '| tcp *' in text
    for words in ('- mcp: a note', '- energy unavailable: a reason', '- a warning'):
        assert words in text


def test_without_errors_the_table_says_undefined_and_why(rng):
    found, *_ = measured(rng, accuracy=1.0)
    text = to_markdown(found, description(found))
    assert 'undefined' in text
    assert '- auroc is undefined: there is no error, so nothing to find' in text
    written = codec.measures_to_json(found)
    assert written['scores']['mcp']['auroc'] is None
    assert to_markdown(codec.measures_from_json(written), description(found)) == text


def nulls_of(value, path=()):
    """Yield the paths of the nulls of a value of JSON."""
    if value is None:
        yield path
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nulls_of(inner, (*path, key))


@pytest.mark.parametrize('accuracy', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('size', [1, 3, 40])
def test_every_null_has_its_reason(rng, accuracy, size):
    """Few units and classes that never occur; a certain confidence that is wrong; nothing but errors."""
    labels = rng.integers(0, 2, size).astype(np.int32)
    logits = np.zeros((size, 8), np.float32)
    right = rng.random(size) < accuracy
    logits[np.arange(size), np.where(right, labels, 1 - labels)] = 200
    own = {'mcp': np.ones(size), 'own': rng.random(size)}
    parts = Parts('segmentation', Part(ScoreInputs(logits), labels, own))
    found = measure(parts, Plan((), {}), EvaluateConfig(resamples=20)).measures
    written = codec.measures_to_json(found)
    reasons = written.pop('undefined')
    for path in nulls_of(written):
        names = [part for part in path if isinstance(part, str) and part not in ('scores', 'classifier', 'calibration')]
        assert names[-1] in reasons or '.'.join(names[-2:]) in reasons, path


def test_a_label_of_probability_0_in_float32_has_a_finite_nll():
    logits = np.array([[0, 100], [0, 0]], np.float32)
    parts = Parts('classification', Part(ScoreInputs(logits), np.array([0, 0], np.int32)))
    found = measure(parts, Plan((), {}), EvaluateConfig()).measures
    assert found.classifier.metrics['multiclass_nll'] == pytest.approx((100 + math.log(2)) / 2, rel=1e-6)


def test_scores_that_float32_would_tie_keep_their_order(rng):
    labels = np.arange(40, dtype=np.int32) % 2
    logits = np.zeros((40, 2), np.float32)
    logits[:, 0] = 1
    correct = labels == 0
    rank = np.where(correct, 40, 0) + np.arange(40)
    columns = {
        'float64': 1 + rank * 1e-12,
        'int64': 2**60 + rank,
        'uint64': np.uint64(2**63) + rank.astype(np.uint64),
        'bool': correct,
    }
    parts = Parts('classification', Part(ScoreInputs(logits), labels, columns))
    found = measure(parts, Plan((), {}), EvaluateConfig(resamples=5))
    assert {name: score.metrics['auroc'] for name, score in found.measures.scores.items()} == dict.fromkeys(columns, 1)
    for name, column in columns.items():
        assert found.test.confidences[name].dtype == column.dtype


def test_a_column_that_is_no_probability_loses_its_calibration_and_nothing_else(rng):
    labels = rng.integers(0, 2, 30).astype(np.int32)
    logits = rng.normal(size=(30, 2)).astype(np.float32)
    parts = Parts('classification', Part(ScoreInputs(logits), labels, {'mcp': rng.normal(size=30) * 9}))
    (score,) = measure(parts, Plan((), {}), EvaluateConfig(resamples=0)).measures.scores.values()
    assert not score.calibration
    assert 'calibration unavailable: confidence is outside [0, 1]' in score.notes[0]


@pytest.fixture
def registered_metrics():
    """Register one metric of each kind, as a file in metrics/ would, and take it back."""
    facts = {'definition': 'A test.', 'reference': 'none', 'higher_is_better': True}
    new = [
        Metric(
            name='share_above',
            family='failure',
            inputs='ranking',
            fn=lambda confidence, correct, mask=None: (confidence[:, None] > confidence[None, :]).mean(),
            label='Share above',
            **facts,
        ),
        Metric(
            name='mean_confidence',
            family='calibration',
            inputs='probability',
            fn=lambda confidence, correct, mask=None: confidence.mean(),
            **facts,
        ),
        Metric(
            name='mean_top',
            family='classification',
            inputs='classes',
            fn=lambda probs, labels, mask=None: probs.max(-1).mean(),
            **facts,
        ),
        Metric(
            name='share_of_zeros',
            family='classification',
            inputs='labels',
            fn=lambda predicted, labels, mask=None, *, num_classes: (predicted == 0).mean() / num_classes,
            **facts,
        ),
    ]
    for metric in new:
        METRICS.register(metric.name)(metric)
    yield
    for metric in new:
        del METRICS._entries[metric.name]


def test_a_registered_metric_is_measured_tabulated_and_described(rng, registered_metrics):
    found, confidences, _ = measured(rng)
    mcp = found.scores['mcp']
    assert mcp.metrics['share_above'] == pytest.approx(199 / 400)
    assert mcp.calibration['mean_confidence'] == pytest.approx(confidences['mcp'].mean())
    assert found.classifier.metrics['mean_top'] == pytest.approx(0.8)
    assert 0 < found.classifier.metrics['share_of_zeros'] < 1 / 3
    low, high = mcp.intervals['share_above']
    assert low < high <= 199 / 400  # A unit that is drawn twice ties with itself.
    assert found.best['share_above'][0] in ('mcp', 'confidnet')
    run = description(found)
    assert 'Share above ↑' in to_markdown(found, run)
    assert {'share_above', 'mean_confidence', 'mean_top', 'share_of_zeros'} <= run.metrics.keys()
    assert codec.run_to_json(run)['definitions']['metrics']['share_above']['label'] == 'Share above'
    assert 'Share above ↑' in seeds_to_markdown(summarize_seeds({0: found, 1: found}), run)
