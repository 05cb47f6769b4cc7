"""Between the typed results and JSON: the one place that knows how metrics.json and context.json are laid out.

How single values become JSON, and what counts as missing, is in plain.py.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from failpred_jax.registry import METRICS, SCORES
from failpred_jax.results.description import (
    DatasetDescription,
    MetricDescription,
    RunDescription,
    ScoreDescription,
    TargetsDescription,
)
from failpred_jax.results.evaluation import SeedResult
from failpred_jax.results.measures import (
    CalibratedScore,
    ClassifierResult,
    Comparison,
    Confusion,
    Interval,
    Measures,
    ScoreCurves,
    ScoreResult,
)
from failpred_jax.results.operating import ClassFailures, WorkingPoint
from failpred_jax.results.plain import dataclass_from_json, hints, known, numbers, part, to_json
from failpred_jax.results.plain import from_json as from_json
from failpred_jax.results.slices import Slice, SliceScore

# Above so many classes the confusion matrix is a file of its own, and JSON has its largest cells.
MAX_DENSE_CLASSES = 100
TOP_CONFUSIONS = 100


# metrics.json.


def measures_to_json(measures: Measures) -> dict[str, Any]:
    """Return the content of metrics.json, without the curves and without what is NaN."""
    found = {
        'classifier': _classifier_to_json(measures.classifier),
        'scores': {name: _score_to_json(score) for name, score in measures.scores.items()},
        'unavailable': dict(measures.unavailable),
        'undefined': dict(measures.undefined),
        'reference': measures.reference,
        'best': measures.best,
        'comparisons': measures.comparisons,
        'notes': measures.notes,
    }
    if measures.seeds is not None:
        found['seeds'] = measures.seeds
    if measures.slices:
        found['slices'] = [_slice_to_json(one) for one in measures.slices]
    if measures.per_class is not None:
        found['per_class'] = _class_failures_to_json(measures.per_class)
    if measures.own:
        found['own'] = {name: measures_to_json(own) for name, own in measures.own.items()}
    return to_json(found)


def measures_from_json(value: Any, curves: Any = None, cells: Mapping[str, np.ndarray] | None = None) -> Measures:
    """Return what `measures_to_json` wrote.

    Args:
      value: of metrics.json.
      curves: of curves.json, or None.
      cells: arrays of confusion.npz, or None.
    """
    value = value if isinstance(value, Mapping) else {}
    scores = {
        str(name): _score_from_json(str(name), row)
        for name, row in part(value, 'scores').items()
        if isinstance(row, Mapping)
    }
    plain = known(
        (name, hints(Measures)[name], value[name])
        for name in ('unavailable', 'undefined', 'reference', 'best', 'seeds', 'notes')
        if name in value
    )
    rows = value.get('comparisons')
    return Measures(
        classifier=_classifier_from_json(part(value, 'classifier'), cells),
        scores=scores,
        comparisons=tuple(known((str(i), Comparison, row) for i, row in enumerate(rows or ())).values()),
        curves=curves_from_json(curves),
        own={str(name): measures_from_json(own) for name, own in part(value, 'own').items()},
        per_class=_class_failures_from_json(value['per_class']) if part(value, 'per_class') else None,
        slices=tuple(_slice_from_json(row) for row in value.get('slices') or () if isinstance(row, Mapping)),
        **plain,
    )


def _classifier_to_json(found: ClassifierResult) -> dict[str, Any]:
    known: dict[str, Any] = {'ci': found.intervals, 'is_graded': found.is_graded}
    more = {name: value for name, value in known.items() if value}
    if found.confusion is not None and found.confusion.num_classes <= MAX_DENSE_CLASSES:
        more['confusion'] = found.confusion.dense()
    elif found.confusion is not None:
        more['top_confusions'] = [
            {'label': label, 'predicted': predicted, 'count': count}
            for label, predicted, count in found.confusion.top(TOP_CONFUSIONS)
        ]
    return {
        **found.metrics,
        **found.per_class,
        'num_errors': None if found.is_graded else found.num_errors,
        'num_units': found.num_units,
        **more,
    }


def _classifier_from_json(value: Mapping, cells: Mapping[str, np.ndarray] | None) -> ClassifierResult:
    counts = ('num_errors', 'num_units')
    lists = {name: row for name, row in value.items() if isinstance(row, list)}
    dense, confusion = lists.pop('confusion', None), None
    lists.pop('top_confusions', None)
    if cells is not None:
        confusion = Confusion(int(cells['num_classes']), cells['label'], cells['predicted'], cells['count'])
    elif dense is not None:
        confusion = Confusion.from_dense(np.array(dense, np.int64))
    rows = known((name, tuple[float, ...], row) for name, row in lists.items())
    return ClassifierResult(
        metrics=numbers({k: v for k, v in value.items() if k not in counts}),
        is_graded=value.get('is_graded') is True,
        per_class={name: np.array(row, np.float64) for name, row in rows.items()},
        confusion=confusion,
        intervals=_intervals(value, 'ci'),
        **known((name, int, value[name]) for name in counts if name in value),
    )


def _score_to_json(score: ScoreResult) -> dict[str, Any]:
    optional = {
        'ci': score.intervals,
        'no_ci': score.no_interval,
        'limits': score.limits,
        'calibration': score.calibration,
        'calibrated': score.calibrated,
        'working_points': score.working_points,
    }
    return {
        **score.metrics,
        **{name: value for name, value in optional.items() if value},
        'notes': score.notes,
        'role': score.role,
    }


def _score_from_json(name: str, value: Mapping) -> ScoreResult:
    kinds = (
        ('notes', tuple[str, ...]),
        ('role', str),
        ('calibrated', CalibratedScore),
        ('working_points', tuple[WorkingPoint, ...]),
    )
    more = known((key, kind, value[key]) for key, kind in kinds if key in value)
    if 'role' not in more and name in SCORES:
        # Older versions knew scores by their names.
        more['role'] = SCORES[name].role
    return ScoreResult(
        metrics=numbers(value),
        intervals=_intervals(value, 'ci'),
        no_interval=known((k, str, v) for k, v in part(value, 'no_ci').items()),
        limits=_intervals(value, 'limits'),
        calibration=numbers(part(value, 'calibration')),
        **more,
    )


def _class_failures_to_json(found: ClassFailures) -> dict[str, Any]:
    """Return the figures per class, each metric as {class: value} without the classes that leave it undefined."""
    scores = {
        name: {
            metric: {str(c): value for c, value in zip(found.classes, values, strict=True) if math.isfinite(value)}
            for metric, values in of_score.items()
        }
        for name, of_score in found.scores.items()
    }
    return {**to_json(replace(found, scores={})), 'scores': scores}


def _class_failures_from_json(value: Mapping) -> ClassFailures:
    found: ClassFailures = dataclass_from_json(ClassFailures, {k: v for k, v in value.items() if k != 'scores'})
    scores = {
        str(name): {
            str(metric): tuple(numbers(part(of_score, metric)).get(str(c), math.nan) for c in found.classes)
            for metric in of_score
        }
        for name, of_score in part(value, 'scores').items()
        if isinstance(of_score, Mapping)
    }
    return replace(found, scores=scores)


def _slice_to_json(found: Slice) -> dict[str, Any]:
    """Return a slice with its scores laid out as those of all units are."""
    scores = {name: {**score.metrics, 'ci': score.intervals} for name, score in found.scores.items()}
    return {**to_json(replace(found, scores={})), 'scores': scores}


def _slice_from_json(value: Mapping) -> Slice:
    found: Slice = dataclass_from_json(
        Slice, {'by': '', 'name': '', **{k: v for k, v in value.items() if k != 'scores'}}
    )
    rows = {str(name): row for name, row in part(value, 'scores').items() if isinstance(row, Mapping)}
    return replace(found, scores={name: SliceScore(numbers(row), _intervals(row, 'ci')) for name, row in rows.items()})


def _intervals(value: Mapping, name: str) -> dict[str, Interval]:
    return known((str(metric), Interval, ends) for metric, ends in part(value, name).items())


def curves_to_json(curves: Mapping[str, ScoreCurves]) -> dict[str, Any]:
    """Return the content of curves.json."""
    return to_json(
        {
            name: {
                'counts': {'threshold': c.threshold, 'units': c.units, 'correct': c.correct},
                'histogram': {'edges': c.edges, 'correct': c.in_bins_correct, 'wrong': c.in_bins_wrong},
            }
            for name, c in curves.items()
        }
    )


def curves_from_json(value: Any) -> dict[str, ScoreCurves]:
    """Return what `curves_to_json` wrote; a score whose curves are incomplete is left out."""
    found = {}
    for name, row in (value if isinstance(value, Mapping) else {}).items():
        counts, histogram = part(row, 'counts'), part(row, 'histogram')
        if counts.keys() >= {'threshold', 'units', 'correct'} and histogram.keys() >= {'edges', 'correct', 'wrong'}:
            found[str(name)] = ScoreCurves(
                np.asarray(counts['threshold'], np.float64),
                np.asarray(counts['units'], np.int64),
                np.asarray(counts['correct'], np.int64),
                np.asarray(histogram['edges'], np.float64),
                np.asarray(histogram['correct'], np.int64),
                np.asarray(histogram['wrong'], np.int64),
            )
    return found


# context.json.


def run_to_json(run: RunDescription, seeds: tuple[SeedResult, ...] = ()) -> dict[str, Any]:
    """Return the content of context.json."""
    found = {f.name: getattr(run, f.name) for f in dataclasses.fields(run) if f.name not in ('metrics', 'scores')}
    found['train_targets'] = None if run.train_targets is None else targets_to_json(run.train_targets)
    found['definitions'] = {'metrics': run.metrics, 'scores': run.scores}
    if seeds:
        found['seeds'] = [{'seed': s.seed, 'metrics': measures_to_json(s.measures)} for s in seeds]
    return to_json(found)


def run_from_json(value: Any) -> tuple[RunDescription, tuple[SeedResult, ...]]:
    """Return what `run_to_json` wrote."""
    value = value if isinstance(value, Mapping) else {}
    definitions = part(value, 'definitions')
    found = known(
        (name, hint, value[name])
        for name, hint in hints(RunDescription).items()
        if name in value and name not in ('train_targets', 'metrics', 'scores', 'interval')
    )
    # Older versions kept the level of the intervals in the config alone.
    level = value.get('interval', part(part(value, 'config'), 'evaluate').get('interval'))
    seeds = tuple(
        SeedResult(int(row['seed']), measures_from_json(row.get('metrics')))
        for row in value.get('seeds') or ()
        if isinstance(row, Mapping) and isinstance(row.get('seed'), int)
    )
    targets = value.get('train_targets')
    run = RunDescription(
        train_targets=targets_from_json(targets) if isinstance(targets, Mapping) else None,
        metrics={name: metric_from_json(name, row) for name, row in part(definitions, 'metrics').items()},
        scores={name: _score_description(name, row) for name, row in part(definitions, 'scores').items()},
        interval=float(level) if isinstance(level, float) else 0.95,
        **{'dataset': DatasetDescription(), **found},
    )
    return run, seeds


def metric_from_json(name: str, value: Any) -> MetricDescription:
    """Return a metric's description; of an older version's, what it lacks is what the metric says today."""
    value = value if isinstance(value, Mapping) else {}
    today = METRICS[name].describe() if name in METRICS else MetricDescription(label=name.replace('_', ' '))
    return dataclass_from_json(MetricDescription, {**to_json(today), **value})


def _score_description(name: str, value: Any) -> ScoreDescription:
    value = value if isinstance(value, Mapping) else {}
    if 'role' not in value:
        value = {**value, 'role': SCORES[name].role if name in SCORES else 'bound' if value.get('reads_label') else ''}
    return dataclass_from_json(ScoreDescription, value)


def targets_to_json(targets: TargetsDescription) -> dict[str, Any]:
    """Return the content of targets.json."""
    found = to_json(targets)
    found['histogram'] = {name: found.pop(name) for name in ('edges', 'correct', 'wrong')}
    return found


def targets_from_json(value: Mapping) -> TargetsDescription:
    """Return what `targets_to_json` wrote."""
    return dataclass_from_json(TargetsDescription, {**value, **part(value, 'histogram')})
