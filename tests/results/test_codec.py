"""Typed results go through JSON and the folder and come back; older and damaged folders are read."""

import dataclasses
import json
import math

import numpy as np
import pytest

from failpred_jax.errors import UserError
from failpred_jax.files import read_json, write_json
from failpred_jax.registry import METRICS
from failpred_jax.results import (
    CalibratedScore,
    ClassFailures,
    ClassifierResult,
    Comparison,
    Confusion,
    DatasetDescription,
    Evaluation,
    Interval,
    Measures,
    Predictions,
    RunDescription,
    ScoreCurves,
    ScoreDescription,
    ScoreResult,
    SeedComparison,
    SeedResult,
    SeedsSummary,
    Spread,
    StageDescription,
    TargetsDescription,
    WorkingPoint,
    read_evaluation,
    write_evaluation,
)


def make_measures(labels, predicted, num_classes) -> Measures:
    """Return measures of which every part is there."""
    return Measures(
        classifier=ClassifierResult(
            50,
            7,
            {'accuracy': 0.86, 'multiclass_nll': math.nan},
            {'recall': np.array([0.5, math.nan] + [1.0] * (num_classes - 2))},
            Confusion.from_classes(labels, predicted, num_classes),
            {'accuracy': Interval(0.8, 0.9)},
        ),
        scores={
            'mcp': ScoreResult(
                {'auroc': 0.75, 'aurc': math.nan},
                {'auroc': Interval(0.6, 0.9)},
                {'aurc': 'too few errors'},
                {'auroc': Interval(0.7, 0.8)},
                {'ece': 0.1},
                ('a note',),
                'baseline',
                CalibratedScore(
                    {'before': {'ece': 0.1}, 'beta': {'ece': 0.0}},
                    {'beta': {'ece': Interval(0.0, 0.1)}},
                    'beta',
                    {'platt': 'a reason'},
                    ('a note',),
                ),
                (
                    WorkingPoint('coverage', 0.8, 0.5, 0.81, 0.1, 0.79, 0.12),
                    WorkingPoint('risk', 0.01, val_coverage=0.0),
                ),
            ),
            'mine': ScoreResult({'auroc': 0.5, 'aurc': 0.25}),
        },
        unavailable={'energy': 'a reason'},
        undefined={'aurc': 'a reason'},
        reference='mcp',
        best={'auroc': ('mcp', 'mine'), 'aurc': ()},
        comparisons=(Comparison('auroc', 'mine', 'mcp', -0.25, -0.4, -0.1, 0.0, 0.01, 0.02, True),),
        curves={'mcp': ScoreCurves(*(np.arange(4, dtype=t) for t in (float, int, int, float, int, int)))},
        seeds=SeedsSummary(
            (0, 1),
            {'accuracy': Spread(0.86, 0.01)},
            {'mcp': {'auroc': Spread(0.75, math.nan)}},
            (SeedComparison('auroc', 'mine', 'mcp', -0.25, 0.1, 0.0, 2),),
            ('two seeds say little',),
            calibrated={'mcp': {'before': {'ece': Spread(0.1, 0.01)}, 'after': {'ece': Spread(0.02, math.nan)}}},
        ),
        per_class=ClassFailures((0, 3), (20, 5), (4, 0), {'mcp': {'auroc': (0.75, math.nan)}}, 'two of four'),
        own={'ensemble': Measures(ClassifierResult(50, 5, {'accuracy': 0.9}), {'mcp': ScoreResult({'auroc': 0.8})})},
    )


def make_evaluation(rng, num_classes=4) -> Evaluation:
    """Return an evaluation in which every part is there."""
    labels = rng.integers(0, num_classes, 50).astype(np.int32)
    logits = rng.normal(size=(50, num_classes)).astype(np.float32)
    predicted = logits.argmax(-1)
    units = Predictions(labels, logits, predicted == labels, {'mcp': rng.random(50), 'mine': rng.integers(0, 9, 50)})
    measures = make_measures(labels, predicted, num_classes)
    run = RunDescription(
        created='2026-01-01T00:00:00+00:00',
        dataset=DatasetDescription('things', 'classification', num_classes, ('a', 'b'), (8, 8, 1), None, 1, 2, 50),
        model={'name': 'mlp', 'hidden_units': 64},
        stages=(StageDescription('baseline', 'val_accuracy', 100, 90, 90, math.nan, 1.5),),
        warnings=('a warning',),
        config={'seed': 0, 'evaluate': {'resamples': 10}},
        environment={'devices': ['cpu']},
        train_targets=TargetsDescription('train', 9, 3, (0.0, 0.5, 1.0), (1, 5), (2, 1), ('few',)),
        metrics={'auroc': METRICS['auroc'].describe()},
        scores={'mcp': ScoreDescription('the largest', 'a paper', 'baseline', True)},
        interval=0.9,
    )
    history = {'baseline': {'step': [0.0, 1.0]}}
    maps = {'image': np.zeros((1, 2, 2, 3), np.uint8)}
    seeds = (SeedResult(0, Measures(scores=measures.scores)), SeedResult(1, Measures()))
    return Evaluation(measures, run, units, units, np.zeros((50, 2, 2, 1), np.uint8), history, maps, maps, seeds)


def assert_equal(one, other, where=''):
    """Compare nested values; NaN equals NaN, and arrays have the same type."""
    assert type(one) is type(other), where
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name), f'{where}.{field.name}')
    elif isinstance(one, dict):
        assert list(one) == list(other), where
        for key, value in one.items():
            assert_equal(value, other[key], f'{where}[{key}]')
    elif isinstance(one, tuple):
        assert len(one) == len(other), where
        for i, value in enumerate(one):
            assert_equal(value, other[i], f'{where}[{i}]')
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other, err_msg=where)
    else:
        assert one == other or (one != one and other != other), where


@pytest.mark.parametrize('num_classes', [4, 130])
def test_what_is_written_is_read_back(rng, tmp_path, num_classes):
    written = make_evaluation(rng, num_classes)
    write_evaluation(written, 'the table', tmp_path)
    assert_equal(written, read_evaluation(tmp_path))
    metrics = read_json(tmp_path / 'metrics.json')
    assert metrics['scores']['mcp']['ci'] == {'auroc': [0.6, 0.9]}
    assert metrics['scores']['mcp']['aurc'] is None
    # Many classes: the matrix is a file of its own, and the JSON has its largest cells.
    assert ('confusion' in metrics['classifier']) == (num_classes <= 100)
    assert (tmp_path / 'confusion.npz').exists() == (num_classes > 100)
    # What an evaluation does not have, an earlier one does not leave.
    plain = Evaluation(Measures(), RunDescription(), written.test)
    write_evaluation(plain, 'the table', tmp_path)
    assert_equal(plain, read_evaluation(tmp_path))


def test_top_confusions_and_the_dense_matrix_agree(rng):
    labels, predicted = rng.integers(0, 5, (2, 300))
    cells = Confusion.from_classes(labels, predicted, 5)
    dense = cells.dense()
    assert dense.sum() == 300
    assert_equal(Confusion.from_dense(dense), cells)
    label, column, count = cells.top(1)[0]
    assert count == dense[label, column] == (dense - np.diag(np.diag(dense))).max()
    right, occurs, chosen = cells.marginals()
    np.testing.assert_array_equal(right, np.diag(dense))
    np.testing.assert_array_equal(occurs, dense.sum(1))
    np.testing.assert_array_equal(chosen, dense.sum(0))


def test_a_folder_of_an_older_version_has_defaults(rng, tmp_path):
    write_evaluation(make_evaluation(rng), 'the table', tmp_path)
    metrics, context = (read_json(tmp_path / name) for name in ('metrics.json', 'context.json'))
    for score in metrics['scores'].values():
        del score['role']
    del metrics['reference'], metrics['comparisons'][0]['p_value'], metrics['comparisons'][0]['is_distinguishable']
    del context['interval']
    context['config']['evaluate']['interval'] = 0.8
    context['definitions'] = {
        'metrics': {'auroc': {'definition': 'as it was'}, 'gone': {'definition': 'no longer there'}},
        'scores': {'tcp': {'description': 'the bound', 'reads_label': True}},
    }
    context['dataset']['task'] = 7  # Not what it should be: as if it were missing.
    context['something_new'] = 1
    write_json(tmp_path / 'metrics.json', metrics)
    write_json(tmp_path / 'context.json', context)
    found = read_evaluation(tmp_path)
    assert found.with_role('baseline') == ['mcp']
    assert math.isnan(found.measures.comparisons[0].p_value)
    assert found.run.interval == 0.8
    assert found.run.dataset.task == 'classification'
    assert (found.run.metrics['auroc'].label, found.run.metrics['auroc'].definition) == ('AUROC', 'as it was')
    assert found.run.metrics['gone'].label == 'gone'
    assert found.run.scores['tcp'].role == 'bound'


@pytest.mark.parametrize('content', ['{}', '[]', 'null', '{"scores": {"mcp": 3}, "comparisons": [1], "seeds": []}'])
def test_json_that_is_none_of_ours_is_read_as_empty(rng, tmp_path, content):
    write_evaluation(Evaluation(Measures(), RunDescription(), make_evaluation(rng).test), '', tmp_path)
    for name in ('metrics.json', 'context.json'):
        (tmp_path / name).write_text(content)
    found = read_evaluation(tmp_path)
    assert (found.measures.scores, found.measures.comparisons) == ({}, ())
    assert found.run == RunDescription()


def test_a_damaged_folder_is_an_error(rng, tmp_path):
    write_evaluation(make_evaluation(rng), 'the table', tmp_path)
    (tmp_path / 'predictions.npz').write_bytes(b'nothing')
    with pytest.raises(UserError, match='run --mode=evaluate again'):
        read_evaluation(tmp_path)
    (tmp_path / 'metrics.json').unlink()
    with pytest.raises(UserError, match=r'holds no evaluation \(metrics\.json is missing\)'):
        read_evaluation(tmp_path)


def test_metrics_json_is_standard_json(rng, tmp_path):
    write_evaluation(make_evaluation(rng), 'the table', tmp_path)
    for path in tmp_path.glob('*.json'):
        json.loads(path.read_text(), parse_constant=pytest.fail)
