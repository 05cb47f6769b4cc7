"""Thresholds chosen on validation data: what they give on test data, which is what a user will meet."""

import math
from typing import Any

import htpy as h

from failpred_jax.report import words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Row, Table
from failpred_jax.report.view import View
from failpred_jax.results import WorkingPoint


@report_section(
    'working_points',
    order=32,
    title='Thresholds chosen beforehand',
    question='What does a threshold give that was chosen on validation data?',
)
def fill(view: View, section: Section) -> None:
    """Add a table of every score at thresholds chosen on validation data; nothing where there were none."""
    measured = view.evaluation.scores
    found = {score: measured[score].working_points for score in view.scores if score in measured}
    if not any(found.values()):
        return
    section.text(
        'Each threshold was chosen on validation data, for a share of predictions to accept or for an error rate to '
        f'allow, and then applied to the test {view.unit}s. The difference between the two columns is what choosing '
        'costs; no guarantee goes with it.'
    )
    if view.is_segmentation:
        section.text('Both are from a sample of pixels. Neighboring pixels err together, so there are no intervals.')
    rows = [_row(view, score, point) for score, points in found.items() for point in points]
    section.add_table(_table(view, rows))


def _row(view: View, score: str, point: WorkingPoint) -> dict[str, Any]:
    kinds = {'coverage': 'accept at least', 'risk': 'error rate at most'}
    numbers = {name: value for name, value in vars(point).items() if name not in ('aim', 'target')}
    aim = f'{kinds.get(point.aim, point.aim)} {words.percent(point.target, 0)}'
    row = {'score': score, 'aim': point.aim, 'target': point.target, 'goal': aim, '_marked': score == view.best}
    return row | {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _table(view: View, rows: list[dict[str, Any]]) -> Table:
    def percent(value: float | None, _: Row) -> str:
        return words.percent(value, 2)

    def with_interval(name: str) -> Any:
        def show(value: float | None, row: Row) -> h.Node:
            ends = words.interval(row[f'{name}_low'], row[f'{name}_high'])
            return [words.percent(value, 2), h.small[ends] if ends else None]

        return show

    columns = [
        Column('score', 'score'),
        Column('goal', 'aim'),
        Column('threshold', 'threshold', lambda v, _: words.number(v, 4), True, 'a dash: none reaches the aim'),
        Column('val_coverage', 'validation: accepted', percent, True),
        Column('val_risk', 'validation: error rate', percent, True, 'too good where it was the aim'),
        Column('coverage', 'test: accepted', with_interval('coverage'), True),
        Column('risk', 'test: error rate', with_interval('risk'), True, 'errors among accepted'),
    ]
    level = f'{view.run.interval * 100:g}{words.THIN}%'
    ends = '' if view.is_segmentation else f' Small numbers are exact {level} intervals of the test values.'
    caption = f'Best score first.{ends} A dash: nothing is accepted.'
    keys = ['aim', 'target', 'coverage_low', 'coverage_high', 'risk_low', 'risk_high']
    return Table('thresholds_from_validation', caption, columns, rows, keys)
