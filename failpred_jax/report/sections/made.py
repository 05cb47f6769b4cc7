"""How this was made: everything needed to make it again, and what every word means."""

import json
from collections.abc import Mapping
from typing import Any

from failpred_jax.report import paper, words
from failpred_jax.report.html import Html, join, tag
from failpred_jax.report.section import Section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View, as_mapping


def make(view: View) -> Section:
    """Return the section that closes the page."""
    section = Section('made', 'How this was made', 'Could I make it again, and what does every word mean?')
    section.heading('Data and model')
    section.add(_facts({**_dataset(view), **_model(view)}))
    _add_stages(section, view)
    section.heading('Environment')
    environment = dict(as_mapping(view.context.get('environment')))
    if view.context.get('created'):
        environment = {'created': view.context['created'], **environment}
    if environment:
        section.add(_facts(environment))
    else:
        section.missing('No environment was recorded.')
    _add_definitions(section, view)
    section.heading('Config')
    config = view.context.get('config')
    if config:
        text = json.dumps(config, indent=2, default=str)
        section.add(tag('details', tag('summary', 'Every option of this run'), tag('pre', text)))
    else:
        section.missing('No config: the predictions came from outside (--mode=score).')
    section.add(
        tag(
            'p',
            'Figures are interactive: hover for values, drag to zoom, double-click to go back, click a legend entry to '
            "hide it. Tables lie beside this page as CSV, figures as PNG in figures/. The paper's numbers: ",
            f'{paper.SOURCE}.',
            class_='fine',
        )
    )
    return section


def _dataset(view: View) -> dict[str, Any]:
    names = {
        'name': 'data set',
        'task': 'task',
        'num_classes': 'classes',
        'image_shape': 'image shape',
        'num_train': 'training examples',
        'num_val': 'validation examples',
        'num_test': 'test examples',
    }
    found = {}
    for key, label in names.items():
        value = view.dataset.get(key)
        if value is not None:
            found[label] = ' \u00d7 '.join(map(str, value)) if key == 'image_shape' and _is_list(value) else value
    return found


def _model(view: View) -> dict[str, Any]:
    return {f'model {key}': value for key, value in as_mapping(view.context.get('model')).items()}


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _facts(facts: Mapping[str, Any]) -> Html:
    return tag(
        'dl',
        [tag('div', tag('dt', key.replace('_', ' ')), tag('dd', _value(value))) for key, value in facts.items()],
        class_='facts',
    )


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return join([tag('div', f'{key} {_text(v)}') for key, v in value.items()])
    return _text(value)


def _text(value: Any) -> str:
    if _is_list(value):
        return ', '.join(_text(v) for v in value)
    if isinstance(value, bool) or value is None:
        return {True: 'yes', False: 'no', None: words.DASH}[value]
    return words.number(value, 6) if words.is_number(value) else str(value)


def _add_stages(section: Section, view: View) -> None:
    stages = [as_mapping(stage) for stage in view.context.get('stages') or ()]
    if not stages:
        return
    section.heading('Stages')
    columns = [
        Column('name', 'stage'),
        Column('num_steps', 'steps', lambda v, _: words.number(v), True),
        Column('step', 'kept step', lambda v, _: words.number(v), True, 'the checkpoint that was kept'),
        Column('select_by', 'chosen by', lambda v, _: '' if v is None else str(v)),
        Column('best_value', 'its value', lambda v, _: words.number(v, 4), True),
        Column('seconds', 'time', lambda v, _: words.seconds(v), True),
    ]
    known = [{column.key: stage.get(column.key) for column in columns} for stage in stages]
    section.add_table(Table('stages', 'In the order in which they ran.', columns, known))


def _add_definitions(section: Section, view: View) -> None:
    section.heading('Metrics')
    metrics = as_mapping(view.definitions.get('metrics'))
    if metrics:
        rows = [
            {
                'metric': words.metric_words(name).label,
                'definition': as_mapping(entry).get('definition') or (entry if isinstance(entry, str) else ''),
                'reference': as_mapping(entry).get('reference') or '',
            }
            for name, entry in metrics.items()
        ]
        columns = [Column('metric', 'metric'), Column('definition', 'definition'), Column('reference', 'source')]
        section.add_table(Table('metric_definitions', 'What each number on this page is.', columns, rows))
    else:
        section.missing('The evaluation folder holds no definitions of its metrics.')
    section.heading('Scores')
    scores = as_mapping(view.definitions.get('scores'))
    if scores:
        rows = [
            {
                'score': name,
                'description': _description(view, name),
                'reference': as_mapping(entry).get('reference') or '',
            }
            for name, entry in scores.items()
        ]
        columns = [
            Column('score', 'score'),
            Column('description', 'what it is'),
            Column('reference', 'source'),
        ]
        section.add_table(Table('score_definitions', 'Higher means more confident, always.', columns, rows))
    else:
        section.missing('The evaluation folder holds no descriptions of its scores.')


def _description(view: View, score: str) -> str:
    described = str(view.score_definition(score).get('description') or '')
    bound = 'An upper bound: it reads the true label.' if view.reads_label(score) else ''
    return ' '.join(text for text in (described, bound) if text)
