"""The table that people read, in markdown that also lines up in a terminal."""

import math
from collections.abc import Iterable, Mapping, Sequence

from failpred_jax.errors import numbered
from failpred_jax.evaluate.operating import PER_CLASS
from failpred_jax.metrics import Metric, compared, main_columns
from failpred_jax.metrics.debiased_calibration import BIASED
from failpred_jax.registry import METRICS
from failpred_jax.results import (
    ClassifierResult,
    Interval,
    Measures,
    RunDescription,
    ScoreResult,
    Slice,
    WorkingPoint,
)

# What a confidence is worth as P(correct), in the table of calibration.
CALIBRATION = ('ece', 'ece_debiased', 'brier', 'nll')
# Behind the name of a score that estimates something else than P(correct).
ESTIMATES = '\u2020'
# In the table of predicted classes: those with most errors, and the first metrics that scores are compared by.
SHOWN_CLASSES, SHOWN_METRICS = 20, 2


def to_markdown(measures: Measures, run: RunDescription) -> str:
    """Return the table of an evaluation, and below it what it cannot show."""
    columns = shown_columns(measures.scores)
    bounds = [name for name, score in measures.scores.items() if score.is_bound]
    lines = _score_table(run.dataset.name, measures, run)
    if measures.best:
        lines += [
            '',
            '= among the best: a set that holds every score that is truly the best with '
            f'{run.interval:.0%} confidence (max-T over all pairs)',
        ]
    if bounds:
        lines += ['', '\\* reads the label: an upper bound, not a score that can be used']
    remarks = _remarks(measures, columns, run.warnings)
    if remarks:
        lines += ['', *(f'- {text}' for text in remarks)]
    for field, own in measures.own.items():
        title = f'{run.dataset.name}, {field} as a classifier with predictions of its own'
        lines += ['', *_score_table(title, own, run)]
    lines += _calibration_table(measures.scores, run)
    lines += _working_points_table(measures.scores)
    lines += _class_table(measures, run)
    lines += _slice_tables(measures, run)
    return '\n'.join(lines) + '\n'


def _score_table(title: str, measures: Measures, run: RunDescription) -> list[str]:
    classifier, columns = measures.classifier, shown_columns(measures.scores)
    rows = [
        [
            f'{name} *' if score.is_bound else name,
            *(_cell(score, metric) + ('=' if name in measures.best.get(metric.name, ()) else '') for metric in columns),
        ]
        for name, score in measures.scores.items()
    ]
    return [
        f'{title}: {_accuracy(classifier)} {classifier.num_units:,} test {run.unit}s '
        '(percent, unless marked otherwise)',
        '',
        *rule_table(['score', *map(heading, columns)], rows),
    ]


def _accuracy(classifier: ClassifierResult) -> str:
    share = percent(classifier.metrics.get('accuracy', math.nan))
    return (
        f'mean grade {share} in'
        if classifier.is_graded
        else f'accuracy {share}, {numbered(classifier.num_errors, "error")} in'
    )


def _calibration_table(scores: Mapping[str, ScoreResult], run: RunDescription) -> list[str]:
    """Return every score as P(correct), before and after the calibration that predicts held-out units best."""
    rows = []
    for name, score in scores.items():
        found = score.calibrated
        if found is None or not found.figures:
            continue
        cells = [
            format_value(found.figures[key][metric], METRICS[metric]) if metric in found.figures.get(key, {}) else '-'
            for metric in CALIBRATION
            for key in ('before', found.after)
        ]
        rows.append([marked_name(name, run), *cells, found.chosen or '-'])
    if not rows:
        return []
    head = [f'{METRICS[metric].label} {when}' for metric in CALIBRATION for when in ('before', 'after')]
    return [
        '',
        'As P(correct), before and after calibration on validation data (- before: it is not meant as a probability):',
        '',
        *rule_table(['score', *head, 'calibration'], rows),
        '',
        *calibration_notes(scores, run),
    ]


def marked_name(name: str, run: RunDescription) -> str:
    """Return a score's name, marked where it was trained to predict something else than P(correct)."""
    return f'{name} {ESTIMATES}' if name in run.scores and run.scores[name].estimates else name


def calibration_notes(names: Iterable[str], run: RunDescription) -> list[str]:
    """Return the lines below a table of calibration."""
    what = {name: run.scores[name].estimates for name in names if name in run.scores and run.scores[name].estimates}
    return [
        f'- {BIASED}',
        *(f'- {ESTIMATES} {name} was trained to predict {other}, not P(correct).' for name, other in what.items()),
    ]


def _working_points_table(scores: Mapping[str, ScoreResult]) -> list[str]:
    """Return what thresholds that were chosen on validation units accept of the test units, and its errors."""
    found = {name: score.working_points for name, score in scores.items() if score.working_points}
    if not found:
        return []
    aims = [
        f'{"accept" if point.aim == "coverage" else "errors up to"} {point.target * 100:g}'
        for point in next(iter(found.values()))
    ]
    rows = [[name, *map(_accepted, points)] for name, points in found.items()]
    return [
        '',
        'Thresholds chosen on validation data: share of the test data accepted, and errors among it (percent):',
        '',
        *rule_table(['score', *aims], rows),
    ]


def _accepted(point: WorkingPoint) -> str:
    return 'nothing' if math.isnan(point.risk) else f'{point.coverage:.1%}: {point.risk:.2%}'.replace('%', '')


def _class_table(measures: Measures, run: RunDescription) -> list[str]:
    """Return how well the reference and the learned scores find the errors within each predicted class."""
    found = measures.per_class
    learned = [name for name, score in measures.scores.items() if score.role == 'learned']
    shown = [name for name in dict.fromkeys([measures.reference, *learned]) if found and name in found.scores]
    if found is None or not shown or not sum(found.num_errors):
        return []
    order = sorted(range(len(found.classes)), key=lambda k: -found.num_errors[k])[:SHOWN_CLASSES]
    metrics = list(found.scores[shown[0]])[:SHOWN_METRICS]
    names = dict(enumerate(run.dataset.class_names))
    rows = [
        [
            str(names.get(found.classes[k], found.classes[k])),
            f'{found.num_units[k]:,}',
            f'{found.num_errors[k]:,}',
            *(format_value(found.scores[name][metric][k], METRICS[metric]) for name in shown for metric in metrics),
        ]
        for k in sorted(order)
    ]
    head = [f'{name} {METRICS[metric].label}' for name in shown for metric in metrics]
    num = run.dataset.num_classes or len(found.classes)
    most = f', the {len(order)} of {num:,} with most errors' if len(order) < num else ''
    title = f'Within each predicted class{most} (percent; undefined without an error or without a correct prediction):'
    return ['', title, '', *rule_table(['predicted', f'{run.unit}s', 'errors', *head], rows)]


def _remarks(measures: Measures, columns: Sequence[Metric], warnings: Sequence[str]) -> list[str]:
    names = {metric.name for metric in columns}
    remarks = [f'{name}: {note}' for name, score in measures.scores.items() for note in score.notes]
    remarks += [f'{name} unavailable: {reason}' for name, reason in measures.unavailable.items()]
    remarks += [
        f'{name} is {reason}'
        for name, reason in measures.undefined.items()
        if name.rpartition('.')[2] in names and not name.startswith(PER_CLASS)
    ]
    return [*remarks, *measures.notes, *warnings]


def _slice_tables(measures: Measures, run: RunDescription) -> list[str]:
    """Return a table for each column that units were told apart by, with the figures of the best score."""
    lines: list[str] = []
    best = best_score(measures)
    for by in dict.fromkeys(one.by for one in measures.slices):
        found = [one for one in measures.slices if one.by == by]
        metrics = [
            m for m in main_columns() if any(m.name in s.scores[best].metrics for s in found if best in s.scores)
        ]
        rows = [
            [
                one.name,
                f'{one.num_units:,}',
                *([f'{one.num_groups:,}'] if found[0].num_groups else []),
                *([] if measures.classifier.is_graded else [f'{one.num_errors:,}']),
                _with_ends(one.accuracy, one.accuracy_interval, 100),
                *(_slice_cell(one, best, metric) for metric in metrics),
            ]
            for one in found
        ]
        groups = ['groups'] if found[0].num_groups else []
        shares = ['mean grade'] if measures.classifier.is_graded else ['errors', 'accuracy']
        lines += ['', f'By {by}: {best}, with {run.interval:.0%} intervals, each for itself (percent, unless marked '
                  'otherwise):', '']  # fmt: skip
        lines += rule_table(['slice', f'{run.unit}s', *groups, *shares, *map(heading, metrics)], rows)
        lines += ['', *(f'- {one.name}: {one.unavailable}' for one in found if one.unavailable)]
    return lines


def best_score(measures: Measures) -> str:
    """Return the score that slices are shown for: the best on these data, else the first that can be used."""
    named = [names[0] for metric in compared() if (names := measures.best.get(metric.name))]
    aurc = measures.best.get('aurc') or ()
    usable = [name for name, score in measures.scores.items() if not score.is_bound]
    return next(iter((*aurc, *named, *usable)), '')


def _slice_cell(one: Slice, score: str, metric: Metric) -> str:
    found = one.scores.get(score)
    if found is None or metric.name not in found.metrics:
        return '-'
    ends = found.intervals.get(metric.name, Interval(math.nan, math.nan))
    return _with_ends(found.metrics[metric.name], ends, metric.scale)


def _with_ends(value: float, ends: Interval, scale: float) -> str:
    if math.isnan(value):
        return 'undefined'
    digits = 1 if scale == 100 else 0
    spread = '' if math.isnan(ends.low) else f' ({ends.low * scale:.{digits}f}-{ends.high * scale:.{digits}f})'
    return f'{value * scale:.{digits}f}{spread}'


def shown_columns(scores: Mapping[str, ScoreResult]) -> list[Metric]:
    """Return the metrics of the main table that at least one score has."""
    return [metric for metric in main_columns() if any(metric.name in score.metrics for score in scores.values())]


def rule_table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a markdown table whose columns also line up in a terminal."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        return f'| {" | ".join(padded)} |'

    return [line(head), '|' + '|'.join('-' * (w + 2) for w in widths) + '|', *(line(row) for row in rows)]


def heading(metric: Metric) -> str:
    """Return the title of a column: the label, its factor, and an arrow to the better side."""
    return f'{metric.heading} {arrow(metric.name)}'.rstrip()


def arrow(name: str) -> str:
    """Return the direction in which a metric gets better; '' where there is none."""
    return {True: '↑', False: '↓', None: ''}[METRICS[name].higher_is_better]


def percent(share: float) -> str:
    """Return a share in percent, or 'undefined'."""
    return 'undefined' if math.isnan(share) else f'{share:.2%}'


def format_value(value: float, metric: Metric) -> str:
    """Return a value as a table shows it: times the metric's scale."""
    if math.isnan(value):
        return 'undefined'
    # 'z': what rounds to 0 has no sign.
    return f'{value * metric.scale:z.{2 if metric.scale == 100 else 3}f}'


def _cell(score: ScoreResult, metric: Metric) -> str:
    return format_value(score.metrics[metric.name], metric) if metric.name in score.metrics else '-'
