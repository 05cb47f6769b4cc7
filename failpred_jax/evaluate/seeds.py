"""Several seeds of one experiment: means, spreads, and paired differences of their figures."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.table import (
    CALIBRATION,
    calibration_notes,
    format_value,
    heading,
    marked_name,
    percent,
    rule_table,
    shown_columns,
)
from failpred_jax.evaluate.tally import RESAMPLES_SEED
from failpred_jax.metrics import (
    JoinedInterval,
    Metric,
    Resamples,
    bootstrap,
    compared,
    join_seeds,
    joined_interval,
    sign_p_value,
)
from failpred_jax.registry import METRICS, SCORES
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

BEFORE_AND_AFTER = ('before', 'after')
# Two scores of one ranking may differ by so much, since sums round.
_ROUNDING = 1e-12


def summarize_ensemble(members: Sequence[Mapping[str, np.ndarray]]) -> dict[str, SampleSummary]:
    """Return split -> summary over the members' class probabilities, each given as split -> [N, C]."""
    found = {}
    for split in members[0]:
        samples = init_samples(members[0][split].shape)
        for member in members:
            samples = add_sample(samples, member[split])
        found[split] = finish_samples(samples)
    return found


def summarize_evaluations(found: Mapping[int, Evaluation], options: EvaluateConfig) -> SeedsSummary:
    """Return the figures of several seeds together, with intervals over seeds and test units where these are at hand.

    Args:
      found: seed -> its evaluation.
      options: resamples and the level of intervals.
    """
    every, notes = list(found.values()), []
    resamples: list[Resamples] = []
    if len(every) > 1 and options.resamples:
        if every[0].run.dataset.task == 'segmentation':
            notes.append('intervals over seeds and images together are unavailable: single pixels are not kept')
        elif any(not np.array_equal(one.test.labels, every[0].test.labels) for one in every):
            notes.append('intervals over seeds and test units together are unavailable: the seeds differ in test units')
        else:
            resamples = [_resample(one, options.resamples) for one in every]
    summary = summarize_seeds({seed: one.measures for seed, one in found.items()}, resamples, options.interval)
    return dataclasses.replace(summary, notes=(*summary.notes, *notes))


def _resample(one: Evaluation, num_resamples: int) -> Resamples:
    # The same seed draws the same test units for every training.
    return bootstrap(one.test.confidences, one.test.correct, num_resamples=num_resamples, seed=RESAMPLES_SEED)


def summarize_seeds(
    found: Mapping[int, Measures], resamples: Sequence[Resamples] = (), level: float = 0.95
) -> SeedsSummary:
    """Return the figures of several seeds together.

    Args:
      found: seed -> what was measured.
      resamples: of each seed, drawn on the same test units; empty for no intervals.
      level: of the intervals.

    Returns:
      SeedsSummary: means and sample standard deviations, and the differences to the reference score seed by seed. A
      score that some seed could not have is left out; one that all seeds share has no spread.
    """
    every = list(found.values())
    first = every[0]
    names = [name for name in first.scores if all(name in m.scores for m in every)]
    shared = tuple(name for name in names if name in SCORES and 'ensemble' in SCORES[name].needs)
    joined = _Joined(resamples, level)
    scores, calibration, calibrated = {}, {}, {}
    for name in names:
        rows = [m.scores[name] for m in every]
        spreads = {metric: spread_of([row.metrics[metric] for row in rows]) for metric in rows[0].metrics}
        scores[name] = {
            metric: _without_spread(spread) if name in shared else joined.add(spread, metric, name)
            for metric, spread in spreads.items()
        }
        if known := _spreads([row.calibration for row in rows], name in shared):
            calibration[name] = known
        both = {when: _spreads([_calibrated(row, when) for row in rows], name in shared) for when in BEFORE_AND_AFTER}
        if any(both.values()):
            calibrated[name] = {when: spreads for when, spreads in both.items() if spreads}
    classifier = {
        metric: spread_of([m.classifier.metrics[metric] for m in every]) for metric in first.classifier.metrics
    } | {'num_errors': spread_of([m.classifier.num_errors for m in every])}
    reference = first.reference if first.reference in names else ''
    others = [n for n in names if n != reference and n not in shared and not first.scores[n].is_bound]
    paired = tuple(
        _paired(every, joined, metric, name, reference) for metric in compared() if reference for name in others
    )
    notes = tuple(_notes(len(every), shared))
    return SeedsSummary(tuple(found), classifier, scores, paired, notes, calibration, shared, calibrated)


def _spreads(of_seeds: Sequence[Mapping[str, float]], is_shared: bool) -> dict[str, Spread]:
    """Return metric -> spread of those metrics that every seed has."""
    known = [metric for metric in of_seeds[0] if all(metric in found for found in of_seeds)]
    spreads = {metric: spread_of([found[metric] for found in of_seeds]) for metric in known}
    return {metric: _without_spread(spread) if is_shared else spread for metric, spread in spreads.items()}


def _calibrated(score: ScoreResult, when: str) -> Mapping[str, float]:
    """Return the calibration figures 'before', or 'after' the calibration that was chosen; empty without any."""
    found = score.calibrated
    return {} if found is None else found.figures.get(when if when == 'before' else found.after, {})


def _paired(every: Sequence[Measures], joined: '_Joined', metric: Metric, name: str, reference: str) -> SeedComparison:
    a, b = (np.array([m.scores[score].metrics[metric.name] for m in every]) for score in (name, reference))
    change = joined.add(spread_of(a - b), metric.name, name, reference)
    better = np.where(np.abs(a - b) < _ROUNDING, 0, a - b) * (-1 if metric.higher_is_better is False else 1)
    wins = float(np.mean(better > 0) + np.mean(better == 0) / 2)
    return SeedComparison(
        metric.name, name, reference, change.mean, change.std, wins, len(every), change.low, change.high,
        joined.p_value(metric.name, name, reference), sign_p_value(len(every), wins * len(every)),
    )  # fmt: skip


class _Joined:
    """Intervals over seeds and test units together, where there are resamples of both."""

    def __init__(self, resamples: Sequence[Resamples], level: float):
        self._every, self._level = resamples, level
        self._joined = join_seeds(resamples) if len(resamples) > 1 else None

    def _interval(self, metric: str, score: str, reference: str = '') -> JoinedInterval | None:
        one = self._joined
        if one is None or metric not in one.metrics or not {score, reference or score} <= set(one.scores):
            return None
        return joined_interval(self._every, one, metric, score, reference, self._level)

    def add(self, spread: Spread, metric: str, score: str, reference: str = '') -> Spread:
        found = self._interval(metric, score, reference)
        return spread if found is None else dataclasses.replace(spread, low=found.low, high=found.high)

    def p_value(self, metric: str, score: str, reference: str) -> float:
        found = self._interval(metric, score, reference)
        return math.nan if found is None else found.p_value


def _notes(num_seeds: int, shared: Sequence[str]) -> Iterator[str]:
    if shared:
        yield (
            f'{", ".join(shared)}: one and the same ensemble in all seeds, so there is no spread over seeds and no '
            'paired difference'
        )
    if num_seeds > 1:
        worth = f'a score that is better in {num_seeds} of {num_seeds} seeds has p = {2 ** (1 - num_seeds):.2g}'
        yield worth + ' by that alone (sign test)' + ('' if num_seeds > 5 else '; fewer than 6 seeds cannot reach 0.05')


def _without_spread(spread: Spread) -> Spread:
    return dataclasses.replace(spread, std=math.nan)


def spread_of(values: Sequence[float] | np.ndarray) -> Spread:
    """Return the mean and sample standard deviation of one value per seed."""
    array = np.asarray(values, np.float64)
    # An infinite NLL has no spread.
    has_spread = len(array) > 1 and bool(np.isfinite(array).all())
    return Spread(float(np.mean(array)), float(np.std(array, ddof=1)) if has_spread else math.nan)


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
        [f'{name} *' if name in bounds else name, *(cell(found.get(metric.name), metric) for metric in columns)]
        for name, found in summary.scores.items()
    ]
    accuracy, errors = summary.classifier['accuracy'], summary.classifier['num_errors']
    lines = [
        f'{run.dataset.name}, seeds {", ".join(map(str, summary.seeds))}: accuracy {percent(accuracy.mean)} ± '
        f'{percent(accuracy.std)}, {errors.mean:.1f} errors; mean ± standard deviation over seeds (percent, unless '
        'marked otherwise)',
        '',
        *rule_table(['score', *map(heading, columns)], rows),
        *_paired_table(summary),
        *_calibrated_table(summary, run),
        '',
        *(f'- {note}' for note in summary.notes),
    ]
    if bounds & summary.scores.keys():
        lines += ['', '\\* reads the label: an upper bound, not a score that can be used']
    return '\n'.join(lines) + '\n'


def _paired_table(summary: SeedsSummary) -> list[str]:
    """Return the differences to the reference with their intervals, where there are some."""
    known = [row for row in summary.paired if not math.isnan(row.low)]
    metrics = [metric for metric in compared() if any(row.metric == metric.name for row in known)]
    if not metrics:
        return []
    rows = []
    for name in dict.fromkeys(row.a for row in known):
        of_metric = {row.metric: row for row in known if row.a == name}
        rows.append([name, *(_difference(of_metric.get(metric.name), metric) for metric in metrics)])
    head = f'Less {known[0].b}, with intervals over seeds and test units together, each for itself (p: no difference):'
    return ['', head, '', *rule_table(['score', *map(heading, metrics)], rows)]


def _calibrated_table(summary: SeedsSummary, run: RunDescription) -> list[str]:
    """Return every score as P(correct) before and after calibration."""
    rows = [
        [
            marked_name(name, run),
            *(
                cell(found.get(when, {}).get(metric), METRICS[metric])
                for metric in CALIBRATION
                for when in BEFORE_AND_AFTER
            ),
        ]
        for name, found in summary.calibrated.items()
    ]
    if not rows:
        return []
    columns = [f'{METRICS[metric].label} {when}' for metric in CALIBRATION for when in BEFORE_AND_AFTER]
    head = 'As P(correct), before and after calibration on validation data, mean ± standard deviation over seeds:'
    return ['', head, '', *rule_table(['score', *columns], rows), '', *calibration_notes(summary.calibrated, run)]


def _difference(row: SeedComparison | None, metric: Metric) -> str:
    if row is None:
        return '-'
    mean, low, high = (format_value(x, metric) for x in (row.mean, row.low, row.high))
    return f'{mean} ({low} to {high}; p = {row.p_value:.2g})'


def cell(value: Spread | None, metric: Metric) -> str:
    """Return a mean as tables show it, with its standard deviation where there is one."""
    if value is None:
        return '-'
    mean = format_value(value.mean, metric)
    return mean if math.isnan(value.std) else f'{mean} ± {format_value(value.std, metric)}'
