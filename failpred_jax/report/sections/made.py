"""How this was made: everything needed to repeat it, and the definition of every term."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import htpy as h

from failpred_jax.report import paper, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View

DATASET = {
    'name': 'data set',
    'task': 'task',
    'num_classes': 'classes',
    'image_shape': 'image shape',
    'num_train': 'training examples',
    'num_val': 'validation examples',
    'num_calibration': 'calibration examples (for certificates alone)',
    'num_test': 'test examples',
}


@report_section(
    'made', order=100, title='How this was made', question='Can I repeat this, and what does every term mean?'
)
def fill(view: View, section: Section) -> None:
    """Add data, model, stages, environment, definitions and config."""
    section.heading('Data and model')
    section.add(_facts({**_dataset(view), **{f'model {key}': value for key, value in view.run.model.items()}}))
    _add_stages(section, view)
    if view.run.seconds:
        section.heading('Time')
        section.text('Seconds of wall clock for what took one or more, besides training.')
        section.add(_facts({what: words.seconds(s) for what, s in view.run.seconds.items() if s >= 1}))
    section.heading('Environment')
    created = {'created': view.run.created} if view.run.created else {}
    environment = {**created, **view.run.environment}
    if environment:
        section.add(_facts(environment))
    else:
        section.missing('Environment unavailable: it was not recorded.')
    _add_definitions(section, view)
    section.heading('Config')
    if view.run.config:
        text = json.dumps(view.run.config, indent=2, default=str)
        section.add(h.details[h.summary['Every option of this run'], h.pre[text]])
    else:
        section.missing('Config unavailable: the predictions were made elsewhere (--mode=score).')
    section.add(
        h.p('.fine')[
            'Figures are interactive: hover for values, drag to zoom, double-click to zoom out, click a legend entry '
            'to hide it. The tables are next to this page as CSV files, the figures as PNG files in figures/. Results '
            f'of the paper: {paper.SOURCE}.'
        ]
    )


def _dataset(view: View) -> dict[str, Any]:
    found = asdict(view.dataset)
    found['image_shape'] = ' \u00d7 '.join(map(str, view.dataset.image_shape))
    return {label: found[key] for key, label in DATASET.items() if found[key]}


def _facts(facts: Mapping[str, Any]) -> h.Element:
    return h.dl('.facts')[[h.div[h.dt[key.replace('_', ' ')], h.dd[_value(value)]] for key, value in facts.items()]]


def _value(value: Any) -> h.Node:
    if isinstance(value, Mapping):
        return [h.div[f'{key} {_text(inner)}'] for key, inner in value.items()]
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ', '.join(_text(inner) for inner in value)
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if value is None:
        return words.DASH
    return words.number(value, 6) if words.is_number(value) else str(value)


def _add_stages(section: Section, view: View) -> None:
    if not view.run.stages:
        return
    section.heading('Stages')
    columns = [
        Column('name', 'stage'),
        Column('num_steps', 'steps', lambda v, _: words.number(v), True),
        Column('step', 'kept step', lambda v, _: words.number(v), True, 'the checkpoint that was kept'),
        Column('select_by', 'chosen by', lambda v, _: view.facts(v).label if v else ''),
        Column('best_value', 'its value', lambda v, _: words.number(v, 4), True),
        Column('seconds', 'time', lambda v, _: words.seconds(v), True),
    ]
    rows = [{column.key: getattr(stage, column.key) for column in columns} for stage in view.run.stages]
    section.add_table(Table('stages', 'In the order in which they ran.', columns, rows))


def _add_definitions(section: Section, view: View) -> None:
    section.heading('Metrics')
    if view.run.metrics:
        rows = [
            {'metric': facts.label or name, 'definition': facts.definition, 'reference': facts.reference}
            for name, facts in view.run.metrics.items()
        ]
        columns = [Column('metric', 'metric'), Column('definition', 'definition'), Column('reference', 'source')]
        section.add_table(Table('metric_definitions', 'What each number on this page is.', columns, rows))
    else:
        section.missing('Definitions of metrics unavailable: the evaluation holds none.')
    section.heading('Scores')
    if view.run.scores:
        rows = [
            {'score': name, 'description': _description(view, name), 'reference': entry.reference}
            for name, entry in view.run.scores.items()
        ]
        columns = [
            Column('score', 'score'),
            Column('description', 'what it is'),
            Column('reference', 'source'),
        ]
        section.add_table(Table('score_definitions', 'For every score, higher means more confident.', columns, rows))
    else:
        section.missing('Descriptions of scores unavailable: the evaluation holds none.')


def _description(view: View, score: str) -> str:
    bound = ' An upper bound: it reads the true label.' if view.is_bound(score) else ''
    return f'{view.description(score).description}{bound}'.strip()
