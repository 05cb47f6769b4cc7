"""Shifted inputs over several seeds: what remains of the ranking of scores when everything is trained again."""

import math
from typing import Any

import htpy as h

from failpred_jax.report import figures_shift, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.sections.shifts import WORDS
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View
from failpred_jax.results.shift_choice import METRIC, SETTING, recommend_over_seeds
from failpred_jax.results.shift_seeds import SetOverSeeds, ShiftedSeeds, ShiftSpread

_METRICS = ('auroc', 'fpr_at_95tpr', 'aurc')


@report_section(
    'shifts_of_seeds',
    order=36.5,
    title='Shifted inputs over seeds',
    question='Does the same score win on shifted inputs when everything is trained again?',
)
def fill(view: View, section: Section) -> None:
    """Add the means over seeds, and in how many of them a score wins; nothing for a run of one seed."""
    found = view.evaluation.shifted_seeds
    if found is None or not found.sets:
        return
    if choice := recommend_over_seeds(found):
        section.text(choice)
    folders = words.listed([f'seed_{seed}/shift' for seed in found.seeds])
    section.text(
        'Means over seeds, with the standard deviation over seeds beside them; the intervals of each seed, over test '
        f'units, are in {folders}. A score that wins in {len(found.seeds)} of {len(found.seeds)} seeds has '
        f'p = {2 ** (1 - len(found.seeds)):.2g} by that alone (sign test).'
    )
    section.text(*(f'{note[:1].upper()}{note[1:]}.' for note in found.notes))
    _add_matrix(found, section)
    _add_accuracy(found, section)
    _add_table(found, section)


def _own_setting(one: SetOverSeeds) -> str:
    return 'strangers' if one.is_strangers else 'errors'


def _add_matrix(found: ShiftedSeeds, section: Section) -> None:
    columns = [(one, _own_setting(one)) for one in found.sets]
    nothing = ShiftSpread()
    values = [
        [figures.get('auroc', nothing).mean]
        + [one.scores.get(name, {}).get(setting, {}).get('auroc', nothing).mean for one, setting in columns]
        for name, figures in found.errors.items()
    ]
    names = ['test: errors', *(f'{one.name}: {WORDS[setting]}' for one, setting in columns)]
    section.add_figure(
        'shift_matrix_of_seeds',
        figures_shift.matrix(
            list(found.errors), names, values, 'AUROC of every score on every set, mean over seeds (%)'
        ),
        'Each column by itself: dark is best there. Of strangers, how well they are told from the test set; of labeled '
        'sets, how well their errors are told from what is right.',
        'A table of scores and shifted sets with the mean AUROC over seeds in percent.',
    )


def _add_accuracy(found: ShiftedSeeds, section: Section) -> None:
    rows = [
        {'set': one.name, 'units': one.units, 'accuracy': _known(one.accuracy.mean), 'std': _known(one.accuracy.std)}
        for one in found.sets
        if not one.is_strangers
    ]
    if rows:
        columns = [
            Column('set', 'set'),
            Column('units', 'units of each seed', lambda v, _: f'{v:,}', True),
            Column('accuracy', 'accuracy', lambda v, row: _spread(v, row['std'], 100), True, 'percent'),
        ]
        section.add_table(Table('shift_accuracy_of_seeds', 'Accuracy on labeled shifts.', columns, rows, ['std']))


def _add_table(found: ShiftedSeeds, section: Section) -> None:
    """Add mean, spread and wins of every score on every set, as a table that is written as CSV."""
    total, rows = len(found.seeds), []
    alone = SetOverSeeds('test', '', False, 0, scores={name: {'errors': of} for name, of in found.errors.items()})
    for one in (alone, *found.sets):
        for name, settings in one.scores.items():
            for setting in (_own_setting(one), SETTING):
                if figures := settings.get(setting):
                    rows.append({'set': one.name, 'rejects': WORDS[setting], 'score': name} | _cells(figures))
    columns = [Column('set', 'set'), Column('rejects', 'to reject'), Column('score', 'score')]
    for metric, title, factor, note in (
        ('auroc', 'AUROC', 100, 'percent'),
        ('fpr_at_95tpr', 'FPR at 95 % TPR', 100, 'percent; lower is better'),
        (METRIC, 'AURC x1000', 1000, 'lower is better'),
    ):
        columns.append(Column(metric, title, _shows(metric, factor), True, note))
    columns.append(
        Column(
            f'{METRIC}_wins',
            f'AURC better than {found.reference or "the reference"}',
            lambda v, _: words.DASH if v is None else f'{v:g} of {total}',
            True,
            'seeds',
        )
    )
    hidden = [
        f'{metric}_{part}' for metric in _METRICS for part in ('std', 'wins') if (metric, part) != (METRIC, 'wins')
    ]
    caption = 'Mean ± standard deviation over seeds. All metrics and shares are in shift/seeds.csv.'
    table = Table('shifted_sets_of_seeds', caption, columns, rows, hidden)
    section.add(h.details[h.summary[f'All {len(rows)} rows'], section.table_html(table)])


def _cells(figures: Any) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for metric in _METRICS:
        value = figures.get(metric, ShiftSpread())
        found |= {metric: _known(value.mean), f'{metric}_std': _known(value.std), f'{metric}_wins': _known(value.wins)}
    return found


def _shows(metric: str, factor: int) -> Any:
    return lambda value, row: _spread(value, row[f'{metric}_std'], factor)


def _spread(mean: float | None, std: float | None, factor: int) -> str:
    if mean is None:
        return words.DASH
    digits = 2 if factor == 100 else 3
    shown = f'{factor * mean:.{digits}f}'
    return shown if std is None else f'{shown} ± {factor * std:.{digits}f}'


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
