"""Which scores a run can have, and their values: each is computed once, and those that combine others read them."""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np

from failpred_jax.blocks import to_host
from failpred_jax.console import phase
from failpred_jax.errors import ScoreUnavailableError, UserError
from failpred_jax.evaluate.faults import by_itself, checked
from failpred_jax.registry import SCORES
from failpred_jax.scores.bank import Bank, make_bank
from failpred_jax.scores.crossfit import held_out_values, validation_folds, values_of
from failpred_jax.scores.distances import Ask, distances, measure_distances
from failpred_jax.scores.logits import normalized_reason
from failpred_jax.scores.score import FitInputs, Score, ScoreInputs, Shared, as_fit
from failpred_jax.types import Array, PyTree

# The order of the table: what costs nothing, what is learned, all others by name, and what cannot be used.
ORDER = ('baseline', 'learned', '', 'bound')


# A score that reads no more, and has no fit, is compiled whole where that pays.
_COMPILED_NEEDS = frozenset({'logits', 'labels'})
WITHIN_UNIT = 'it lies within [0, 1], so it is also measured as P(correct)'


@dataclass(frozen=True)
class Plan:
    """Which scores will be computed, and which not, with the reason.

    Attributes:
      scores: to compute, in the order of the table.
      unavailable: name -> reason.
    """

    scores: tuple[Score, ...]
    unavailable: Mapping[str, str]

    def needs(self) -> frozenset[str]:
        """Return the fields of ScoreInputs that the scores read of the evaluated and the validation units."""
        return frozenset().union(*(score.needs for score in self.scores))

    def train_needs(self) -> frozenset[str]:
        """Return the fields that fits read of the training units; empty if no fit does."""
        return frozenset().union(*(s.needs & {'logits', 'features'} for s in self.scores if s.fits_on_train))


def make_plan(requested: Sequence[str], missing: Mapping[str, str], task: str) -> Plan:
    """Return the plan for the requested names.

    Args:
      requested: names of scores; 'all' is every one whose needs can be met.
      missing: field of ScoreInputs -> why it cannot be had.
      task: 'classification' or 'segmentation'.

    Raises:
      UserError: a score that was asked for by name cannot be had.
    """
    scores, unavailable = [], {}
    for name in sorted(SCORES, key=lambda name: (ORDER.index(SCORES[name].role), name)):
        if 'all' not in requested and name not in requested:
            continue
        score: Score = SCORES[name]
        reasons = [missing[need] for need in sorted(score.needs) if need in missing]
        if task == 'segmentation' and not score.per_pixel:
            reasons.append('it is not defined for single pixels')
        if reasons:
            unavailable[name] = '; '.join(reasons)
        else:
            scores.append(score)
    refused = [f'  - {name}: {reason}' for name, reason in unavailable.items() if name in requested]
    if refused:
        raise UserError('\n'.join(['config.evaluate.scores asks for scores that this run cannot have:', *refused]))
    return Plan(tuple(scores), unavailable)


def drop_normalized(plan: Plan, *logits: Array) -> Plan:
    """Return the plan without the scores that need raw logits, if any of these logits [N, C] are normalized.

    Only for logits from elsewhere: our own networks' are raw.
    """
    reasons = [reason for reason in map(normalized_reason, logits) if reason]
    if not reasons:
        return plan
    kept = tuple(score for score in plan.scores if not score.needs_raw_logits)
    return Plan(kept, {**plan.unavailable, **{s.name: reasons[0] for s in plan.scores if s.needs_raw_logits}})


@dataclass(frozen=True)
class Fitted:
    """What fitting left.

    Attributes:
      values: score -> pytree.
      notes: score -> sentences for the table.
      unavailable: score -> why it could not be fitted.
      columns: score -> [N], the values of the validation units, none by a fit that has seen the unit's label; empty
        without any.
    """

    values: Mapping[str, PyTree] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


def fit_scores(plan: Plan, inputs: FitInputs, own: Mapping[str, np.ndarray] | None = None) -> Fitted:
    """Fit every score of the plan that needs it, and compute all of them for the validation units.

    Args:
      plan: the scores.
      inputs: what they are fitted on.
      own: scores that came with the validation units.
    """
    values, notes, unavailable = {}, {}, {}
    columns = dict(own or {})
    folds = validation_folds(inputs)
    inputs = with_distances(plan.scores, inputs)
    for score in _in_order(plan):
        given = inputs
        if score.combines:
            given = inputs._replace(val=inputs.val._replace(columns=_usable(columns)))
        with by_itself(score.name, unavailable, score.fn), phase(f'fitting {score.name}'):
            fit = None if score.fit is None else as_fit(score.fit(given))
            columns[score.name] = checked(held_out_values(score, given, fit, folds), len(given.val_labels))
            if fit is not None:
                values[score.name], notes[score.name] = fit.fitted, fit.notes
    return Fitted(values, notes, unavailable, columns)


def compute_scores(
    plan: Plan,
    inputs: ScoreInputs,
    fitted: Fitted,
    own: Mapping[str, np.ndarray] | None = None,
    is_told: bool = True,
    is_compiled: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Compute every score of the plan.

    Args:
      plan: the scores.
      inputs: of the units, `labels` among them where a score reads them.
      fitted: what fitting left.
      own: scores that came with the units, which a score that combines others may read.
      is_told: whether scores that take long are told of; not for the parts of something that is.
      is_compiled: whether scores of logits alone are compiled whole, which pays for many calls with as many units.

    Returns:
      (name -> confidences [N], the user's own left out; name -> why a score turned out to be unavailable).
    """
    found, unavailable = dict(own or {}), dict(fitted.unavailable)
    inputs = inputs._replace(shared=Shared())
    asked = []
    for score in plan.scores:
        if score.distances is not None and score.name in fitted.values:
            with by_itself(score.name, unavailable, score.fn):
                asked.append(score.distances.of_units(fitted.values[score.name]))
    _measure_together(inputs, [question for question in asked if question is not None], is_told)
    for score in _in_order(plan):
        if score.name in unavailable:
            continue
        with (
            by_itself(score.name, unavailable, score.fn),
            phase(f'computing {score.name}') if is_told else contextlib.nullcontext(),
        ):
            values = _compute(score, inputs, fitted.values, found, is_compiled)
            found[score.name] = checked(values, len(inputs.logits), may_be_undefined=True)
    return {score.name: found[score.name] for score in plan.scores if score.name in found}, unavailable


def with_distances(scores: Sequence[Score], inputs: FitInputs) -> FitInputs:
    """Return what is fitted on, with the distances that these scores ask for measured in one pass."""
    inputs = inputs._replace(shared=Shared(), val=inputs.val._replace(shared=Shared()))
    asking = [score.distances for score in scores if score.distances is not None]
    if not asking:
        return inputs
    try:
        features, labels = inputs.training('distances')
    except ScoreUnavailableError:
        # Every score says so of itself.
        return inputs
    with phase('preparing the training units'):
        holds = frozenset().union(*(asked.holds for asked in asking))
        bank = make_bank(features, labels, inputs.val.logits.shape[-1], inputs.key, holds)
    _measure_together(inputs.val, [(bank, asked.to_fit) for asked in asking])
    return inputs._replace(bank=bank)


def _measure_together(inputs: ScoreInputs, questions: Sequence[tuple[Bank, Ask]], is_told: bool = True) -> None:
    """Answer questions on the distances of units, those to one bank in one pass, into what their scores share."""
    assert inputs.shared is not None
    for bank in dict.fromkeys(bank for bank, _ in questions):
        asks = list(dict.fromkeys(ask for other, ask in questions if other is bank))
        num_units = len(inputs.get('features'))
        told = phase('measuring distances', num_units, 'units') if is_told else contextlib.nullcontext()
        with told as progress:
            answers = measure_distances(inputs, bank, asks, progress)
        for ask, answer in zip(asks, answers, strict=True):
            inputs.shared.put(distances, (bank, ask), answer)


@functools.cache
def _compiled(score: Score) -> Callable[[ScoreInputs], Array]:
    return jax.jit(score.fn)


def _in_order(plan: Plan) -> list[Score]:
    """Return the scores, those that combine others last."""
    return sorted(plan.scores, key=lambda score: score.combines)


def _usable(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the values of the scores that do not read the label."""
    return {name: value for name, value in columns.items() if not (name in SCORES and SCORES[name].reads_label)}


def _compute(
    score: Score,
    inputs: ScoreInputs,
    fits: Mapping[str, PyTree],
    columns: Mapping[str, np.ndarray],
    is_compiled: bool,
) -> np.ndarray:
    """Return a score of all units; see `values_of`."""
    if score.combines:
        inputs = inputs._replace(columns=_usable(columns))
    given = () if score.fit is None else (fits[score.name],)
    if is_compiled and not given and score.needs <= _COMPILED_NEEDS and inputs.probabilities is None:
        # A score of somebody's own may be written in NumPy, which cannot be compiled.
        with contextlib.suppress(jax.errors.JAXTypeError):
            return to_host(_compiled(score)(ScoreInputs(inputs.logits, labels=inputs.labels)))
    return values_of(score, inputs, *given)
