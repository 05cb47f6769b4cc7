"""Next to the paper: its published results for the same experiment."""

from collections.abc import Callable
from typing import Any

from failpred_jax.report import paper, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Row, Table
from failpred_jax.report.view import View


@report_section('paper', order=27, title='Next to the paper', question='Does this agree with what was published?')
def fill(view: View, section: Section) -> None:
    """Add the paper's results beside those measured, where the paper has this data set and architecture."""
    experiment = paper.experiment_of(view.dataset.name, view.model_name)
    if experiment is None:
        return
    rows = []
    for score, ours, values in paper.comparison(experiment, view.evaluation.scores):
        row: dict[str, Any] = {'score': score, 'ours': ours}
        for metric, value in zip(paper.METRICS, values, strict=True):
            row[f'{metric}_paper'] = value
            row[metric] = view.metric(ours, metric) if ours else None
        rows.append(row)
    columns = [
        Column('score', "paper's score"),
        Column('ours', 'compared with', lambda value, _: value or words.DASH),
    ]
    for metric in paper.METRICS:
        columns.append(Column(metric, f'{view.heading(metric)}, here', _cell(view, metric), True))
        columns.append(Column(f'{metric}_paper', 'paper', _cell(view, metric), True))
    caption = (
        f'{experiment}: {paper.SOURCE}, in percent. The paper trained once, and on these data differences of a few '
        'points change sign with the seed: this checks the order of magnitude, not who is better.'
    )
    section.add_table(Table('paper', caption, columns, rows))


def _cell(view: View, metric: str) -> Callable[[Any, Row], str]:
    return lambda value, _: view.shown(metric, value)
