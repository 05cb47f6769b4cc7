"""Decisions of a run or a file: the policy, its promises, the rest, and what the test units say of all that."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from failpred_jax.calibrate.confidence import UNCHANGED, Calibrator
from failpred_jax.config import DecideConfig
from failpred_jax.decide.applied import applied, costs_under, flow_of, rows_of
from failpred_jax.decide.binomial import share_interval
from failpred_jax.decide.certificate import Certificate, accepts
from failpred_jax.decide.choices import choose_limits, choose_score, menu_of_limits
from failpred_jax.decide.floors import Floor, accepted_share, least_rejected
from failpred_jax.decide.overlaps import shared_units
from failpred_jax.decide.policy import fit_calibrator, make_policy
from failpred_jax.decide.risks import certify_each, certify_selective
from failpred_jax.decide.set_results import make_sets
from failpred_jax.decide.statements import (
    EXCHANGEABLE,
    REUSED,
    guarantee,
    percent,
    verdict_of_share,
    verdict_on,
)
from failpred_jax.decide.thresholds import PREDICTED, Thresholds, costs_of, groups_of, make_thresholds
from failpred_jax.decide.units import Units, one_of_each
from failpred_jax.errors import UserError
from failpred_jax.monitor.reference import digest_of, reference_arrays
from failpred_jax.results.decisions import Decided, Guarantee
from failpred_jax.results.measures import Interval

# Above so many, classes have no rows of their own.
MAX_CLASSES = 1_000


class Given(NamedTuple):
    """What decisions are made from.

    Attributes:
      calibration: units that nothing else has read, or None.
      validation: units that fits and choices read, or None.
      test: units that judge, and that decisions.csv lists, or None.
      unit: what is decided, such as 'image'.
      class_names: C names, or ().
      groups: what units belong to that err together, in the singular.
    """

    calibration: Units | None
    validation: Units | None = None
    test: Units | None = None
    unit: str = 'unit'
    class_names: tuple[str, ...] = ()
    groups: str = 'group'


class Made(NamedTuple):
    """Decisions, and the rows of decisions.csv."""

    decided: Decided
    rows: Iterator[dict[str, Any]]


def make_decisions(given: Given, options: DecideConfig) -> Made:
    """Return the decisions that the options ask for.

    Raises:
      UserError: there are no calibration units, or something that is asked for cannot be had.
    """
    calibration, invalid = given.calibration, ''
    if calibration is None:
        if not options.reuse_validation or given.validation is None:
            raise UserError('there are no calibration units to certify on')
        calibration, invalid = given.validation, REUSED
    others = {'validation': None if invalid else given.validation, 'test': given.test}
    is_shared, told = shared_units(calibration, others, given.unit)
    invalid = invalid or is_shared
    all_given = calibration
    calibration = one_of_each(all_given, options.seed)
    score, chosen = choose_score(options.score, calibration, given.validation)
    risks, how = choose_limits(options.risks, given.validation, len(calibration), options.delta / options.starts)
    found = make_thresholds(calibration, given.validation, score, risks, options)
    calibrator, no_probability = fit_calibrator(given.validation, score, given.test)
    policy = make_policy(all_given, score, found, calibrator, options, invalid)
    reference = _reference(calibration, score, options, given.class_names)
    policy['reference'] = {'units': len(calibration), 'digest': digest_of(reference)}
    notes = [*told, *found.notes, f'the promised limit: {how}' if not options.risks and options.kind != 'cost' else '']
    notes += [no_probability, *_of_map(calibrator, score, given.unit)]
    notes.append(_rough_map(policy, calibration, given.validation, score, options, given.unit))
    notes += [_unknown_groups(policy, given, options), _one_of_each(len(all_given), len(calibration), given)]
    judged = None if given.test is None else one_of_each(given.test, options.seed)
    context = _Context(calibration, judged, score, options, given.unit, invalid)
    sets, members = None, None
    if options.sets != 'none' and (calibration.probs is None or calibration.labels is None):
        notes.append('no sets of classes: the predictions have no labels and outputs')
    elif options.sets != 'none':
        sets, members = make_sets(
            calibration, given.validation, given.test, judged, options, given.class_names, given.unit, invalid
        )
    wrong = int((~calibration.correct).sum())
    decided = Decided(
        score=score,
        chosen=chosen,
        unit=given.unit,
        model=policy['model'],
        data=policy['data'],
        calibration=len(calibration),
        error_rate=wrong / len(calibration),
        error_interval=Interval(*share_interval(wrong, len(calibration))),
        guarantees=tuple(_promises(context, found)),
        menu=tuple(_menu(context, given.validation)),
        groups=tuple(_groups(context, found, risks[0], given.class_names)),
        flow=tuple(flow_of(policy, calibration, given.test, score, options)),
        impossible=_impossible(context, risks[0]) if options.kind == 'selective' else '',
        costs=tuple(costs_under(policy, calibration, judged, score, options)),
        sets=sets,
        notes=tuple(filter(None, notes)),
        policy=policy,
        reference=reference,
    )
    return Made(decided, rows_of(policy, given.test, given.class_names, score, options, members))


def _one_of_each(num_units: int, num_groups: int, given: Given) -> str:
    """Return what a promise is of where units belong together, or ''."""
    if num_groups == num_units:
        return ''
    return (
        f'{num_units:,} calibration {given.unit}s belong to {num_groups:,} {given.groups}s and err together within '
        f'them: one {given.unit} of each {given.groups}, drawn at random, is certified on, and one of each judges; the '
        f'promises are of one {given.unit}, drawn at random, of each new {given.groups}'
    )


def _unknown_groups(policy: dict[str, Any], given: Given, options: DecideConfig) -> str:
    """Return a sentence on test units of groups that have no threshold, or ''."""
    if not options.by or options.by == PREDICTED or given.test is None:
        return ''
    of_test = groups_of(given.test, options.by)
    unknown = sorted(set(of_test.tolist()) - set(policy['groups']))
    if not unknown:
        return ''
    named = ', '.join(f"'{name}'" for name in unknown[:5]) + (', ...' if len(unknown) > 5 else '')
    count = int(np.isin(of_test, unknown).sum())
    return (
        f'{count:,} test {given.unit}s are of groups without calibration {given.unit}s ({named}), and so without a '
        'threshold: they go to a human'
    )


def _of_map(calibrator: Calibrator | None, score: str, unit: str) -> Iterator[str]:
    """Yield the notes on the map to P(correct): what is amiss, which map was taken, and why."""
    if calibrator is None:
        return
    yield from (f'P(correct) of {score}: {note}' for note in calibrator.notes)
    if len(calibrator.loss) < 2:
        return
    if calibrator.method == UNCHANGED:
        which = f"P(correct) is the confidence itself (the map 'none'), judged on validation {unit}s: by cross-entropy"
    else:
        which = f"P(correct) comes from the map '{calibrator.method}', fitted on validation {unit}s: by cross-entropy"
    losses = ', '.join(f'{name} {loss:.4f}' for name, loss in calibrator.loss.items())
    yield f'{which} on those left out of the fit (5 folds), lower is better: {losses}'


def _reference(
    calibration: Units, score: str, options: DecideConfig, class_names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Return what a monitor compares a stream with."""
    num_classes = 0 if calibration.logits is None else calibration.logits.shape[1]
    return reference_arrays(
        calibration.confidence(score),
        calibration.correct,
        calibration.predicted,
        num_classes,
        class_names if len(class_names) == num_classes else (),
        groups_of(calibration, options.by) if options.by else None,
    )


def _rough_map(
    policy: dict[str, Any], calibration: Units, validation: Units | None, score: str, options: DecideConfig, unit: str
) -> str:
    """Return a sentence where P(correct) is low for what is accepted: it rests on few errors; or ''."""
    found = applied(policy, calibration, score, options)
    if found.p_correct is None or validation is None:
        return ''
    accepted = found.p_correct[found.code == 0]
    low = int(np.count_nonzero(accepted < 0.5))
    if not low:
        return ''
    return (
        f'P(correct) is below 50 % for {low:,} of the {len(accepted):,} accepted calibration {unit}s (the lowest is '
        f'{percent(round(float(accepted.min()), 4))}): its map rests on {int(np.count_nonzero(~validation.correct)):,} '
        'validation errors and is rough there. The promise does not use it'
    )


class _Context(NamedTuple):
    calibration: Units
    test: Units | None
    score: str
    options: DecideConfig
    unit: str
    invalid: str

    def record(
        self,
        name: str,
        found: Certificate,
        together: int = 1,
        test: Units | None = None,
        stricter: Sequence[str] = (),
    ) -> Guarantee:
        """Return the record of a certificate, with the verdict of the test units (or of these)."""
        record = guarantee(name, found, self.unit, self.invalid, together, stricter=stricter)
        judges = self.test if test is None else test
        if judges is None:
            return record
        costs = costs_of(self.options)
        return replace(record, verdict=verdict_on(found, judges.confidence(self.score), judges.correct, costs))


def _promises(context: _Context, found: Thresholds) -> Iterator[Guarantee]:
    """Yield the guarantees of the policy: of each tier, of its coverage, and of the budget."""
    given_up = 'given up for the budget (config.decide.yields)'
    last = list(found.tiers)[-1] if found.tiers else ''
    for number, (name, certificate) in enumerate(found.tiers.items()):
        stricter = list(found.tiers)[:number]
        record = context.record(name, certificate, len(found.tiers), stricter=stricter)
        yield replace(record, reason=given_up) if found.given_up and name == last else record
    if found.tiers and (found.tiers[last].is_certified or found.given_up):
        yield _coverage(context, found)
    if found.budget is not None:
        yield _budget(context, found.budget, found.given_up)


def _coverage(context: _Context, found: Thresholds) -> Guarantee:
    """Return how many units go over the last threshold, at least."""
    unit, delta = context.unit, context.options.delta
    threshold = found.applied[list(found.applied)[-1]][0]
    confidence = context.calibration.confidence(context.score)
    floor = accepted_share(confidence, threshold, delta)
    asked = context.options.coverage
    statement = (
        f'at least {percent(round(floor, 4))} of new {unit}s are not handed to a human (with probability '
        f'{percent(1 - delta)} over draws of the calibration {unit}s)'
    )
    reason = ''
    if asked and floor < asked:
        reason = (
            f'the asked-for floor of {percent(asked)} is not reached: allow a higher risk, or give more calibration '
            f'{unit}s'
        )
    verdict = None
    if context.test is not None:
        accepted = accepts(context.test.confidence(context.score), threshold)
        verdict = verdict_of_share(int(accepted.sum()), len(accepted), floor, is_floor=True)
    return Guarantee(
        name='coverage',
        kind='coverage',
        statement=statement,
        target=floor,
        delta=delta,
        units=len(context.calibration),
        coverage=float(np.mean(accepts(confidence, threshold))),
        assumption=EXCHANGEABLE.format(unit=unit),
        not_said='nothing of errors; it holds alone, and together with the promise above at twice its delta',
        reason=reason,
        invalid=context.invalid,
        verdict=verdict,
    )


def _budget(context: _Context, floor: Floor, is_applied: bool) -> Guarantee:
    """Return what a review budget promises and which error rate it leaves."""
    unit, budget = context.unit, context.options.budget
    yields = 'the promised error rate yields to it' if is_applied else 'the policy does not apply it: a promise stands'
    verdict = None
    if context.test is not None:
        human = ~accepts(context.test.confidence(context.score), floor.threshold)
        verdict = verdict_of_share(int(human.sum()), len(human), budget)
    return Guarantee(
        name='budget',
        kind='budget',
        statement=(
            f'at most {percent(budget)} of new {unit}s are handed to a human at {floor.threshold:.6g}; then at most '
            f'{percent(round(floor.risk_bound, 4))} of the others are wrong (each with probability '
            f'{percent(1 - floor.delta)}); {yields}'
        ),
        target=budget,
        delta=floor.delta,
        units=floor.num_units,
        threshold=float(floor.threshold) if math.isfinite(floor.threshold) else math.nan,
        coverage=floor.num_accepted / floor.num_units,
        assumption=EXCHANGEABLE.format(unit=unit),
        not_said='a budget and a promised error rate cannot both be chosen: one of them follows from the other',
        invalid=context.invalid,
        verdict=verdict,
    )


def _menu(context: _Context, validation: Units | None) -> Iterator[Guarantee]:
    """Yield further limits, certified together."""
    limits = menu_of_limits(validation)
    confidence = context.calibration.confidence(context.score)
    for limit in limits:
        found = certify_selective(
            confidence, context.calibration.correct, limit, context.options.delta / len(limits), context.options.starts
        )
        yield context.record(f'at most {percent(limit)} wrong', found, len(limits))


def _groups(context: _Context, found: Thresholds, risk: float, class_names: tuple[str, ...]) -> Iterator[Guarantee]:
    """Yield one row per group: those of the policy, or else one per class predicted."""
    by, calibration = context.options.by or PREDICTED, context.calibration
    certificates: dict[Any, Certificate] = dict(found.groups)
    if not certificates:
        if calibration.logits is None or context.options.kind == 'cost' or calibration.logits.shape[1] > MAX_CLASSES:
            return
        certificates |= certify_each(
            calibration.confidence(context.score), calibration.correct, groups_of(calibration, by), risk,
            context.options.delta, [str(n) for n in range(calibration.logits.shape[1])], context.options.starts,
        )  # fmt: skip
    of_test = None if context.test is None else groups_of(context.test, by)
    for name, certificate in certificates.items():
        test = None if context.test is None or of_test is None else context.test.take(of_test == name)
        shown = class_names[int(name)] if by == PREDICTED and class_names else str(name)
        yield context.record(shown, certificate, len(certificates), test)


def _impossible(context: _Context, risk: float) -> str:
    share, low = least_rejected(context.calibration.correct, risk)
    if not share:
        return ''
    return (
        f'No score can do better than this: for {percent(risk)} errors among accepted, at least '
        f'{percent(round(share, 4))} of {context.unit}s must be rejected at the error rate of the calibration '
        f'{context.unit}s' + (f', and at least {percent(round(low, 4))} with 95 % confidence.' if low else '.')
    )
