"""What each of several seeds promises: each is a model of its own, with a policy of its own."""

from typing import Any

import htpy as h

from failpred_jax.decide.over_seeds import notes_of_seeds, rows_of_seeds
from failpred_jax.report import words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Row, Table
from failpred_jax.report.view import View


@report_section(
    'promises_of_seeds',
    order=18.5,
    title='Promises of each seed',
    question='What can I promise of each of these models?',
)
def fill(view: View, section: Section) -> None:
    """Add the promises of the seeds side by side; nothing for a run of one seed."""
    found = view.evaluation.seed_decisions
    if not found:
        return
    folders = words.listed([f'seed_{one.seed}/decisions' for one in found])
    section.text(f'Their policies, promises and decisions are in {folders}.')
    columns = [
        Column('seed', 'seed', None, True),
        Column('score', 'decided by'),
        Column('name', 'tier or group'),
        Column('limit', 'limit', lambda v, _: words.number(v, 4), True),
        Column('threshold', 'threshold', lambda v, _: words.number(v, 4), True, 'accepted over it'),
        Column('accepted', 'accepted', _percent, True, 'share of the calibration units'),
        Column('test_accepted', 'accepted of the test units', _percent, True),
        Column('test_value', 'on the test units', _value, True, 'the error rate, or cost, that the limit is of'),
        Column('verdict', 'what they say', lambda v, row: v or row['reason'] or words.DASH),
    ]
    rows = [{**row, '_muted': row['accepted'] is None} for row in rows_of_seeds(found)]
    caption = f'Small numbers are 95{words.THIN}% intervals.'
    section.add_table(Table('promises_of_seeds', caption, columns, rows, ['test_low', 'test_high', 'reason']))
    section.text(*(f'{note[:1].upper()}{note[1:]}.' for note in notes_of_seeds(found)))


def _percent(value: Any, row: Row) -> str:
    return words.percent(value, 2)


def _value(value: Any, row: Row) -> h.Node:
    if value is None:
        return words.DASH
    return [
        words.number(value, 4),
        h.small[f'{words.number(row["test_low"], 4)} to {words.number(row["test_high"], 4)}'],
    ]
