"""Several seeds of one experiment: means, spreads, and paired differences of their figures."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from failpred_jax.evaluate.table import format_value, heading, percent, rule_table, shown_columns
from failpred_jax.metrics import Metric, compared
from failpred_jax.results import (
    Evaluation,
    Measures,
    RunDescription,
    ScoreResult,
    SeedComparison,
    SeedResult,
    SeedsSummary,
    Spread,
)
from failpred_jax.scores.sampled import add_sample, finish_samples, init_samples
from failpred_jax.scores.score import SampleSummary


def summarize_ensemble(members: Sequence[Mapping[str, np.ndarray]]) -> dict[str, SampleSummary]:
    """Return split -> summary over the members' class probabilities, each given as split -> [N, C]."""
    found = {}
    for split in members[0]:
        samples = init_samples(members[0][split].shape)
        for member in members:
            samples = add_sample(samples, member[split])
        found[split] = finish_samples(samples)
    return found


def summarize_seeds(found: Mapping[int, Measures]) -> SeedsSummary:
    """Return the figures of several seeds together.

    Args:
      found: seed -> what was measured.

    Returns:
      SeedsSummary: means and sample standard deviations, NaN for one seed, and the differences to the reference score
      seed by seed. A score that some seed could not have is left out.
    """
    every = list(found.values())
    first = every[0]
    names = [name for name in first.scores if all(name in m.scores for m in every)]
    tables = {name: [m.scores[name].metrics for m in every] for name in names}
    scores = {
        name: {metric: spread_of(metrics[metric] for metrics in rows) for metric in rows[0]}
        for name, rows in tables.items()
    }
    classifier = {
        metric: spread_of(m.classifier.metrics[metric] for m in every) for metric in first.classifier.metrics
    } | {'num_errors': spread_of(m.classifier.num_errors for m in every)}
    paired = []
    reference = first.reference if first.reference in names else None
    for metric in compared():
        for name in names:
            if reference in (None, name) or first.scores[name].is_bound:
                continue
            a, b = (np.array([metrics[metric.name] for metrics in tables[s]]) for s in (name, reference))
            change = spread_of(a - b)
            better = (a - b) * (-1 if metric.higher_is_better is False else 1)
            wins = float(np.mean(better > 0) + np.mean(better == 0) / 2)
            paired.append(SeedComparison(metric.name, name, reference, change.mean, change.std, wins, len(every)))
    return SeedsSummary(tuple(found), classifier, scores, tuple(paired))


def spread_of(values: Iterable[float]) -> Spread:
    """Return the mean and sample standard deviation of one value per seed."""
    array = np.fromiter(values, np.float64)
    return Spread(float(np.mean(array)), float(np.std(array, ddof=1)) if len(array) > 1 else math.nan)


def with_seeds(found: Mapping[int, Evaluation], summary: SeedsSummary) -> Evaluation:
    """Return the first seed's evaluation with what all seeds say together, which the report shows beside it."""
    first = next(iter(found.values()))
    return dataclasses.replace(
        first,
        measures=dataclasses.replace(first.measures, seeds=summary),
        seeds=tuple(SeedResult(seed, evaluation.measures) for seed, evaluation in found.items()),
    )


def to_markdown(summary: SeedsSummary, run: RunDescription) -> str:
    """Return the table of means and standard deviations over seeds."""
    bounds = {name for name, score in run.scores.items() if score.role == 'bound'}
    means = {name: ScoreResult({m: s.mean for m, s in found.items()}) for name, found in summary.scores.items()}
    columns = shown_columns(means)
    rows = [
        [f'{name} *' if name in bounds else name, *(_cell(found.get(metric.name), metric) for metric in columns)]
        for name, found in summary.scores.items()
    ]
    accuracy, errors = summary.classifier['accuracy'], summary.classifier['num_errors']
    lines = [
        f'{run.dataset.name}, seeds {", ".join(map(str, summary.seeds))}: accuracy {percent(accuracy.mean)} ± '
        f'{percent(accuracy.std)}, {errors.mean:.1f} errors; mean ± standard deviation over seeds (percent, unless '
        'marked otherwise)',
        '',
        *rule_table(['score', *map(heading, columns)], rows),
        *(f'\n- {note}' for note in summary.notes),
    ]
    if bounds & summary.scores.keys():
        lines += ['', '\\* reads the label: an upper bound, not a score that can be used']
    return '\n'.join(lines) + '\n'


def _cell(value: Spread | None, metric: Metric) -> str:
    if value is None:
        return '-'
    mean = format_value(value.mean, metric)
    return mean if math.isnan(value.std) else f'{mean} ± {format_value(value.std, metric)}'
