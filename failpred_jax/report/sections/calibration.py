"""Calibration: does a confidence of 90 % mean 90 % right."""

from collections.abc import Callable, Mapping
from typing import Any

import htpy as h
import numpy as np

from failpred_jax.metrics.debiased_calibration import BIASED
from failpred_jax.report import curves, figures_calibration, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Row, Table
from failpred_jax.report.view import View
from failpred_jax.results import CalibratedScore, Interval

# What a confidence is worth as P(correct), before and after calibration.
BEFORE_AND_AFTER = ('ece', 'ece_debiased', 'brier', 'nll')
CLASS_PROBABILITY = 'class probability'


@report_section(
    'calibration',
    order=40,
    title='Calibration',
    question=f'Does a confidence of 90{words.THIN}% mean right nine times in ten?',
)
def fill(view: View, section: Section) -> None:
    """Add a reliability diagram of every confidence that is meant as a probability, and their calibration metrics."""
    diagrams = _diagrams(view)
    if not diagrams:
        section.missing(
            'Reliability diagrams unavailable: they need logits, or a score that is a probability of being right.'
        )
        _add_calibrated(section, view)
        return
    section.text(
        'Points on the dotted line are calibrated; below it the model is more confident than it is right. '
        f'Vertical lines are 95{words.THIN}% intervals, bars below count the units of each bin (log axis). Ranking and '
        'calibration are different: a score may rank well although its values are off.'
    )
    items, figures = [], []
    for index, (name, bins) in enumerate(diagrams.items()):
        error = _error(view, name, bins)
        figure = figures_calibration.reliability(bins['confidence'], bins['accuracy'], bins['count'], name)
        figures.append(figure)
        items.append(
            section.figure_html(
                f'reliability_{index}',
                figure,
                f'ECE {words.percent(error, 2)}; drawn with {len(bins["count"])} equal-width bins.',
                f'Reliability diagram of {name}: expected calibration error {words.percent(error, 2)}.',
            )
        )
    section.add_grid(items)
    _add_table(section, view)
    _add_calibrated(section, view)
    section.add_combined('reliability', figures, 'Reliability diagrams', 3)


def _diagrams(view: View) -> dict[str, Mapping[str, np.ndarray]]:
    """Return title -> bins, class probabilities first, then the scores from the best down."""
    diagrams = {}
    if view.has_units and not view.is_subsample:
        diagrams[CLASS_PROBABILITY] = curves.reliability(view.class_probability, view.test.correct)
    for score in view.scores:
        # The baseline is the class probability, which has its diagram already.
        is_drawn = view.role(score) == 'baseline' and CLASS_PROBABILITY in diagrams
        if is_drawn or view.is_bound(score) or not view.description(score).is_probability:
            continue
        confidence = view.confidence(score)
        histogram = view.figures(score).histogram
        if confidence is not None and not view.is_subsample:
            diagrams[score] = curves.reliability(confidence, view.test.correct)
        elif histogram is not None and histogram['edges'][0] >= 0 and histogram['edges'][-1] <= 1:
            diagrams[score] = curves.reliability_of_histogram(**histogram)
    return diagrams


def _error(view: View, name: str, bins: Mapping[str, np.ndarray]) -> float:
    """Return the calibration error as it was measured, or of the bins where it was not."""
    scores = view.evaluation.with_role('baseline') if name == CLASS_PROBABILITY else [name]
    measured = [view.evaluation.scores[s].calibration.get('ece') for s in scores if s in view.evaluation.scores]
    return next((ece for ece in measured if words.is_number(ece)), curves.calibration_error(bins))


def _add_table(section: Section, view: View) -> None:
    found = view.evaluation.scores
    scores = [s for s in view.scores if s in found and found[s].calibration and not view.is_bound(s)]
    if not scores:
        return
    metrics = list(dict.fromkeys(name for score in scores for name in found[score].calibration))
    columns = [Column('score', 'score')]
    for metric in metrics:
        facts = view.facts(metric)
        label = view.heading(metric) + view.arrow(metric)
        columns.append(Column(metric, label, _cell(view, metric), True, facts.definition or facts.meaning))
    rows = [{'score': score, **found[score].calibration, '_marked': score == view.best} for score in scores]
    caption = (
        'Each confidence read as the probability of being right. Shares in percent; an arrow shows which direction is '
        'better.'
    )
    section.add_table(Table('calibration', caption, columns, rows))


def _cell(view: View, metric: str) -> Callable[[Any, Row], str]:
    return lambda value, _: view.shown(metric, value)


def _add_calibrated(section: Section, view: View) -> None:
    """Add every score as P(correct), before and after the calibration that predicts held-out units best."""
    found = view.evaluation.scores
    calibrated = {s: c for s in view.scores if s in found and (c := found[s].calibrated) is not None and c.figures}
    if not calibrated:
        return
    section.heading('Every score as P(correct), before and after calibration')
    section.text(
        'Each score was mapped to the probability of being right by Platt scaling, isotonic regression or beta '
        'calibration, fitted on validation data; the map that predicts held-out validation data best is shown. '
        'Calibration changes what a value says, and hardly how it ranks.',
        BIASED,
        *(f'{score} was trained to predict {what}, not P(correct): before calibration, its figures show that.'
          for score in calibrated if (what := view.description(score).estimates)),
    )  # fmt: skip
    section.add_table(_calibrated_table(view, calibrated))
    notes = [[h.b[score], f': {note}'] for score, one in calibrated.items() for note in one.notes]
    section.add(h.ul('.notes')[[h.li[note] for note in notes]] if notes else None)


def _calibrated_table(view: View, calibrated: Mapping[str, CalibratedScore]) -> Table:
    columns, keys = [Column('score', 'score'), Column('calibration', 'calibration')], []
    for metric in BEFORE_AND_AFTER:
        facts = view.facts(metric)
        for when in ('before', 'after'):
            key = f'{metric}_{when}'
            label = f'{facts.label} {when}{view.arrow(metric)}'
            columns.append(Column(key, label, _cell_with_interval(view, metric, key), True, facts.definition))
            keys += [f'{key}_low', f'{key}_high']
    rows = []
    for score, one in calibrated.items():
        row: dict[str, Any] = {'score': score, 'calibration': one.chosen or words.DASH, '_marked': score == view.best}
        for when, key in (('before', 'before'), ('after', one.after)):
            for metric, value in one.figures.get(key, {}).items():
                ends = one.intervals.get(key, {}).get(metric, Interval(np.nan, np.nan))
                row |= {f'{metric}_{when}': value, f'{metric}_{when}_low': ends.low, f'{metric}_{when}_high': ends.high}
        rows.append(row)
    level = f'{view.run.interval * 100:g}{words.THIN}%'
    # A metric that no interval is computed for has none in the file either.
    keys = [key for key in keys if any(words.is_number(row.get(key)) for row in rows)]
    small = f' Small numbers are {level} intervals.' if keys else ''
    caption = f'Dashes before: the score is not meant as a probability. A dash for NLL alone: it is infinite.{small}'
    return Table('calibrated_scores', caption, columns, rows, keys)


def _cell_with_interval(view: View, metric: str, key: str) -> Callable[[Any, Row], h.Node]:
    def show(value: float | None, row: Row) -> h.Node:
        low, high = row.get(f'{key}_low'), row.get(f'{key}_high')
        is_known = words.is_number(low) and words.is_number(high)
        ends = f'{view.shown(metric, low)}{words.DASH}{view.shown(metric, high)}' if is_known else ''
        return [view.shown(metric, value), h.small[ends] if ends else None]

    return show
