"""Where it fails: slices that were found on one half of the units and confirmed on the other."""

from typing import Any

import htpy as h

from failpred_jax.report import words
from failpred_jax.report.cards import picture_cards
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View
from failpred_jax.results.failing import FOLDER, SLICES, TABLE, Failing


@report_section(
    'failing', order=46, title='Where it fails', question='In which units is it wrong more often than it should be?'
)
def fill(view: View, section: Section) -> None:
    """Add the latest search of each kind; nothing where none was made."""
    seen = set()
    for found in view.evaluation.failing:
        if found.kind not in seen:
            seen.add(found.kind)
            _add(section, found)


def _add(section: Section, found: Failing) -> None:
    is_grown = found.kind == 'grown'
    if is_grown:
        section.heading('Kinds of low confidence that are more frequent than before')
    tested = words.number(len(found.slices)) if not is_grown else words.number(found.tried)
    how = (
        f'{words.number(found.tried)} kinds were compared with the earlier units by Fisher\u2019s exact test'
        if is_grown
        else f'{words.number(found.tried)} slices of {", ".join(found.columns)} were looked at on '
        f'{words.number(found.searched)} units; the {tested} that stood out were tested on the other '
        f'{words.number(found.units - found.searched)} by exact binomial tests'
    )
    section.text(
        f'{how}, corrected by Holm\u2019s method: with a probability of {words.percent(1 - found.alpha, 0)}, no '
        + (
            'kind is confirmed that is no more frequent than before.'
            if is_grown
            else 'slice is confirmed that is wrong no more often than the rest.'
        )
        + (
            ' One unit of each group was counted, since those of a group err together.'
            if found.unit == 'groups'
            else ''
        )
    )
    for note in found.notes:
        section.text(note[:1].upper() + note[1:] + ('' if note.endswith('.') else '.'))
    if not found.confirmed:
        section.missing('None stands out beyond chance.')
    if found.slices:
        section.add_table(_table(found))
    for one in found.confirmed:
        section.add(h.h4[one.name])
        first, count = one.exemplars if len(one.exemplars) == 2 else (0, 0)
        rows = found.rows[first : first + count]
        images = None if found.images is None else found.images[first : first + count]
        if images is not None and len(images):
            section.add(picture_cards(images, [(_lines(row), str(row.get('id', ''))) for row in rows]))
        elif rows:
            section.text('To look at: ' + ', '.join(str(row.get('id', '')) for row in rows) + '.')


def _lines(row: Any) -> tuple[str, str]:
    label, predicted = row.get('label', ''), row.get('predicted', '')
    value = row.get('confidence')
    shown = f'confidence {words.number(value, 3)}' if words.is_number(value) else ''
    return (f'{label} \u2192 {predicted}' if label else str(predicted)), shown


def _table(found: Failing) -> Table:
    rows = [
        {**vars(one), 'low': one.interval.low, 'high': one.interval.high, '_muted': not one.is_confirmed}
        for one in found.slices
    ]
    rows = [{name: _plain(value) for name, value in row.items()} for row in rows]

    def rate(value: Any, row: Any) -> h.Node:
        return [words.percent(value, 1), h.small[words.interval(row['low'], row['high'])]]

    if found.kind == 'grown':
        return _grown_table(found, rows, rate)
    columns = [
        Column('name', 'slice'),
        Column('units', found.unit, lambda v, _: words.number(v), True),
        Column('errors', 'wrong', lambda v, _: words.number(v), True),
        Column('rate', 'rate', rate, True, 'exact 95 % interval, each for itself'),
        Column('baseline', 'against', lambda v, _: words.percent(v, 1), True, 'of all, or of its level of confidence'),
        Column('lift', 'times', lambda v, _: words.number(v), True),
        Column('p_adjusted', 'p, corrected', lambda v, _: words.number(v, 2), True),
        Column('is_confirmed', 'confirmed', lambda v, _: 'yes' if v else 'no'),
    ]
    keys = ['low', 'high', 'p_value', 'found_units', 'found_rate']
    caption = (
        f'What the testing units say; slices in gray are not confirmed. Whole: {FOLDER}/{found.name}/{TABLE}, {SLICES}.'
    )
    return Table('failing_slices', caption, columns, rows, keys)


def _grown_table(found: Failing, rows: list[dict[str, Any]], rate: Any) -> Table:
    """Return the table of kinds of low confidence: shares of all units, now and before."""
    names = {'name': 'kind', 'errors': 'of_this_kind', 'units': 'of_all', 'rate': 'share', 'baseline': 'earlier_share'}
    rows = [{names.get(name, name): value for name, value in row.items()} for row in rows]
    columns = [
        Column('kind', 'kind'),
        Column('of_this_kind', 'of this kind', lambda v, _: words.number(v), True),
        Column('of_all', f'of all {found.unit}', lambda v, _: words.number(v), True),
        Column('share', 'share now', rate, True, 'of all new units; exact 95 % interval, each for itself'),
        Column('earlier_share', 'before', lambda v, _: words.percent(v, 1), True, 'of all earlier units'),
        Column('lift', 'times', lambda v, _: words.number(v), True),
        Column('p_adjusted', 'p, corrected', lambda v, _: words.number(v, 2), True),
        Column('is_confirmed', 'confirmed', lambda v, _: 'yes' if v else 'no'),
    ]
    caption = f'Kinds in gray are not confirmed. Whole: {FOLDER}/{found.name}/{TABLE}, {SLICES}.'
    return Table('grown_slices', caption, columns, rows, ['low', 'high', 'p_value'])


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not words.is_number(value) else value
