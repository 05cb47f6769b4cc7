"""Several seeds: what stays when the whole pipeline is run again."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from failpred_jax.report import figures_seeds, words
from failpred_jax.report.html import join, tag
from failpred_jax.report.section import Section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View, as_mapping


def make(view: View) -> Section | None:
    """Return the section, or None where fewer than two seeds were run."""
    seeds = read_seeds(view.context.get('seeds'))
    if len(seeds) < 2:
        return None
    section = Section('seeds', 'Several seeds', 'Does the ranking hold when everything is trained again?')
    accuracies = [as_mapping(s['classifier']).get('accuracy') for s in seeds.values()]
    known = [float(a) for a in accuracies if words.is_number(a)]
    section.text(
        join(
            f'The whole pipeline, {len(seeds)} times, with seeds {words.listed(list(seeds))}. ',
            f'Accuracy {_mean_and_spread(known)}. ' if known else '',
            'Seeds differ by training; the intervals of one run differ by test sample. A claim needs to survive both.',
        )
    )
    scores = list(dict.fromkeys(name for s in seeds.values() for name in s['scores']))
    scores.sort(key=lambda s: view.scores.index(s) if s in view.scores else len(view.scores))
    metric = view.verdict_metric
    values = {score: _values(seeds, score, metric) for score in scores}
    values = {score: v for score, v in values.items() if np.isfinite(v).any()}
    if values:
        label = words.metric_words(metric).label
        section.add_figure(
            'seeds',
            figures_seeds.seed_points({view.label(s): v for s, v in values.items()}, label),
            'One point a seed; the upright stroke is their mean.',
            f'{label} of {len(values)} scores over {len(seeds)} seeds; means and spreads are in the table below.',
        )
    section.add_table(_table(view, seeds, scores))
    return section


def read_seeds(given: Any) -> dict[str, dict[str, Mapping]]:
    """Return seed -> {'classifier': ..., 'scores': ...}.

    Args:
      given: {seed: metrics} or [{'seed': ..., ...metrics}], where metrics is laid out as metrics.json, or is
        {'metrics': that}. What cannot be read as either is left out.
    """
    if isinstance(given, Mapping):
        pairs = [(str(seed), as_mapping(value)) for seed, value in given.items()]
    elif isinstance(given, list | tuple):
        pairs = [(str(as_mapping(v).get('seed', i)), as_mapping(v)) for i, v in enumerate(given)]
    else:
        return {}
    seeds = {}
    for seed, value in pairs:
        metrics = as_mapping(value.get('metrics')) or value
        scores = {name: as_mapping(row) for name, row in as_mapping(metrics.get('scores')).items()}
        if scores:
            seeds[seed] = {'classifier': as_mapping(metrics.get('classifier')), 'scores': scores}
    return seeds


def _values(seeds: Mapping[str, Any], score: str, metric: str) -> np.ndarray:
    found = [seed['scores'].get(score, {}).get(metric) for seed in seeds.values()]
    return np.array([v if words.is_number(v) else np.nan for v in found], np.float64)


def _mean_and_spread(values: Any) -> str:
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return words.DASH
    spread = f' \u00b1 {values.std(ddof=1) * 100:.2f}' if len(values) > 1 else ''
    return f'{values.mean() * 100:.2f}{spread}'


def _table(view: View, seeds: Mapping[str, Any], scores: list[str]) -> Table:
    metrics = [
        name
        for name in view.metric_names
        # The classifier's own figures stand above, once.
        if name not in ('accuracy', 'num_errors')
        and words.metric_words(name).is_share
        and any(np.isfinite(_values(seeds, s, name)).any() for s in scores)
    ]
    rows = []
    for score in scores:
        row = {'score': score, '_muted': view.reads_label(score)}
        for metric in metrics:
            values = _values(seeds, score, metric)
            known = values[np.isfinite(values)]
            row[metric] = float(known.mean()) if len(known) else None
            row[f'{metric}_std'] = float(known.std(ddof=1)) if len(known) > 1 else None
        rows.append(row)

    def shown(metric: str):
        def show(value: float | None, row: dict) -> Any:
            spread = row.get(f'{metric}_std')
            small = tag('small', f'\u00b1 {words.metric_value(metric, spread)}') if spread is not None else ''
            return join(words.metric_value(metric, value), small)

        return show

    columns = [Column('score', 'score', lambda value, _: view.label(value))]
    columns += [Column(name, words.metric_words(name).label, shown(name), True) for name in metrics]
    caption = 'Mean and standard deviation over seeds, in percent.'
    return Table('seeds', caption, columns, rows, [f'{name}_std' for name in metrics])
