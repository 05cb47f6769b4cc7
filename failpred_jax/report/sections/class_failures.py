"""Failure metrics within each predicted class: which classes' errors a score finds."""

import math
from typing import Any

from failpred_jax.report import words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View
from failpred_jax.results import ClassFailures


@report_section(
    'class_failures',
    order=55,
    title='Errors by predicted class',
    question='Does the confidence find the errors of every class?',
)
def fill(view: View, section: Section) -> None:
    """Add a table of the predicted classes with the failure metrics of the main scores; all scores in the CSV."""
    found = view.evaluation.measures.per_class
    if found is None or not sum(found.num_errors):
        return
    shown = _shown(view, found)
    note = f' Measured for {found.note}.' if found.note else ''
    sample = ' These are from a sample of pixels.' if view.is_segmentation else ''
    section.text(
        f'A score may rank well over all {view.unit}s and still miss the errors of one class. Each row takes the '
        f'{view.unit}s predicted as one class alone; with few errors its figures say little.{note}{sample}'
    )
    rows = _rows(view, found)
    columns = [
        Column('class', 'predicted class'),
        Column('units', f'{view.unit}s', lambda v, _: words.number(v), True),
        Column('errors', 'errors', lambda v, _: words.number(v), True),
    ]
    keys = []
    for score in found.scores:
        for metric in found.scores[score]:
            key = f'{score}_{metric}'
            if score not in shown:
                keys.append(key)
                continue
            facts = view.facts(metric)
            label = f'{score} {view.heading(metric)}{view.arrow(metric)}'
            columns.append(Column(key, label, lambda v, _, m=metric: view.shown(m, v), True, facts.definition))
    caption = (
        'Most errors first; shares in percent unless marked otherwise. A dash: undefined without an error or without a '
        'correct prediction. The file has all scores.'
    )
    section.add_table(Table('class_failures', caption, columns, rows, keys))


def _shown(view: View, found: ClassFailures) -> list[str]:
    """Return the reference, the best learned score and the best of all, as far as they were measured."""
    wanted = [view.evaluation.measures.reference, *(s for s in view.scores if view.role(s) == 'learned'), view.best]
    return [name for name in dict.fromkeys(wanted) if name in found.scores][:3]


def _rows(view: View, found: ClassFailures) -> list[dict[str, Any]]:
    names = view.class_names
    rows = []
    for k, c in enumerate(found.classes):
        row: dict[str, Any] = {'class': names[c] if c < len(names) else f'class {c}'}
        row |= {'units': found.num_units[k], 'errors': found.num_errors[k]}
        for score, of_score in found.scores.items():
            for metric, values in of_score.items():
                row[f'{score}_{metric}'] = values[k] if math.isfinite(values[k]) else None
        rows.append(row)
    return sorted(rows, key=lambda row: -row['errors'])
