"""The tables of shifted sets that people read, in markdown."""

import math
from collections.abc import Sequence

from failpred_jax.results import Interval
from failpred_jax.results.shift_choice import recommend, strangers_of
from failpred_jax.results.shifted import Shifted, ShiftedSet, ShiftValues

# How much of an AURC is shown.
_PER_THOUSAND = 1000
# A smaller difference is one of ties that rounding made or broke.
ROUNDING = 1e-5


def to_table(shifted: Shifted, title: str) -> str:
    """Return what was measured, as text: which score to use, the matrices, and what corruptions do."""
    lines = [f'## {title}: shifted inputs', '']
    choice = recommend(shifted)
    if choice is not None:
        lines += [' '.join(choice.sentences), '']
    for found in shifted.sets:
        right = '' if found.is_strangers else f', accuracy {found.accuracy:.2%}'
        lines.append(f'- {found.name}: {found.description or "given"}; {found.units:,} units{right}')
    labeled = [found for found in shifted.sets if not found.is_strangers]
    strangers = strangers_of(shifted)
    columns = [(found, 'strangers') for found in strangers] + [(found, 'errors') for found in labeled]
    lines += [
        '',
        *_matrix(shifted, 'AUROC (%) of finding the strangers, or the errors of a labeled shift', columns, 'auroc'),
    ]
    joint = [(found, setting) for found in strangers for setting in ('joint_10', 'joint_50')]
    if joint:
        head = 'AURC (x1000) where errors and strangers are rejected, and strangers make 10 or 50 %'
        lines += ['', *_matrix(shifted, head, joint, 'aurc')]
    lines += _severities(shifted)
    level = f'{shifted.interval:.0%}'
    if shifted.reference and shifted.resamples:
        lines += [
            '',
            f'+ better than {shifted.reference}, - worse: the {level} interval of the paired difference is beyond 0',
        ]
    lines += [f'- {note}' for note in shifted.notes]
    return '\n'.join(lines) + '\n'


def _matrix(shifted: Shifted, title: str, columns: Sequence[tuple[ShiftedSet, str]], metric: str) -> list[str]:
    """Return a table of scores x shifts by one metric; the first column is the test set alone."""
    if not columns:
        return []
    names = {'strangers': '', 'errors': '', 'joint_10': ' 10 %', 'joint_50': ' 50 %'}
    head = ['score', 'test errors', *(f'{found.name}{names[setting]}' for found, setting in columns)]
    rows = [head, ['---', *['---:'] * (len(head) - 1)]]
    for name, alone in shifted.errors.items():
        of = [found.scores.get(name, {}).get(setting) for found, setting in columns]
        rows.append([name, *(_cell(values, metric) for values in (alone, *of))])
    return [f'### {title}', '', *('| ' + ' | '.join(row) + ' |' for row in rows)]


def _cell(values: ShiftValues | None, metric: str) -> str:
    value = math.nan if values is None else values.metrics.get(metric, math.nan)
    if values is None or math.isnan(value):
        return 'n/a'
    shown = f'{100 * value:.2f}' if metric != 'aurc' else f'{_PER_THOUSAND * value:.3f}'
    return shown + sign_of(values.differences.get(metric), is_lower_better=metric != 'auroc')


def sign_of(difference: Interval | None, is_lower_better: bool) -> str:
    """Return '+' where a difference from the reference is better beyond chance, '-' where it is worse, else ''."""
    if difference is None or math.isnan(difference[0]):
        return ''
    low, high = (-difference[1], -difference[0]) if is_lower_better else difference
    return '+' if low > ROUNDING else '-' if high < -ROUNDING else ''


def _severities(shifted: Shifted) -> list[str]:
    """Return what each corruption does by severity: accuracy, and the errors among what is accepted."""
    corrupted = [found for found in shifted.sets if found.severities]
    reference = shifted.reference
    if not corrupted:
        return []
    head = ['corruption', *(f'{level}' for level in range(6))]
    lines: list[str] = []
    shown = [('Accuracy (%) by severity', lambda row: row.accuracy)]
    if reference:
        shown.append((
            f'Errors (%) among what {reference} accepts at the threshold that accepts 95 % of '
            f'{shifted.threshold_from} units',
            lambda row: row.accepted_error.get(reference, math.nan),
        ))  # fmt: skip
    shown += [
        ('Errors (%) among what the policy accepts', lambda row: row.policy_error),
        (f'Prediction sets that hold the true class (%): {shifted.sets_are}', lambda row: row.set_coverage),
    ]
    for title, value_of in shown:
        values = [
            {0: value_of(shifted.unshifted), **{row.severity: value_of(row) for row in found.severities}}
            for found in corrupted
        ]
        if all(math.isnan(value) for of in values for value in of.values()):
            continue
        lines += ['', f'### {title}', '', '| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
        for found, of in zip(corrupted, values, strict=True):
            cells = [f'{100 * of[level]:.2f}' if not math.isnan(of.get(level, math.nan)) else '' for level in range(6)]
            lines.append('| ' + ' | '.join([found.name, *cells]) + ' |')
    return lines
