"""Which scores a run can have, and their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from failpred_jax.errors import ScoreUnavailableError, UserError
from failpred_jax.registry import SCORES
from failpred_jax.scores.score import FitInputs, Score, ScoreInputs
from failpred_jax.types import PyTree

PAPER = ('mcp', 'mc_dropout', 'trust_score', 'confidnet', 'confidnet_finetuned')


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
    # The paper's four first, the upper bound last, all others by name.
    bound = [name for name in SCORES if SCORES[name].reads_label]
    others = sorted(set(SCORES) - set(PAPER) - set(bound))
    for name in [*(name for name in PAPER if name in SCORES), *others, *bound]:
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


@dataclass(frozen=True)
class Fitted:
    """What fitting left: name -> pytree, sentences for the table, and the scores that could not be fitted."""

    values: Mapping[str, PyTree]
    notes: Mapping[str, tuple[str, ...]]
    unavailable: Mapping[str, str]


def fit_scores(plan: Plan, inputs: FitInputs) -> Fitted:
    """Fit every score of the plan that needs it; those that combine others come last and are handed their fits."""
    values, notes, unavailable = {}, {}, {}
    for score in sorted(plan.scores, key=lambda score: score.combines):
        if score.fit is None:
            continue
        try:
            given = inputs._replace(fits=dict(values)) if score.combines else inputs
            values[score.name], notes[score.name] = score.fit(given)
        except ScoreUnavailableError as error:
            unavailable[score.name] = str(error)
    return Fitted(values, notes, unavailable)


def compute_scores(plan: Plan, inputs: ScoreInputs, fitted: Fitted) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return (name -> confidences [N] float32, name -> why a score turned out to be unavailable)."""
    confidences, unavailable = {}, dict(fitted.unavailable)
    for score in plan.scores:
        if score.name in unavailable:
            continue
        try:
            if score.fit is None:
                confidence = score.fn(inputs)
            else:
                confidence = score.fn(inputs, fitted.values[score.name])
        except ScoreUnavailableError as error:
            unavailable[score.name] = str(error)
            continue
        confidences[score.name] = np.asarray(jax.device_get(confidence), np.float32)
    return confidences, unavailable
