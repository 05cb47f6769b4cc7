"""The page of a monitor: one file beside its state, made of the state and of the rows of its table."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import htpy as h
import numpy as np

from failpred_jax import files
from failpred_jax.monitor import Monitor
from failpred_jax.monitor.estimates import CAVEATS
from failpred_jax.monitor.options import ACCEPTED
from failpred_jax.monitor.words import of_alarm, promise
from failpred_jax.report import figures_monitoring, words
from failpred_jax.report.monitored_units import add_examples, add_moved
from failpred_jax.report.page import document
from failpred_jax.report.section import Section
from failpred_jax.report.tables import Column, Table

# Of longer streams, every second, third, ... window is drawn.
MOST_DRAWN = 600
_SHOWN_ROWS = 40


def build_page(monitor: Monitor, state: Path, pictures: Path | None = None) -> Path:
    """Write NAME.html beside NAME.json and return its path.

    Args:
      monitor: after its latest units.
      state: NAME.json; the rows of NAME.csv are drawn.
      pictures: a folder in which the units' ids are names of pictures; None shows ids alone.
    """
    rows = read_rows(state.with_suffix('.csv'))
    path = state.with_suffix('.html')
    sections = make_sections(monitor, rows, state.stem, pictures)
    for section in sections:
        for table in section.tables:
            if table.name != state.stem:
                files.write_text(path.with_name(f'{table.name}.csv'), words.printable(table.to_csv()))
    heading = h.header[
        h.p('.kicker')['Does it still know when it is wrong?'],
        h.h1['Monitor'],
        h.p('.byline')[f'score {monitor.policy.score} \u00b7 windows of {words.number(monitor.options.window)} units'],
    ]
    files.write_text(path, document(f'Monitor: {monitor.policy.score}', heading, sections))
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a monitor's table, [] where there is none."""
    if not path.is_file():
        return []
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def make_sections(
    monitor: Monitor, rows: list[dict[str, str]], name: str, pictures: Path | None = None
) -> list[Section]:
    """Return the sections of the page."""
    now = Section('now', 'Now', 'Is something wrong?')
    _add_now(monitor, now)
    line = Section('line', 'Along the stream', 'Since when, and by how much?')
    _add_lines(monitor, rows, line, name)
    moved = Section('moved', 'What moved', 'Where do the confidences differ from the reference?')
    add_moved(monitor, moved, name)
    examples = Section('examples', 'Examples', 'What do units from before and after look like?')
    add_examples(monitor, examples, pictures)
    limits = Section('limits', 'Limits', 'What can these numbers not say?')
    limits.add(h.ul[[h.li[text] for text in _limits(monitor)]])
    return [section for section in (now, line, moved, examples, limits) if section.parts]


def _add_now(monitor: Monitor, section: Section) -> None:
    row = monitor.latest
    armed = {alarm.name: alarm for alarm in monitor.armed}
    if monitor.raised:
        said = [of_alarm(armed[name], found) for name, found in monitor.raised.items()]
        section.add(h.div('.warnings')[h.h3[f'{words.count(len(said), "alarm")}'], h.ul[[h.li[text] for text in said]]])
    else:
        section.add(h.div('.lead')[h.p['No alarm has gone off.']])
    tiles = [_tile(words.number(monitor.num_units), 'units', f'in {words.count(monitor.num_windows, "window")}')]
    for method, said in (('difference', 'estimated accuracy'), ('atc', 'estimated accuracy, ATC')):
        if _float(row.get(f'accuracy_{method}')) is not None:
            between = words.interval(row[f'accuracy_{method}_low'], row[f'accuracy_{method}_high'])
            was = f'{between}; the reference: {words.percent(monitor.reference.accuracy)}'
            tiles.append(_tile(words.percent(row[f'accuracy_{method}']), said, was))
    if row:
        first = monitor.actions[0]
        was = f'the reference: {words.percent(float(monitor.reference.accepted.mean()))}'
        tiles.append(_tile(words.percent(row[f'share_{first}']), f'decided: {first}', was))
    if row.get('labeled'):
        between = words.interval(row['labeled_accuracy_low'], row['labeled_accuracy_high'])
        known = f'of {words.count(row["labeled"], "unit")} with a label'
        tiles.append(_tile(words.percent(row['labeled_accuracy']), known, between))
    section.add(h.div('.tiles')[tiles])
    section.text('These are figures of the latest window.' if row else 'No window is complete yet.', promise(monitor))
    section.add(h.ul('.notes')[[h.li[f'{name} is not armed: {reason}'] for name, reason in monitor.off.items()]])


def _tile(value: str, name: str, more: str) -> h.Element:
    return h.div('.tile')[h.b[value], h.span[name], h.small[more]]


def _add_lines(monitor: Monitor, rows: list[dict[str, str]], section: Section, name: str) -> None:
    if not rows:
        return
    drawn = rows[:: -(-len(rows) // MOST_DRAWN)]
    unit = _column(drawn, 'last_unit')
    alarms = sorted({found.unit for found in monitor.raised.values()})

    def spread(key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _column(drawn, key), _column(drawn, f'{key}_low'), _column(drawn, f'{key}_high')

    shown = {
        'mean P(correct), corrected': 'accuracy_difference',
        'ATC': 'accuracy_atc',
        'agreement of models': 'accuracy_agreement',
    }
    methods = {said: spread(key) for said, key in shown.items() if np.isfinite(_column(drawn, key)).any()}
    labeled = spread('labeled_accuracy') if np.isfinite(_column(drawn, 'labeled_accuracy')).any() else None
    section.add_figure(
        f'{name}_accuracy',
        figures_monitoring.accuracy_line(unit, methods, labeled, monitor.reference.accuracy, alarms),
        'One point per window; the band is a 95 % interval of the first line, the dotted line the accuracy of the '
        'reference, '
        'an upright line the unit at which an alarm went off. Without labels these are estimates.',
        'Estimated accuracy of each window along the stream.',
    )
    shares = {action: _column(drawn, f'share_{action}') for action in monitor.actions}
    reference = {monitor.actions[0]: float(monitor.reference.accepted.mean())}
    section.add_figure(
        f'{name}_shares', figures_monitoring.share_lines(unit, shares, reference, alarms),
        f'The dotted line is the share of the reference that is decided {monitor.actions[0]}.',
        'What the policy does with the units of each window.',
    )  # fmt: skip
    promised = next((alarm.limit for alarm in monitor.armed if alarm.name == ACCEPTED), None)
    if np.isfinite(_column(drawn, 'accepted_error')).any():
        said = 'The dashed line is what the policy promises.' if promised is not None else ''
        section.add_figure(
            f'{name}_errors',
            figures_monitoring.error_line(
                unit, spread('accepted_error'), _column(drawn, 'accepted_labeled_error'), promised, alarms
            ),
            f'Of what the first tier accepts. {said}',
            'Estimated error rate among accepted units of each window.',
        )
    evidence = {a.name: _column(drawn, f'log10_e_{a.name}') for a in monitor.armed}
    section.add_figure(
        f'{name}_evidence',
        figures_monitoring.evidence_lines(unit, evidence, {a.name: a.log_level / math.log(10) for a in monitor.armed}),
        'At 1 an alarm goes off. While nothing is over its limit, the evidence drifts down, and reaches 1 at any '
        'time with '
        'the small probability that is promised; lines are cut off at 6.',
        'Evidence of each alarm along the stream.',
    )
    section.add_table(_table(rows, name))


def _table(rows: list[dict[str, str]], name: str) -> Table:
    keys = ('accuracy_difference', 'accuracy_atc', 'labeled_accuracy', 'accepted_error', 'accepted_labeled_error')
    labels = (
        'estimated accuracy',
        'ATC',
        'accuracy by labels',
        'accepted error, estimated',
        'accepted error by labels',
    )

    def show(value: Any, row: Mapping[str, Any]) -> str:
        return words.percent(value)

    columns = [Column('window', 'window', is_numeric=True), Column('last_unit', 'last unit', is_numeric=True)]
    columns += [Column(key, label, show, True) for key, label in zip(keys, labels, strict=True)]
    columns += [Column('alarms', 'alarms')]
    parsed = [{**row, **{key: _float(row.get(key)) for key in keys}} for row in rows[-_SHOWN_ROWS:]]
    caption = f'The latest {len(parsed)} of {words.count(len(rows), "window")}, all of which are in the file.'
    return Table(name, caption, columns, parsed)


def _limits(monitor: Monitor) -> list[str]:
    found = list(CAVEATS)
    num_classes = monitor.reference.num_classes
    if num_classes:
        found[2] += f' With {num_classes} classes that is {words.percent(1 / num_classes)}.'
    found.append(
        'An interval is of the window\u2019s own units, where P(correct) means what it means on the reference; a '
        'shift can '
        'change that too.'
    )
    found.append(
        'Alarms on labels speak of the units whose labels arrive. If those are chosen (the hard ones, say), so is '
        'the figure.'
    )
    if monitor.policy.content.get('not_valid'):
        found.append(
            f'The policy is marked: {monitor.policy.content["not_valid"]}. So are the bounds of the reference.'
        )
    return found


def _column(rows: list[dict[str, str]], key: str) -> np.ndarray:
    return np.array([math.nan if (value := _float(row.get(key))) is None else value for row in rows])


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
