"""Calibration: does a confidence of 90 % mean 90 % right."""

from collections.abc import Mapping

import numpy as np

from failpred_jax.report import curves, figures_calibration, words
from failpred_jax.report.section import Section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View, as_mapping

# The score whose confidence is the class probability after temperature scaling.
TEMPERATURE_SCORE = 'temperature_mcp'


def make(view: View) -> Section:
    """Return the section with the reliability diagrams."""
    section = Section('calibration', 'Calibration', 'Does a confidence of 90 % mean right nine times in ten?')
    diagrams = _diagrams(view)
    if not diagrams:
        section.missing('Reliability diagrams need logits or a score that is a probability; there is none here.')
        return section
    section.text(
        'Points on the dotted line are calibrated; below it the model is more confident than it is right. '
        'Lines through the points are 95 % intervals, bars below count the units of each bin (log axis). Ordering and '
        'calibration are different things: a score may order well and still be off in its numbers.'
    )
    temperature = as_mapping(view.results.metrics.get('calibration')).get('temperature')
    if words.is_number(temperature):
        direction = 'more confident' if temperature > 1 else 'less confident'
        section.text(
            f'The temperature fitted on validation data is {words.number(temperature)}: the raw probabilities were '
            f'{direction} than they should be.'
            if abs(temperature - 1) > 0.005
            else f'The temperature fitted on validation data is {words.number(temperature)}: nothing to correct.'
        )
    elif TEMPERATURE_SCORE not in view.scores:
        section.missing('No temperature was fitted, so there is no diagram after temperature scaling.')
    items, figures = [], []
    for index, (name, bins) in enumerate(diagrams.items()):
        error = curves.calibration_error(bins)
        figure = figures_calibration.reliability(bins['confidence'], bins['accuracy'], bins['count'], name)
        figures.append(figure)
        items.append(
            section.figure_html(
                f'reliability_{index}',
                figure,
                f'ECE {words.percent(error, 2)}, {len(bins["count"])} equal-width bins.',
                f'Reliability diagram of {name}: expected calibration error {words.percent(error, 2)}.',
            )
        )
    section.add_grid(items)
    _add_table(section, view)
    section.add_combined('reliability', figures, 'Reliability diagrams', 3)
    return section


def _diagrams(view: View) -> dict[str, Mapping[str, np.ndarray]]:
    """Return title -> bins, class probabilities before and after temperature scaling first."""
    diagrams = {}
    if view.has_units:
        correct = np.asarray(view.results.correct, bool)
        diagrams['class probability'] = curves.reliability(view.probabilities.max(axis=-1), correct)
        temperature = as_mapping(view.results.metrics.get('calibration')).get('temperature')
        if words.is_number(temperature) and temperature > 0:
            scaled = curves.softmax(view.results.logits, temperature).max(axis=-1)
            diagrams['class probability, temperature scaled'] = curves.reliability(scaled, correct)
    after = [score for score in view.scores if score == TEMPERATURE_SCORE]
    for score in after + [score for score in view.scores if score not in after]:
        if not view.is_probability(score) or view.reads_label(score) or (score == 'mcp' and view.has_units):
            continue
        confidence = view.confidence(score)
        histogram = view.curves(score).histogram
        if confidence is not None and not view.is_subsample:
            diagrams[score] = curves.reliability(confidence, view.results.correct)
        elif histogram is not None and histogram['edges'][0] >= 0 and histogram['edges'][-1] <= 1:
            diagrams[score] = curves.reliability_of_histogram(**histogram)
    return diagrams


def _add_table(section: Section, view: View) -> None:
    scores = [score for score in view.scores if view.calibration(score) and not view.reads_label(score)]
    if not scores:
        return
    names = list(dict.fromkeys(name for score in scores for name in view.calibration(score)))
    columns = [Column('score', 'score')]
    for name in names:
        columns.append(Column(name, view.metric_words(name).label, _cell(name), True, view.metric_words(name).meaning))
    rows = [{'score': score, **view.calibration(score), '_marked': score == view.best} for score in scores]
    caption = 'Each confidence read as the probability of being right; gaps in percent, Brier and NLL as they are.'
    section.add_table(Table('calibration', caption, columns, rows))


def _cell(name: str):
    return lambda value, _: words.metric_value(name, value)
