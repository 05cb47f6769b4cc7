"""What labels were asked for, what those that came back say, and which labels look wrong."""

import math
from typing import Any

import htpy as h

from failpred_jax.report import words
from failpred_jax.report.cards import picture_cards
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View
from failpred_jax.results.labelled import TABLES, Labelled

MOST_CARDS = 40


@report_section(
    'labelling',
    order=66,
    title='Labels',
    question='What should be labeled next, what do the new labels say, and which labels look wrong?',
)
def fill(view: View, section: Section) -> None:
    """Add the latest of each kind; nothing where no labels were asked for, or doubted."""
    seen = set()
    for found in view.evaluation.labelled:
        key = (found.kind, found.strategy)
        if key in seen:
            continue
        seen.add(key)
        {'selection': _selection, 'audit': _audit, 'issues': _issues}.get(found.kind, _nothing)(section, found)


def _nothing(section: Section, found: Labelled) -> None:
    """A later version may know other kinds."""


def _file(found: Labelled) -> str:
    return f'labelling/{found.name}/{TABLES[found.kind]}'


def _selection(section: Section, found: Labelled) -> None:
    section.heading(['To label next, by ', h.b[found.strategy]])
    section.text(
        f'{words.number(found.budget)} of the {words.number(found.units)} units of {found.source}; all of them are in '
        f'{_file(found)}.'
    )
    _notes(section, found)
    _cards(section, found, lambda row: (str(row.get('id', '')), f'predicted {row.get("prediction", "")}'))
    columns = [
        Column('rank', 'rank', lambda v, _: words.number(v), True),
        Column('id', 'unit'),
        Column('prediction', 'predicted'),
        Column('confidence', found.score or 'confidence', lambda v, _: words.number(v, 4), True),
        Column('probability', 'sampling probability', _share, True, 'empty where a rule chose, and not chance'),
        Column('reason', 'why'),
    ]
    section.add_table(Table(f'to_label_{found.strategy}', 'The first units to label.', columns, list(found.rows)))


def _audit(section: Section, found: Labelled) -> None:
    section.heading('What the labels of the audit say')
    for rate in found.rates:
        low, high = rate.interval
        section.add(
            h.p[
                h.strong[f'Of {rate.of}, {words.percent(rate.value, 2)} are wrong'],
                f' ({words.interval(low, high, 2)}), of {words.number(rate.units)} units, from '
                f'{words.number(rate.labels)} labels. A uniform sample of as many labels would leave an interval '
                f'{words.number(rate.uniform_width / (high - low))} times as wide. '
                if high > low
                else '',
            ]
        )
    slope = found.rates[0].slope if found.rates else math.nan
    if math.isfinite(slope) and slope < 0.7:
        section.text(
            f'The model is more confident than these labels allow (slope {words.number(slope)}, 1 where it is '
            'calibrated); the interval takes that into account.'
        )
    section.text(
        'The estimate is unbiased for the units that the audit was drawn from, whatever the confidence is worth. It '
        'says nothing of units that come later.'
    )
    _notes(section, found)


def _issues(section: Section, found: Labelled) -> None:
    section.heading(f'Labels of the {found.strategy} part that look wrong')
    section.text(
        f'{words.number(found.candidates)} of {words.number(found.units)} labels are doubted by confident learning, '
        f'from predictions of models that have not seen them ({words.percent(found.accuracy, 2)} agree with their '
        f'label); {_file(found)} lists these first, then all other predictions that differ from their label. They '
        'are candidates: look at them. Correcting only labels that the model doubts makes it look better than it is.'
    )
    _notes(section, found)

    def lines(row: Any) -> tuple[str, str]:
        return f'{row.get("given", "")} \u2192 {row.get("suggested", "")}?', f'margin {row.get("margin", math.nan):.3f}'

    _cards(section, found, lines)
    columns = [
        Column('rank', 'rank', lambda v, _: words.number(v), True),
        Column('id', 'unit'),
        Column('given', 'label'),
        Column('suggested', 'suggested'),
        Column('confidence', 'its probability', lambda v, _: words.number(v, 4), True),
        Column('margin', 'margin', lambda v, _: words.number(v, 4), True, 'over the probability of the label'),
        Column('candidate', 'doubted', lambda v, _: 'yes' if v else 'no'),
    ]
    section.add_table(Table(f'label_issues_{found.strategy}', 'The most doubtful first.', columns, list(found.rows)))


def _notes(section: Section, found: Labelled) -> None:
    for note in found.notes:
        section.text(note[:1].upper() + note[1:] + ('' if note.endswith('.') else '.'))


def _share(value: Any, row: Any) -> str:
    return words.number(value, 3) if words.is_number(value) else ''


def _cards(section: Section, found: Labelled, lines: Any) -> None:
    if found.images is None:
        return
    rows = found.rows[: min(MOST_CARDS, len(found.images))]
    section.add(picture_cards(found.images, [(lines(row), str(row.get('id', ''))) for row in rows]))
