"""Paired differences: which score is better than which by more than chance."""

import htpy as h
import numpy as np

from failpred_jax.report import figures_scores, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Row, Table
from failpred_jax.report.view import View
from failpred_jax.results import Comparison

MOST_DRAWN = 24


@report_section(
    'differences', order=25, title='Paired differences', question='Which score is better by more than chance?'
)
def fill(view: View, section: Section) -> None:
    """Add the differences between scores on the same resampled test sets, drawn and as a table."""
    if not view.comparisons:
        return
    metrics = list(dict.fromkeys(found.metric for found in view.comparisons))
    metric = view.verdict_metric if view.verdict_metric in metrics else metrics[0]
    drawn = _drawn(view, [found for found in view.comparisons if found.metric == metric])
    if drawn:
        _add_figure(section, view, metric, drawn)
    section.add(
        h.details(open=not drawn)[
            h.summary[f'All {words.number(len(view.comparisons))} paired differences'], section.table_html(_table(view))
        ]
    )


def _drawn(view: View, found: list[Comparison]) -> list[Comparison]:
    """Return the differences to draw: those to the best score where they were measured, else all, up to a limit."""
    found = [one for one in found if np.isfinite([one.low, one.high]).all()]
    with_best = [one for one in found if view.best in (one.a, one.b)]
    return (with_best or found)[:MOST_DRAWN]


def _add_figure(section: Section, view: View, metric: str, drawn: list[Comparison]) -> None:
    facts = view.facts(metric)
    figure = figures_scores.paired_differences(
        [f'{found.a}\n{words.MINUS} {found.b}' for found in drawn],
        [found.difference for found in drawn],
        [found.low for found in drawn],
        [found.high for found in drawn],
        view.heading(metric),
        view.scale(metric),
    )
    side = {True: 'Right of 0 the first is better. ', False: 'Left of 0 the first is better. ', None: ''}
    clear = sum(found.low > 0 or found.high < 0 for found in drawn)
    section.add_figure(
        'paired_differences',
        figure,
        f'{side[facts.higher_is_better]}Both scores are measured on the same resampled test sets, so these intervals '
        'say more than whether two single intervals overlap. If an interval contains 0, either score may be better.',
        f'{len(drawn)} paired differences in {facts.label}; {clear} of the intervals exclude 0.',
    )


def _table(view: View) -> Table:
    rows = [
        {
            **{key: getattr(found, key) for key in ('metric', 'a', 'b', 'difference', 'low', 'high', 'a_wins')},
            'p_value': found.p_value,
            'p_adjusted': found.p_adjusted,
            'is_distinguishable': found.is_distinguishable,
        }
        for found in view.comparisons
    ]

    def points(value: float | None, row: Row) -> str:
        return words.points(value, view.scale(row['metric']))

    has_p = any(words.is_number(found.p_adjusted) for found in view.comparisons)
    columns = [
        Column('metric', 'metric', lambda value, _: view.heading(value)),
        Column('a', 'first'),
        Column('b', 'second'),
        Column('difference', 'difference', points, True, 'first minus second'),
        Column('low', 'from', points, True, 'lower end of the interval'),
        Column('high', 'to', points, True, 'upper end of the interval'),
        Column('a_wins', 'first is better', lambda value, _: words.percent(value, 0), True, 'share of resamples'),
    ]
    if has_p:
        hint = 'p-value of no difference, corrected for all comparisons with the second score by this metric'
        columns.append(Column('p_adjusted', 'p, corrected', lambda value, _: words.number(value, 2), True, hint))
    columns.append(Column('is_distinguishable', 'distinguishable', _yes_or_no, hint='whether it is more than chance'))
    level = f'{view.run.interval * 100:g}{words.THIN}%'
    caption = f'First minus second, in percentage points unless marked otherwise, with {level} intervals.'
    return Table('paired_differences', caption, columns, rows, ['p_value'] if has_p else [])


def _yes_or_no(value: bool, _: Row) -> str:
    return 'yes' if value else 'no'
