"""The errors one by one: which units were wrong although the score was sure, by their names."""

from typing import Any

import numpy as np

from failpred_jax.report import words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View

# Rows of the file; the page shows the first thousand.
MOST_WRITTEN = 100_000


@report_section(
    'errors', order=65, title='The errors', question='Which predictions are wrong, and which of them were confident?'
)
def fill(view: View, section: Section) -> None:
    """Add the errors, most confident first, with what is known of each unit; only of predictions with names."""
    about, test = view.test.about, view.test
    if view.is_segmentation or view.best is None or (about.ids is None and about.group is None and not about.columns):
        # Of a run's images and of pixels the sections on these show the errors themselves.
        return
    confidence = view.confidence(view.best)
    if confidence is None:
        return
    loss = 1 - test.correct.astype(np.float64)
    wrong = np.flatnonzero(loss > 0)
    if not len(wrong):
        section.missing('No prediction is wrong.')
        return
    # Of grades, what is lost counts: much of a confident prediction is worst.
    weight = np.argsort(np.argsort(confidence[wrong], kind='stable'), kind='stable') * loss[wrong]
    order = wrong[np.argsort(-weight, kind='stable')][:MOST_WRITTEN]
    known: dict[str, np.ndarray] = {}
    known |= {} if about.ids is None else {'id': about.ids}
    known |= {} if about.group is None else {'group': about.group}
    known |= about.columns
    if about.weight is not None:
        known['weight'] = about.weight
    if view.has_units:
        names = np.array(view.class_names)
        known |= {'label': names[test.labels], 'predicted': names[view.predicted]}
    if view.is_graded:
        known['correct'] = test.correct
    rows = [
        {
            'unit': int(i),
            **{name: values[i].item() for name, values in known.items()},
            'confidence': float(confidence[i]),
        }
        for i in order
    ]
    columns = [
        Column('unit', 'unit', lambda v, _: words.number(v), True, 'its place among the evaluated units, from 0')
    ]
    columns += [Column(name, name, lambda v, _: _text(v)) for name in known]
    columns.append(Column('confidence', view.best, lambda v, _: words.number(v, 4), True))
    more = f' The {MOST_WRITTEN:,} worst of {len(wrong):,}.' if len(wrong) > MOST_WRITTEN else ''
    caption = f'Every error, those that {view.best} was most sure of first.{more}'
    if view.is_graded:
        caption = f'Every unit that lost some of its grade, the largest losses with the highest confidence first.{more}'
    section.add_table(Table('errors', caption, columns, rows))


def _text(value: Any) -> str:
    return words.number(value, 6) if words.is_number(value) else str(value)
