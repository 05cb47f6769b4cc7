"""What can be promised, at which threshold, what happens to the rest, and how to deploy it."""

import math
from collections.abc import Sequence
from typing import Any

import htpy as h

from failpred_jax.report import words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Row, Table
from failpred_jax.report.view import View
from failpred_jax.results.decisions import Decided, Guarantee, SetsResult


@report_section(
    'promises',
    order=18,
    title='Promises',
    question='What can I promise, at which threshold, what happens to the rest, and how do I deploy it?',
)
def fill(view: View, section: Section) -> None:
    """Add the guarantees with their thresholds, the rest, and how to apply the policy; nothing without decisions."""
    decided = view.evaluation.decisions
    if decided is None:
        return
    _add_promises(section, decided)
    section.heading('What happens to the rest')
    section.add_table(_flow(decided))
    section.text(decided.impossible)
    if decided.costs:
        section.add_table(_costs(decided))
    section.heading('How to deploy it')
    _add_deployment(section, decided)
    section.heading('Other promises that could be made')
    if decided.menu:
        section.text(
            'These limits hold all at once, so one of them may still be chosen: each was tested at a part of delta '
            'and therefore accepts less than a limit that was named beforehand.'
        )
        section.add_table(_table('promised_limits', decided.menu, decided.unit, 'limit', 'Strictest last.'))
    if decided.groups:
        section.add_table(
            _table(
                'promised_groups', decided.groups, decided.unit, 'predicted class or group',
                'One threshold for each, all promises together. The true class is not known when a decision is due.',
            )
        )  # fmt: skip
    if decided.sets is not None:
        _add_sets(section, decided, decided.sets)
    for note in decided.notes:
        section.text(note[:1].upper() + note[1:] + ('' if note.endswith('.') else '.'))


def _add_promises(section: Section, decided: Decided) -> None:
    unit = decided.unit
    section.text(
        [
            'Decided by ', h.strong[decided.score], f' ({decided.chosen}), and certified on '
            f'{words.number(decided.calibration)} calibration {unit}s that nothing else has read; '
            f'{words.percent(decided.error_rate, 2)} of them are predicted wrongly.',
        ]
    )  # fmt: skip
    for found in decided.guarantees:
        threshold = _threshold(found)
        if not found.is_certified:
            section.missing([h.strong[found.name], f': {found.reason}'])
            continue
        section.add(
            h.p[
                h.strong[f'{found.name}{f" (confidence over {threshold})" if threshold else ""}: '],
                found.statement[:1].upper() + found.statement[1:] + '. ',
                _verdict(found, unit),
            ]
        )
        if found.invalid:
            section.missing(found.invalid[:1].upper() + found.invalid[1:] + '.')
    first = next((found for found in decided.guarantees if found.is_certified), None)
    if first is not None:
        section.text(f'It needs: {first.assumption}.', f'It says {first.not_said}.')


def _threshold(found: Guarantee) -> str:
    return words.number(found.threshold, 4) if math.isfinite(found.threshold) else ''


def _verdict(found: Guarantee, unit: str) -> str:
    seen = found.verdict
    if seen is None or not seen.units:
        return ''
    if found.kind == 'cost':
        value, ends = (
            words.number(seen.value),
            f'{words.number(seen.interval.low)} to {words.number(seen.interval.high)}',
        )
    else:
        value, ends = words.percent(seen.value, 2), words.interval(seen.interval.low, seen.interval.high, 2)
    if math.isfinite(seen.chance.low):
        return _verdict_on_average(found, unit, value, ends)
    meaning = {
        'confirmed': 'which confirms it: all of the interval keeps the limit',
        'consistent': 'which is consistent with it: the interval holds the limit, so these units cannot tell',
        'contradicted': 'which contradicts it: all of the interval breaks the limit; look for a difference between the '
        'two parts',
    }.get(seen.word, seen.word)
    return f'On {words.number(seen.units)} test {unit}s: {value} ({ends}), {meaning}.'


def _verdict_on_average(found: Guarantee, unit: str, value: str, ends: str) -> str:
    """Return what test units say of a promise on average over draws, which one draw may break unharmed."""
    seen = found.verdict
    assert seen is not None
    which = f' of {seen.of}, the furthest from it of {words.number(seen.together)}' * bool(seen.of)
    chance = words.interval(seen.chance.low, seen.chance.high, 2)
    meaning = {
        'confirmed': f'which confirms it: better than the {chance} that chance gives where it just holds',
        'consistent': f'which is consistent with it: chance gives {chance} where it just holds',
        'contradicted': f'which contradicts it: worse than the {chance} that chance gives where it just holds; look '
        'for a difference between the two parts',
    }[seen.word]
    return (
        f'On {words.number(seen.units)} test {unit}s{which}: {value} ({ends}), {meaning}, in the '
        f'draw of the calibration {unit}s as in that of the test {unit}s.'
    )


def _percent(value: Any, row: Row) -> str:
    return words.percent(value, 2)


def _flow(decided: Decided) -> Table:
    rows = [
        {
            'action': flow.action,
            'calibration': flow.calibration,
            'test': flow.test if math.isfinite(flow.test) else None,
            'units': flow.units,
            'errors': flow.errors,
            'error_rate': flow.errors / flow.units if flow.units else None,
        }
        for flow in decided.flow
    ]
    columns = [
        Column('action', 'action'),
        Column('calibration', 'calibration units', _percent, True, 'share'),
        Column('test', 'test units', _percent, True, 'share'),
        Column('units', 'test units, number', lambda v, _: words.number(v), True),
        Column('errors', 'wrong', lambda v, _: words.number(v), True),
        Column('error_rate', 'error rate', _percent, True),
    ]
    return Table(
        'what_happens',
        'What this policy does with the units; those of stricter tiers are not counted again.',
        columns,
        rows,
    )


def _costs(decided: Decided) -> Table:
    rows = [
        {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in vars(cost).items()}
        for cost in decided.costs
    ]
    columns = [
        Column('rule', 'rule'),
        Column('threshold', 'P(correct) from', lambda v, _: words.number(v, 4), True),
        Column('calibration', 'calibration units', lambda v, _: words.number(v, 4), True),
        Column('test', 'test units', lambda v, _: words.number(v, 4), True),
    ]
    return Table('costs', 'Mean cost of a unit under each rule; only a promised cost is a promise.', columns, rows)


def _add_deployment(section: Section, decided: Decided) -> None:
    of_groups = ', groups=predicted' if decided.policy.get('groups') else ''
    code = (
        'import apply  # failpred_jax/apply.py, which needs NumPy alone: copy it\n'
        f"policy = apply.read_policy('decisions/policy.json', model='{decided.model}')\n"
        f'actions = apply.decide(policy, confidence{of_groups}).names()  # confidence: {decided.score}\n'
    )
    section.add(h.pre[h.code[code]])
    section.text(
        'The digest is that of this model: a policy is refused for another one, which needs a certificate of its own. '
        'decisions/decisions.csv holds the decision of every test unit, decisions/guarantees.json the promises.'
    )


def _table(name: str, found: Sequence[Guarantee], unit: str, label: str, caption: str) -> Table:
    rows = [
        {
            'name': one.name,
            'threshold': one.threshold if math.isfinite(one.threshold) else None,
            'coverage': one.coverage if one.is_certified else None,
            'units': one.units,
            'test_error_rate': one.verdict.value if one.verdict is not None and one.verdict.units else None,
            'verdict': one.reason or (one.verdict.word if one.verdict is not None else ''),
            '_muted': not one.is_certified,
        }
        for one in found
    ]
    columns = [
        Column('name', label),
        Column('threshold', 'threshold', lambda v, _: words.number(v, 4), True, 'accepted over it'),
        Column('coverage', 'accepted', _percent, True, 'share of the calibration units'),
        Column('units', 'calibration units', lambda v, _: words.number(v), True),
        Column('test_error_rate', 'test error rate', _percent, True, 'errors among accepted'),
        Column('verdict', f'what the test {unit}s say, or why nothing is promised'),
    ]
    return Table(name, caption, columns, rows)


def _add_sets(section: Section, decided: Decided, sets: SetsResult) -> None:
    section.heading('Sets instead of single classes')
    promise = sets.promise
    section.text(
        f'{promise.statement[:1].upper()}{promise.statement[1:]} ({sets.method.upper()}). '
        + _verdict(promise, decided.unit),
        f'It says {promise.not_said}.',
    )
    if promise.invalid:
        section.missing(promise.invalid[:1].upper() + promise.invalid[1:] + '.')
    section.text(sets.law_says)
    for note in sets.notes:
        section.text(note[:1].upper() + note[1:] + '.')
    rows = [
        {'kind': kind, **{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in vars(row).items()}}
        for kind, found in sets.rows.items()
        for row in found
    ]
    if not rows:
        return
    columns = [
        Column('kind', 'of'),
        Column('name', 'which'),
        Column('units', 'test units', lambda v, _: words.number(v), True),
        Column(
            'coverage', 'covered',
            lambda v, row: [words.percent(v), h.small[words.interval(row['low'], row['high'])]], True,
        ),
        Column('gap', 'gap to the promise', lambda v, _: _signed(v), True, 'over 0: more than promised'),
        Column('size', 'classes in a set', lambda v, _: words.number(v), True, 'mean'),
    ]  # fmt: skip
    caption = (
        f'Small numbers are exact 95{words.THIN}% intervals. A class or group is promised nothing of its own, unless '
        'sets are made by it; a few under the promise are what chance gives.'
    )
    section.add_table(Table('sets', caption, columns, rows, ['low', 'high']))


def _signed(value: Any) -> str:
    if not words.is_number(value):
        return words.DASH
    return ('+' if value >= 0 else '\u2212') + words.percent(abs(value))
