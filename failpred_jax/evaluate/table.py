"""The table that people read, in markdown that also lines up in a terminal."""

import math
from collections.abc import Mapping, Sequence

from failpred_jax.metrics import Metric, main_columns
from failpred_jax.registry import METRICS
from failpred_jax.results import Measures, RunDescription, ScoreResult

# What a confidence is worth as P(correct), in the table of calibration.
CALIBRATION = ('ece', 'ece_debiased', 'brier', 'nll')


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
    lines += _calibration_table(measures.scores)
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
        f'{title}: accuracy {percent(classifier.metrics.get("accuracy", math.nan))}, '
        f'{classifier.num_errors:,} errors in {classifier.num_units:,} test {run.unit}s '
        '(percent, unless marked otherwise)',
        '',
        *rule_table(['score', *map(heading, columns)], rows),
    ]


def _calibration_table(scores: Mapping[str, ScoreResult]) -> list[str]:
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
        rows.append([name, *cells, found.chosen or '-'])
    if not rows:
        return []
    head = [f'{METRICS[metric].label} {when}' for metric in CALIBRATION for when in ('before', 'after')]
    return [
        '',
        'As P(correct), before and after calibration on validation data (- before: it is not meant as a probability):',
        '',
        *rule_table(['score', *head, 'calibration'], rows),
    ]


def _remarks(measures: Measures, columns: Sequence[Metric], warnings: Sequence[str]) -> list[str]:
    names = {metric.name for metric in columns}
    remarks = [f'{name}: {note}' for name, score in measures.scores.items() for note in score.notes]
    remarks += [f'{name} unavailable: {reason}' for name, reason in measures.unavailable.items()]
    remarks += [
        f'{name} is {reason}' for name, reason in measures.undefined.items() if name.rpartition('.')[2] in names
    ]
    return [*remarks, *measures.notes, *warnings]


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
    return f'{value * metric.scale:.{2 if metric.scale == 100 else 3}f}'


def _cell(score: ScoreResult, metric: Metric) -> str:
    return format_value(score.metrics[metric.name], metric) if metric.name in score.metrics else '-'
