"""Between the typed results and JSON: the one place that knows how metrics.json and context.json are laid out.

An undefined number is NaN in memory and null in JSON, as other readers accept neither NaN nor an infinity. What an
older version did not write has its default, what a newer one added is ignored, and what is of the wrong type (somebody
edited the file) counts as missing.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
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

# Above so many classes the confusion matrix is a file of its own, and JSON has its largest cells.
MAX_DENSE_CLASSES = 100
TOP_CONFUSIONS = 100


def to_json(value: Any) -> Any:
    """Return nested dataclasses and containers as plain Python values, what is not finite as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if not _is_absent(f, value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_absent(field: dataclasses.Field, value: Any) -> bool:
    """Return whether a field was never computed, so that it needs no null: it is NaN, and so is its default."""
    found = getattr(value, field.name)
    return isinstance(found, float) and isinstance(field.default, float) and found != found and found != field.default


class _WrongTypeError(Exception):
    """A value is not what the layout says."""


def from_json(kind: Any, value: Any) -> Any:
    """Return a value of JSON as a dataclass, container or number of the annotated kind.

    Raises:
      _WrongTypeError: it cannot be one; the caller takes the default.
    """
    if kind is Any:
        return value
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else from_json(next(a for a in args if a is not type(None)), value)
    if kind is Interval and isinstance(value, list) and len(value) == 2:
        return Interval(*(from_json(float, end) for end in value))
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return _dataclass_from_json(typing.cast(type, kind), value)
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return _known(((str(k), args[1], v) for k, v in value.items()))
    if origin is tuple and isinstance(value, list):
        return tuple(from_json(args[0], v) for v in value)
    if kind is float and value is None:
        return math.nan
    if kind is bool and isinstance(value, bool) or kind is str and isinstance(value, str):
        return value
    if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        return kind(value)
    raise _WrongTypeError(f'{value!r} is no {kind}')


def _known(items: typing.Iterable[tuple[str, Any, Any]]) -> dict[str, Any]:
    """Return name -> value of those (name, kind, value in JSON) that are of their kind."""
    found = {}
    for name, kind, value in items:
        try:
            found[name] = from_json(kind, value)
        except _WrongTypeError:
            continue
    return found


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _dataclass_from_json(kind: Any, value: Mapping) -> Any:
    found = _known((name, hint, value[name]) for name, hint in _hints(kind).items() if name in value)
    try:
        return kind(**found)
    except TypeError as error:  # A field without a default is missing.
        raise _WrongTypeError(str(error)) from error


def _part(value: Any, name: str) -> Mapping:
    """Return value[name] where both are mappings, else an empty one."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _numbers(value: Mapping) -> dict[str, float]:
    """Return the single numbers of a mapping: what is null is NaN."""
    return _known((str(name), float, number) for name, number in value.items())


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
        for name, row in _part(value, 'scores').items()
        if isinstance(row, Mapping)
    }
    plain = _known(
        (name, _hints(Measures)[name], value[name])
        for name in ('unavailable', 'undefined', 'reference', 'best', 'seeds', 'notes')
        if name in value
    )
    rows = value.get('comparisons')
    return Measures(
        classifier=_classifier_from_json(_part(value, 'classifier'), cells),
        scores=scores,
        comparisons=tuple(_known((str(i), Comparison, row) for i, row in enumerate(rows or ())).values()),
        curves=curves_from_json(curves),
        own={str(name): measures_from_json(own) for name, own in _part(value, 'own').items()},
        **plain,
    )


def _classifier_to_json(found: ClassifierResult) -> dict[str, Any]:
    more: dict[str, Any] = {'ci': found.intervals} if found.intervals else {}
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
        'num_errors': found.num_errors,
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
    rows = _known((name, tuple[float, ...], row) for name, row in lists.items())
    return ClassifierResult(
        metrics=_numbers({k: v for k, v in value.items() if k not in counts}),
        per_class={name: np.array(row, np.float64) for name, row in rows.items()},
        confusion=confusion,
        intervals=_intervals(value, 'ci'),
        **_known((name, int, value[name]) for name in counts if name in value),
    )


def _score_to_json(score: ScoreResult) -> dict[str, Any]:
    optional = {
        'ci': score.intervals,
        'no_ci': score.no_interval,
        'limits': score.limits,
        'calibration': score.calibration,
        'calibrated': score.calibrated,
    }
    return {
        **score.metrics,
        **{name: value for name, value in optional.items() if value},
        'notes': score.notes,
        'role': score.role,
    }


def _score_from_json(name: str, value: Mapping) -> ScoreResult:
    kinds = (('notes', tuple[str, ...]), ('role', str), ('calibrated', CalibratedScore))
    more = _known((key, kind, value[key]) for key, kind in kinds if key in value)
    if 'role' not in more and name in SCORES:
        # Older versions knew scores by their names.
        more['role'] = SCORES[name].role
    return ScoreResult(
        metrics=_numbers(value),
        intervals=_intervals(value, 'ci'),
        no_interval=_known((k, str, v) for k, v in _part(value, 'no_ci').items()),
        limits=_intervals(value, 'limits'),
        calibration=_numbers(_part(value, 'calibration')),
        **more,
    )


def _intervals(value: Mapping, name: str) -> dict[str, Interval]:
    return _known((str(metric), Interval, ends) for metric, ends in _part(value, name).items())


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
        counts, histogram = _part(row, 'counts'), _part(row, 'histogram')
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
    definitions = _part(value, 'definitions')
    found = _known(
        (name, hint, value[name])
        for name, hint in _hints(RunDescription).items()
        if name in value and name not in ('train_targets', 'metrics', 'scores', 'interval')
    )
    # Older versions kept the level of the intervals in the config alone.
    level = value.get('interval', _part(_part(value, 'config'), 'evaluate').get('interval'))
    seeds = tuple(
        SeedResult(int(row['seed']), measures_from_json(row.get('metrics')))
        for row in value.get('seeds') or ()
        if isinstance(row, Mapping) and isinstance(row.get('seed'), int)
    )
    targets = value.get('train_targets')
    run = RunDescription(
        train_targets=targets_from_json(targets) if isinstance(targets, Mapping) else None,
        metrics={name: metric_from_json(name, row) for name, row in _part(definitions, 'metrics').items()},
        scores={name: _score_description(name, row) for name, row in _part(definitions, 'scores').items()},
        interval=float(level) if isinstance(level, float) else 0.95,
        **{'dataset': DatasetDescription(), **found},
    )
    return run, seeds


def metric_from_json(name: str, value: Any) -> MetricDescription:
    """Return a metric's description; of an older version's, what it lacks is what the metric says today."""
    value = value if isinstance(value, Mapping) else {}
    known = METRICS[name].describe() if name in METRICS else MetricDescription(label=name.replace('_', ' '))
    return _dataclass_from_json(MetricDescription, {**to_json(known), **value})


def _score_description(name: str, value: Any) -> ScoreDescription:
    value = value if isinstance(value, Mapping) else {}
    if 'role' not in value:
        value = {**value, 'role': SCORES[name].role if name in SCORES else 'bound' if value.get('reads_label') else ''}
    return _dataclass_from_json(ScoreDescription, value)


def targets_to_json(targets: TargetsDescription) -> dict[str, Any]:
    """Return the content of targets.json."""
    found = to_json(targets)
    found['histogram'] = {name: found.pop(name) for name in ('edges', 'correct', 'wrong')}
    return found


def targets_from_json(value: Mapping) -> TargetsDescription:
    """Return what `targets_to_json` wrote."""
    return _dataclass_from_json(TargetsDescription, {**value, **_part(value, 'histogram')})
