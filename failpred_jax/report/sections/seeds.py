"""Several seeds: what remains when the whole experiment is repeated."""

from collections.abc import Callable
from typing import Any

import htpy as h
import numpy as np

from failpred_jax.report import figures_seeds, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.sections.calibration import BEFORE_AND_AFTER
from failpred_jax.report.tables import Column, Row, Table
from failpred_jax.report.view import View
from failpred_jax.results import SeedsSummary, Spread


@report_section(
    'seeds', order=90, title='Several seeds', question='Does the ranking hold when everything is trained again?'
)
def fill(view: View, section: Section) -> None:
    """Add means and spreads over seeds, and differences seed by seed; nothing for a single seed."""
    summary = view.evaluation.measures.seeds
    if summary is None or len(summary.seeds) < 2:
        return
    accuracy = summary.classifier.get('accuracy')
    section.text(
        [
            f'The whole experiment was repeated with seeds {words.listed([str(seed) for seed in summary.seeds])}. ',
            f'Accuracy {_in_percent(accuracy)}. ' if accuracy else None,
            'Seeds differ by training; the intervals of one run differ by test sample. A claim needs to hold in both.',
        ]
    )
    section.text(*summary.notes)
    _add_points(section, view)
    section.add_table(_table(view, summary))
    if summary.paired:
        section.heading('Differences seed by seed')
        section.add_table(_paired(view, summary))
    if summary.calibrated:
        section.heading('As P(correct), before and after calibration')
        section.add_table(_calibrated(view, summary))


def _add_points(section: Section, view: View) -> None:
    metric = view.verdict_metric
    found = {}
    for score in view.scores:
        values = [
            one.measures.scores[score].metrics.get(metric, np.nan) if score in one.measures.scores else np.nan
            for one in view.evaluation.seeds
        ]
        if np.isfinite(values).any():
            found[view.label(score)] = values
    if found:
        label = view.facts(metric).label
        section.add_figure(
            'seeds',
            figures_seeds.seed_points(found, label, view.scale(metric)),
            'One point per seed; the vertical stroke is their mean.',
            f'{label} of {len(found)} scores over {len(view.evaluation.seeds)} seeds; means and spreads are in the '
            'table below.',
        )


def _in_percent(spread: Spread) -> str:
    if not words.is_number(spread.mean):
        return words.DASH
    deviation = f' \u00b1 {spread.std * 100:.2f}' if words.is_number(spread.std) else ''
    return f'{spread.mean * 100:.2f}{deviation}{words.THIN}%'


def _table(view: View, summary: SeedsSummary) -> Table:
    scores = [score for score in view.scores if score in summary.scores]
    metrics = [
        metric
        for metric in view.metric_names
        if any(words.is_number(summary.scores[score].get(metric, Spread()).mean) for score in scores)
    ]
    rows = []
    for score in scores:
        row: dict[str, Any] = {'score': score, '_muted': view.is_bound(score)}
        for metric in metrics:
            spread = summary.scores[score].get(metric, Spread())
            row[metric], row[f'{metric}_std'] = spread.mean, spread.std
        rows.append(row)
    columns = [Column('score', 'score', lambda value, _: view.label(value))]
    columns += [
        Column(metric, view.heading(metric) + view.arrow(metric), _spread_cell(view, metric), True)
        for metric in metrics
    ]
    caption = 'Mean and standard deviation over seeds; shares in percent unless marked otherwise.'
    return Table('seeds', caption, columns, rows, [f'{metric}_std' for metric in metrics])


def _spread_cell(view: View, metric: str, key: str = '') -> Callable[[Any, Row], h.Node]:
    def show(value: float, row: Row) -> h.Node:
        std = row[f'{key or metric}_std']
        return [
            view.shown(metric, value),
            h.small[f'\u00b1 {view.shown(metric, std)}'] if words.is_number(std) else None,
        ]

    return show


def _paired(view: View, summary: SeedsSummary) -> Table:
    keys = ('metric', 'a', 'b', 'mean', 'std', 'low', 'high', 'a_wins', 'num_seeds', 'p_value')
    rows = [{key: getattr(found, key) for key in keys} for found in summary.paired]

    def points(value: float, row: Row) -> str:
        return words.points(value, view.scale(row['metric']))

    def deviation(value: float, row: Row) -> str:
        return words.points(value, view.scale(row['metric'])).removeprefix('+')

    columns = [
        Column('metric', 'metric', lambda value, _: view.heading(value)),
        Column('a', 'first'),
        Column('b', 'second'),
        Column('mean', 'mean difference', points, True, 'first minus second'),
        Column('std', 'std', deviation, True, 'standard deviation over seeds'),
    ]
    if any(words.is_number(found.low) for found in summary.paired):
        columns += [Column('low', 'from', points, True), Column('high', 'to', points, True)]
    wins = Column('a_wins', 'first is better', lambda value, _: words.percent(value, 0), True, 'share of seeds')
    columns.append(wins)
    if any(words.is_number(found.p_value) for found in summary.paired):
        columns.append(Column('p_value', 'p', lambda value, _: words.number(value, 2), True, 'of no difference'))
    shown = {column.key for column in columns}
    caption = 'First minus second with the same seed, in percentage points unless marked otherwise.'
    return Table('seed_differences', caption, columns, rows, [key for key in keys if key not in shown])


def _calibrated(view: View, summary: SeedsSummary) -> Table:
    columns, keys = [Column('score', 'score')], []
    rows: list[dict[str, Any]] = [{'score': score} for score in view.scores if score in summary.calibrated]
    for metric in BEFORE_AND_AFTER:
        facts = view.facts(metric)
        for when in ('before', 'after'):
            key = f'{metric}_{when}'
            for row in rows:
                spread = summary.calibrated[row['score']].get(when, {}).get(metric, Spread())
                row[key], row[f'{key}_std'] = spread.mean, spread.std
            label = f'{facts.label} {when}{view.arrow(metric)}'
            columns.append(Column(key, label, _spread_cell(view, metric, key), True, facts.definition))
            keys.append(f'{key}_std')
    caption = (
        'Mean and standard deviation over seeds, each calibrated on its validation data by the method that predicts it '
        'best; see Calibration for what a learned score was trained to predict.'
    )
    return Table('seed_calibration', caption, columns, rows, keys)
