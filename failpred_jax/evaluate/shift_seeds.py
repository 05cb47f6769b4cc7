"""Shifted inputs over several seeds: means, spreads, and in how many seeds a score beats the reference."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from failpred_jax.evaluate.seeds import spread_of
from failpred_jax.registry import METRICS
from failpred_jax.results.shift_choice import METRIC, SETTING, mean_over, recommend_over_seeds
from failpred_jax.results.shift_seeds import Figures, SetOverSeeds, ShiftedSeeds, ShiftSpread
from failpred_jax.results.shifted import Shifted, ShiftedSet, ShiftValues

# Two scores of one ranking may differ by so much, since sums round.
_ROUNDING = 1e-12


def summarize_shifted(found: Mapping[int, Shifted]) -> ShiftedSeeds:
    """Return what several seeds say together; the order in which they are given does not matter.

    Args:
      found: seed -> what was measured of it. Sets and scores that some seed lacks are left out, with a note.
    """
    seeds = tuple(sorted(found))
    every = [found[seed] for seed in seeds]
    references = {one.reference for one in every}
    reference = every[0].reference if len(references) == 1 else ''
    by_name = [{one.name: one for one in shifted.sets} for shifted in every]
    common = [name for name in by_name[0] if all(name in sets for sets in by_name)]
    notes = []
    if lacking := sorted({name for sets in by_name for name in sets} - {*common}):
        notes.append(f'left out, since not every seed was measured on it: {", ".join(lacking)}')
    scores = [name for name in every[0].errors if all(name in one.errors for one in every)]
    if lost := sorted({name for one in every for name in one.errors} - {*scores}):
        notes.append(f'left out, since not every seed has it: {", ".join(lost)}')
    if len(references) > 1:
        notes.append(f'the seeds were compared with different scores: {", ".join(sorted(references))}')
    alone = _figures([{score: one.errors[score] for score in scores} for one in every], reference)
    together = [[sets[name] for name in common if sets[name].is_strangers] for sets in by_name]
    means = {score: [mean_over(sets, score, SETTING, METRIC) for sets in together] for score in scores}
    return ShiftedSeeds(
        seeds,
        reference,
        alone,
        tuple(_over_seeds([sets[name] for sets in by_name], reference) for name in common),
        _spreads(means, METRIC, reference) if together[0] else {},
        tuple(notes),
    )


def _over_seeds(every: Sequence[ShiftedSet], reference: str) -> SetOverSeeds:
    """Return one set of all seeds."""
    first = every[0]
    scores = [name for name in first.scores if all(name in one.scores for one in every)]
    settings = dict.fromkeys(setting for name in scores for setting in first.scores[name])
    figures: dict[str, dict[str, Figures]] = {name: {} for name in scores}
    for setting in settings:
        there = [name for name in scores if all(setting in one.scores[name] for one in every)]
        of = _figures([{name: one.scores[name][setting] for name in there} for one in every], reference)
        for name, values in of.items():
            figures[name][setting] = values
    accuracy = spread_of([one.accuracy for one in every])
    return SetOverSeeds(first.name, first.description, first.is_strangers, first.units, accuracy, figures)


def _figures(every: Sequence[Mapping[str, ShiftValues]], reference: str) -> dict[str, Figures]:
    """Return score -> metric -> figure, of the values of each seed by score."""
    names = list(every[0])
    metrics = dict.fromkeys(metric for name in names for metric in every[0][name].metrics)
    found: dict[str, dict[str, ShiftSpread]] = {name: {} for name in names}
    for metric in metrics:
        values = {name: [one[name].metrics.get(metric, math.nan) for one in every] for name in names}
        for name, figure in _spreads(values, metric, reference).items():
            found[name][metric] = figure
    return dict(found)


def _spreads(values: Mapping[str, Sequence[float]], metric: str, reference: str) -> dict[str, ShiftSpread]:
    """Return score -> figure, of the values [S] of each score by one metric."""
    sign = -1 if METRICS[metric].higher_is_better is False else 1
    good = {name: sign * np.array(of, np.float64) for name, of in values.items()}
    known = [np.where(np.isnan(of), -np.inf, of) for of in good.values()]
    top = np.max(known, axis=0) if known else np.zeros(0)
    found = {}
    for name, own in good.items():
        spread = spread_of(values[name])
        wins = math.nan
        if reference in good and name != reference:
            wins = float(np.sum(own - good[reference] > _ROUNDING))
        found[name] = ShiftSpread(spread.mean, spread.std, wins, float(np.sum(own >= top - _ROUNDING)))
    return found


def seeds_to_table(found: ShiftedSeeds, title: str) -> str:
    """Return the summary as text: which score to use, and the matrices of means and wins."""
    lines = [f'## {title}: shifted inputs, seeds {", ".join(map(str, found.seeds))}', '']
    if choice := recommend_over_seeds(found):
        lines += [choice, '']
    for one in found.sets:
        right = '' if one.is_strangers else f', accuracy {_percent(one.accuracy.mean, one.accuracy.std)} %'
        lines.append(f'- {one.name}: {one.description or "given"}; {one.units:,} units{right}')
    columns = [(one, 'strangers' if one.is_strangers else 'errors') for one in found.sets]
    lines += ['', *_matrix(found, 'AUROC (%), mean ± standard deviation over seeds', columns, 'auroc', 100)]
    if joint := [(one, SETTING) for one in found.sets if one.is_strangers]:
        lines += ['', *_matrix(found, 'AURC (x1000) with 10 % strangers', joint, METRIC, 1000)]
    if found.reference:
        lines += ['', f'(k/{len(found.seeds)}): better than {found.reference} in k of the {len(found.seeds)} seeds']
    lines += [f'- {note}' for note in found.notes]
    return '\n'.join(lines) + '\n'


def _percent(mean: float, std: float) -> str:
    return f'{100 * mean:.2f}' if math.isnan(std) else f'{100 * mean:.2f} ± {100 * std:.2f}'


def _matrix(
    found: ShiftedSeeds, title: str, columns: Sequence[tuple[SetOverSeeds, str]], metric: str, factor: int
) -> list[str]:
    head = ['score', 'test errors', *(one.name for one, _ in columns)]
    rows = [head, ['---', *['---:'] * (len(head) - 1)]]
    for name, alone in found.errors.items():
        of = [alone, *(one.scores.get(name, {}).get(setting, {}) for one, setting in columns)]
        rows.append([name, *(_cell(figures.get(metric), factor, len(found.seeds)) for figures in of)])
    return [f'### {title}', '', *('| ' + ' | '.join(row) + ' |' for row in rows)]


def _cell(value: ShiftSpread | None, factor: int, num_seeds: int) -> str:
    if value is None or math.isnan(value.mean):
        return 'n/a'
    digits = 2 if factor == 100 else 3
    shown = f'{factor * value.mean:.{digits}f}'
    shown += '' if math.isnan(value.std) else f' ± {factor * value.std:.{digits}f}'
    return shown if math.isnan(value.wins) else f'{shown} ({value.wins:g}/{num_seeds})'
