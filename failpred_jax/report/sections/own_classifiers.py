"""Several classifiers, or dropout passes, as one classifier with predictions and errors of its own."""

from typing import Any

from failpred_jax.report import words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View
from failpred_jax.results import Measures

# Field of `Measures.own` -> what it is.
KINDS = {'ensemble': 'The ensemble of several seeds', 'mc_dropout': 'The mean of the dropout passes'}


@report_section(
    'own_classifiers',
    order=28,
    title='As classifiers of their own',
    question='What if the averaged probabilities also made the predictions?',
)
def fill(view: View, section: Section) -> None:
    """Add a table for each group of samples that is a classifier of its own; nothing without one."""
    found = view.evaluation.measures.own
    if not found:
        return
    section.text(
        'The tables above judge every score on the predictions of one classifier, so that they can be compared. '
        'Averaged probabilities also predict classes of their own, with other errors. The figures here are about those '
        'errors and do not compare with the tables above.'
    )
    for kind, own in found.items():
        _add(section, view, kind, own)


def _add(section: Section, view: View, kind: str, own: Measures) -> None:
    accuracy, units = own.classifier.metrics.get('accuracy'), words.count(own.classifier.num_units, f'test {view.unit}')
    section.heading(KINDS.get(kind, kind))
    section.text(
        f'It is right on {words.percent(accuracy, 2)} of the {units} and wrong on '
        f'{words.number(own.classifier.num_errors)}; the single classifier is wrong on {words.number(view.num_errors)}.'
    )
    measured = {name for score in own.scores.values() for name in score.metrics}
    metrics = [name for name in view.columns if name in measured]
    columns = [Column('score', 'score')]
    for metric in metrics:
        facts = view.facts(metric)
        label = view.heading(metric) + view.arrow(metric)
        columns.append(Column(metric, label, lambda v, _, m=metric: view.shown(m, v), True, facts.definition))
    rows: list[dict[str, Any]] = [{'score': name, **score.metrics} for name, score in own.scores.items()]
    caption = 'How well its own confidences find its own errors; shares in percent unless marked otherwise.'
    section.add_table(Table(f'own_{kind}', caption, columns, rows))
