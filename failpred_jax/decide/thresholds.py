"""From options to the thresholds of a policy, each with its certificate."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from failpred_jax.config import DecideConfig
from failpred_jax.decide.certificate import Certificate, Number
from failpred_jax.decide.costs import Costs, certify_cost, cost_order
from failpred_jax.decide.floors import Floor, threshold_for_budget
from failpred_jax.decide.risks import certify_each, certify_expected, certify_generalized, certify_tiers
from failpred_jax.decide.units import Units
from failpred_jax.errors import UserError, nearest
from failpred_jax.prediction_file.fields import NO_SLICES
from failpred_jax.prediction_file.names import meaning_of
from failpred_jax.prediction_file.outcome_columns import outcome_columns

PREDICTED = 'predicted'
# Part of the calibration units that places thresholds for costs where there are no others to do it.
_PLACING = 0.2


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a policy.

    Attributes:
      tiers: tier -> certificate; empty where thresholds are per group.
      groups: group -> certificate, where thresholds are per group.
      applied: tier -> the thresholds that the policy applies, one, or one per group.
      budget: the threshold that keeps the review budget, or None.
      given_up: whether the promise yields to the budget.
      notes: sentences.
    """

    tiers: Mapping[str, Certificate] = field(default_factory=dict)
    groups: Mapping[str, Certificate] = field(default_factory=dict)
    applied: Mapping[str, tuple[Number, ...]] = field(default_factory=dict)
    budget: Floor | None = None
    given_up: bool = False
    notes: tuple[str, ...] = ()


def costs_of(options: DecideConfig) -> Costs | None:
    """Return the costs that the options give, or None."""
    return Costs(options.cost_error, options.cost_review, options.reviewer_error) if options.cost_error else None


def groups_of(units: Units, by: str) -> np.ndarray:
    """Return the group of each unit: [N] of words.

    Raises:
      UserError: the units have no such column, or no predicted class.
    """
    if by == PREDICTED:
        if units.predicted is None:
            has_column = 'predicted_class' in units.columns
            hint = "; there is a column 'predicted_class'" if has_column else ''
            raise UserError(f"config.decide.by is 'predicted', but the predictions have no logits or probs{hint}")
        return units.predicted.astype(str)
    # What has a meaning of its own in a file is no further column, and a name alone tells what it holds.
    name = by if by in units.columns else meaning_of(by)
    told = outcome_columns({name: np.empty(0), **units.columns}, units.correct, units.labels)
    if name in told:
        raise UserError(
            f"config.decide.by is '{by}', which holds {told[name]}: nobody knows that when the policy decides; name a "
            "column that is known then, or 'predicted'"
        )
    if by not in units.columns:
        raise UserError(f"config.decide.by is '{by}', {_why_none(name, units)}")
    column = np.asarray(units.columns[by])
    known = column[~np.isnan(column)] if column.dtype.kind == 'f' else column[:0]
    if len(known) and np.all(known == np.round(known)) and np.abs(known).max() < 2**53:
        # Whole numbers with gaps, which a table holds as decimals.
        return np.where(np.isnan(column), 'nan', np.nan_to_num(column).astype(np.int64).astype(str))
    return column.astype(str)


def _why_none(name: str, units: Units) -> str:
    """Return why units cannot be told apart by what is no column of theirs."""
    if name == 'group':
        return 'which says what belongs together: a promise is of new groups, and these have no threshold yet'
    classes = [PREDICTED] if units.predicted is not None else []
    there = [*units.columns, *classes]
    if name == PREDICTED:
        return f'which has another name here: {", ".join(there) or "none"}'
    if name in NO_SLICES:
        return f'which tells units apart one by one, and no kinds of them (columns: {", ".join(there) or "none"})'
    return f'which is no column of all parts{nearest(name, there)} (columns: {", ".join(there) or "none"})'


def make_thresholds(
    calibration: Units, validation: Units | None, score: str, risks: tuple[float, ...], options: DecideConfig
) -> Thresholds:
    """Return the thresholds that the options ask for, certified on the calibration units."""
    confidence, correct = calibration.confidence(score), calibration.correct
    if options.by:
        names = None
        if options.by == PREDICTED and calibration.logits is not None:
            names = [str(number) for number in range(calibration.logits.shape[1])]
        found = certify_each(
            confidence, correct, groups_of(calibration, options.by), risks[0], options.delta, names, options.starts
        )
        groups = {str(name): certificate for name, certificate in found.items()}
        applied = {options.tiers[0]: tuple(certificate.threshold for certificate in groups.values())}
        return Thresholds(groups=groups, applied=applied)
    tiers, notes = _tiers(calibration, validation, score, risks, options)
    applied = {name: (certificate.threshold,) for name, certificate in tiers.items()}
    if not options.budget:
        return Thresholds(tiers, applied=applied, notes=notes)
    try:
        budget = threshold_for_budget(confidence, correct, options.budget, options.delta)
    except UserError as error:
        return Thresholds(tiers, applied=applied, notes=(*notes, f'no threshold keeps the budget: {error}'))
    last = list(tiers)[-1]
    breaks = 1 - tiers[last].coverage > 1 - budget.num_accepted / len(calibration)
    given_up = breaks and options.yields == 'risk'
    if given_up:
        applied[last] = (budget.threshold,)
    return Thresholds(tiers, applied=applied, budget=budget, given_up=given_up, notes=notes)


def _tiers(
    calibration: Units, validation: Units | None, score: str, risks: tuple[float, ...], options: DecideConfig
) -> tuple[dict[str, Certificate], tuple[str, ...]]:
    confidence, correct = calibration.confidence(score), calibration.correct
    limits = dict(zip(options.tiers, risks, strict=True))
    if options.kind == 'selective':
        return certify_tiers(confidence, correct, limits, options.delta, options.starts), ()
    if options.kind == 'generalized':
        level = options.delta / len(limits)
        return {name: certify_generalized(confidence, correct, risk, level) for name, risk in limits.items()}, ()
    if options.kind == 'expected':
        return {name: certify_expected(confidence, correct, risk) for name, risk in limits.items()}, ()
    costs = costs_of(options)
    assert costs is not None  # the options say so
    notes: tuple[str, ...] = ()
    if validation is not None and score in validation.confidences:
        order = cost_order(validation.confidence(score), validation.correct, costs)
    else:
        drawn = np.random.default_rng([options.seed, 5]).random(len(correct)) < _PLACING
        if drawn.all() or not drawn.any():
            raise UserError(f'{len(correct)} calibration units are too few to promise a cost')
        order = cost_order(confidence[drawn], correct[drawn], costs)
        confidence, correct = confidence[~drawn], correct[~drawn]
        notes = (
            f'{int(drawn.sum())} calibration units, drawn at random, place the thresholds; the others certify them',
        )
    found = certify_cost(confidence, correct, costs, options.cost_limit, order, options.delta)
    return {options.tiers[0]: found}, notes
