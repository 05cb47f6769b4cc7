"""Prediction sets of a run or a file: made on calibration units, measured on test units."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from failpred_jax.config import DecideConfig
from failpred_jax.decide.set_limits import conformal_rank, coverage_law
from failpred_jax.decide.set_measures import SetRow, measure_sets
from failpred_jax.decide.sets import Labeled, SetRule, fit_sets
from failpred_jax.decide.statements import EXCHANGEABLE, Part, percent, verdict_on_average
from failpred_jax.decide.thresholds import PREDICTED, groups_of
from failpred_jax.decide.units import Units
from failpred_jax.results.decisions import Guarantee, SetRowResult, SetsResult, Verdict
from failpred_jax.results.measures import Interval

NOT_SAID = {
    'marginal': 'nothing of a single class, group or size of set: some are covered less often, others more',
    'class': 'nothing of sets of one size, nor of a single group',
    'cluster': 'nothing of a single class where its cluster is not of one kind',
    'group': 'nothing of a single class or size of set within a group',
}


def fit_rule(calibration: Units, validation: Units | None, options: DecideConfig) -> SetRule:
    """Return the rule of sets that the options ask for, fitted on calibration units with labels and outputs.

    Raises:
      UserError: it needs validation units, or groups, that are not there.
    """
    assert calibration.probs is not None and calibration.labels is not None
    held_out = None
    if validation is not None and validation.probs is not None and validation.labels is not None:
        held_out = Labeled(validation.probs, validation.labels)
    return fit_sets(
        calibration.probs,
        calibration.labels,
        options.sets_alpha,
        options.sets,
        options.sets_by,
        groups=groups_of(calibration, options.by) if options.sets_by == 'group' else None,
        validation=held_out,
        allow_empty=options.empty_sets,
        seed=options.seed,
    )


def sets_of(rule: SetRule, units: Units, options: DecideConfig) -> np.ndarray:
    """Return the sets of units with outputs, [N, C] bool, by a rule that these options gave."""
    assert units.probs is not None
    return rule(units.probs, groups_of(units, options.by) if rule.by == 'group' else None)


def describe_sets(options: DecideConfig) -> str:
    """Return in words how sets are made."""
    of = {'marginal': '', 'class': ', class by class', 'cluster': ', by clusters of classes'}
    by = of.get(options.sets_by, f", by '{options.by}'")
    empty = 'may be empty' if options.empty_sets else 'never empty'
    return f'{options.sets.upper()}, {percent(1 - options.sets_alpha)}{by}, {empty}'


def make_sets(
    calibration: Units,
    validation: Units | None,
    test: Units | None,
    judged: Units | None,
    options: DecideConfig,
    class_names: tuple[str, ...],
    unit: str,
    invalid: str,
) -> tuple[SetsResult, np.ndarray | None]:
    """Return what the sets are and how they did, and the sets of the test units [N, C] bool (None without any).

    Of units that err together, `calibration` and `judged` hold one of each: their intervals count independent units.
    """
    rule = fit_rule(calibration, validation, options)
    sets, rows, size, shares, verdict = None, {}, Interval(np.nan, np.nan), (np.nan, np.nan), Verdict()
    if test is not None and test.probs is not None and test.labels is not None:
        sets = sets_of(rule, test, options)
        assert judged is not None and judged.labels is not None
        of_judged = sets if judged is test else sets_of(rule, judged, options)
        groups = _shown_groups(judged, options, class_names)
        found = measure_sets(of_judged, judged.labels, rule.alpha, class_names, groups=groups)
        missed = ~of_judged[np.arange(len(judged)), judged.labels]
        parts = _parts(rule, judged, missed, len(calibration), options, class_names)
        verdict = verdict_on_average(parts, rule.alpha, is_floor=True)
        rows = {
            'all': (_row(found.overall),),
            **({'group': tuple(_row(row) for row in found.by_group)} if found.by_group else {}),
            'class': tuple(_row(row) for row in found.by_class),
            'size': tuple(_row(row) for row in found.by_size),
        }
        size, shares = Interval(found.size_low, found.size_high), (found.empty, found.single)
    law, law_says = _law(rule, len(calibration), unit)
    return SetsResult(
        method=rule.method,
        by=rule.by,
        alpha=rule.alpha,
        promise=_promise(rule, len(calibration), unit, invalid, verdict),
        constants=asdict(rule.constants) if rule.method in ('raps', 'saps') else {},
        law=law,
        law_says=law_says,
        rows=rows,
        size=size,
        empty=shares[0],
        single=shares[1],
        notes=rule.notes,
    ), sets


def _shown_groups(judged: Units, options: DecideConfig, class_names: tuple[str, ...]) -> np.ndarray | None:
    if not options.by:
        return None
    if options.by == PREDICTED and class_names:
        return np.array(class_names)[judged.predicted]
    return groups_of(judged, options.by)


def _parts(
    rule: SetRule,
    judged: Units,
    missed: np.ndarray,
    num_units: int,
    options: DecideConfig,
    class_names: tuple[str, ...],
) -> list[Part]:
    """Return the parts of the judging units that are promised their coverage each."""
    assert judged.labels is not None
    sizes: dict[Any, int]
    if isinstance(rule.num_units, Mapping):
        of, sizes = groups_of(judged, options.by), dict(rule.num_units)
        names = {group: f"{options.by} '{group}'" for group in sizes}
    else:
        assert rule.clusters is not None
        of = rule.clusters[judged.labels]
        if rule.clusters.max() < 0:
            return [Part('', len(missed), int(missed.sum()), num_units)]
        # Classes in no cluster have the limit of all units, which promises nothing of them.
        sizes = {
            int(number): rule.num_units[rule.clusters == number][0]
            for number in np.unique(rule.clusters)
            if number >= 0
        }
        shown = class_names if rule.by == 'class' and class_names else range(len(rule.clusters))
        names = {number: f"{rule.by} '{shown[number]}'" for number in sizes}
    inside = {part: of == part for part in sizes}
    return [
        Part(names[part], int(rows.sum()), int(missed[rows].sum()), int(sizes[part])) for part, rows in inside.items()
    ]


def _law(rule: SetRule, num_units: int, unit: str) -> tuple[tuple[float, ...], str]:
    """Return the law of the true coverage of marginal sets, and the sentence that says it."""
    if rule.by != 'marginal':
        return (), ''
    mean, low, high = coverage_law(num_units, rule.alpha)
    if not conformal_rank(num_units, rule.alpha):
        return (mean, low, high), f'The true coverage is 100 %: {num_units:,} calibration {unit}s leave no class out.'
    raised = ['a set always holds the most probable class'] * (not rule.allow_empty)
    raised += [f'calibration {unit}s tie at the limit'] * rule.is_tied
    average, ends = percent(round(mean, 4)), [percent(round(end, 3)) for end in (low, high)]
    start = f'With {num_units:,} calibration {unit}s, the true coverage is'
    if not raised:
        return (mean, low, high), (
            f'{start} {average} on average, and in nine of ten draws of them from {ends[0]} to {ends[1]}.'
        )
    return (mean, low, np.nan), (
        f'{start} at least {average} on average, and at least {ends[0]} in nineteen of twenty draws of them; how much '
        f'more is not known, as {" and ".join(raised)}.'
    )


def _promise(rule: SetRule, num_units: int, unit: str, invalid: str, verdict: Verdict) -> Guarantee:
    of = {'marginal': '', 'class': ' of any class', 'cluster': ' of any cluster of classes', 'group': ' of any group'}
    # One seed gives as many units the same random numbers in every draw of them.
    randomly = '' if rule.method == 'lac' else ' and of the random numbers (config.decide.seed)'
    return Guarantee(
        name='sets',
        kind='sets',
        statement=(
            f'the set of a new {unit}{of[rule.by]} holds its true class with probability at least '
            f'{percent(1 - rule.alpha)}, on average over draws of the calibration {unit}s' + randomly
        ),
        target=rule.alpha,
        units=num_units,
        assumption=EXCHANGEABLE.format(unit=unit),
        not_said=NOT_SAID[rule.by],
        invalid=invalid,
        verdict=verdict,
    )


def _row(row: SetRow) -> SetRowResult:
    return SetRowResult(row.name, row.num_units, row.coverage, row.low, row.high, row.mean_size, row.gap)
