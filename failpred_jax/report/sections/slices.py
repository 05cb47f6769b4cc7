"""By slice: where the model is worse, and where its confidence tells less."""

from collections.abc import Callable, Iterator
from typing import Any

import htpy as h

from failpred_jax.report import words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Row, Table
from failpred_jax.report.view import View
from failpred_jax.results import Interval, Slice


@report_section(
    'slices', order=45, title='By slice', question='Is the model, or its confidence, worse for some of the units?'
)
def fill(view: View, section: Section) -> None:
    """Add the figures of each slice for the best score, and those of all scores as a file."""
    found = view.evaluation.measures.slices
    if not found or view.best is None:
        return
    section.text(
        f'Each slice is measured for itself. Its {view.run.interval * 100:g}{words.THIN}% intervals are not corrected '
        'for the number of slices: of twenty that are alike, one is expected to stand out by chance.'
    )
    for by in dict.fromkeys(one.by for one in found):
        section.heading(['By ', h.b[by]])
        rows = [_row(one, view.best) for one in found if one.by == by]
        section.add_table(_table(view, f'slices_{_file_name(by)}', by, rows))
        notes = [h.li[h.b[one.name], f': {one.unavailable}'] for one in found if one.by == by and one.unavailable]
        section.add(h.ul('.notes')[notes] if notes else None)
    every = [_row(one, score) for one in found for score in (one.scores or [view.best])]
    table = _table(view, 'slices', '', every)
    section.add(h.details[h.summary['All scores in every slice'], section.table_html(table)])


def _file_name(by: str) -> str:
    return ''.join(c if c.isalnum() and c.isascii() else '_' for c in by)[:60]


def _row(one: Slice, score: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        'by': one.by,
        'slice': one.name,
        'score': score,
        'num_units': one.num_units,
        'num_groups': one.num_groups,
        'num_errors': one.num_errors,
        'accuracy': one.accuracy,
        'accuracy_low': one.accuracy_interval.low,
        'accuracy_high': one.accuracy_interval.high,
    }
    of_score = one.scores.get(score)
    if of_score is not None:
        row |= of_score.metrics
        for metric, ends in of_score.intervals.items():
            row |= {f'{metric}_low': ends.low, f'{metric}_high': ends.high}
    return row


def _table(view: View, name: str, by: str, rows: list[dict[str, Any]]) -> Table:
    columns = [] if by else [Column('by', 'by')]
    columns += [Column('slice', by or 'slice'), *([] if by else [Column('score', 'score')])]
    columns.append(Column('num_units', f'{view.unit}s', _whole, True))
    if any(row['num_groups'] for row in rows):
        columns.append(Column('num_groups', 'groups', _whole, True, 'what is resampled together'))
    if not view.is_graded:
        columns.append(Column('num_errors', 'errors', _whole, True))
    columns.append(Column('accuracy', 'mean grade' if view.is_graded else 'accuracy', _cell(view, 'accuracy'), True))
    metrics = [metric for metric in view.columns if any(metric in row for row in rows)]
    for metric in metrics:
        facts = view.facts(metric)
        label = view.heading(metric) + view.arrow(metric)
        columns.append(Column(metric, label, _cell(view, metric), True, facts.definition or facts.meaning))
    ends = [f'{metric}_{end}' for metric in ('accuracy', *metrics) for end in ('low', 'high')]
    caption = (
        f'Metrics of {view.best}, shares in percent unless marked otherwise.'
        if by
        else 'Shares in percent unless marked otherwise.'
    )
    return Table(name, caption, columns, rows, list(ends if not by else ['score', *ends]))


def _whole(value: int, _: Row) -> str:
    return words.number(value)


def _cell(view: View, metric: str) -> Callable[[Any, Row], h.Node]:
    def show(value: float | None, row: Row) -> h.Node:
        ends = Interval(row.get(f'{metric}_low', float('nan')), row.get(f'{metric}_high', float('nan')))
        if not all(map(words.is_number, ends)):
            return view.shown(metric, value)
        return [view.shown(metric, value), h.small[words.DASH.join(_ends(view, metric, ends))]]

    return show


def _ends(view: View, metric: str, ends: Interval) -> Iterator[str]:
    return (view.shown(metric, end, 1) for end in ends)
