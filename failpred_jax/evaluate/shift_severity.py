"""What units do at one severity of a corruption, and what a policy and prediction sets make of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from failpred_jax import apply
from failpred_jax.config import DecideConfig
from failpred_jax.decide.set_results import describe_sets, fit_rule, sets_of
from failpred_jax.decide.sets import SetRule
from failpred_jax.decide.units import Units, of_predictions, one_of_each
from failpred_jax.errors import UserError
from failpred_jax.metrics import is_graded
from failpred_jax.metrics.weighted import values_of_units
from failpred_jax.registry import SCORES
from failpred_jax.results import Predictions
from failpred_jax.results.shifted import Severity

NUM_BINS = 15


@dataclass(frozen=True)
class Judge:
    """What decides about units.

    Attributes:
      policy: of the run, or None.
      rule: of prediction sets, or None.
      options: by which the sets are made.
      sets_are: in words, what the sets are, or why there are none.
      judged_by: digest of the decisions that policy and sets are of, or ''.
    """

    policy: apply.Policy | None = None
    rule: SetRule | None = None
    options: DecideConfig = field(default_factory=DecideConfig)
    sets_are: str = ''
    judged_by: str = ''

    def accepted(self, found: Predictions) -> np.ndarray | None:
        """Return which units the policy accepts: [N] bool; None without a policy that can say."""
        if self.policy is None or self.policy.score not in found.confidences or self.policy.groups:
            return None
        return apply.decide(self.policy, found.confidences[self.policy.score]).code == 0

    def policy_share(self, found: Predictions) -> float:
        """Return the share that the policy accepts; NaN without one."""
        accepted = self.accepted(found)
        return np.nan if accepted is None else float(np.mean(accepted))

    def sets(self, found: Predictions) -> tuple[float, float]:
        """Return (share of prediction sets that hold the true class, mean size); NaN without them.

        Of units that err together one is counted, as in the decisions.
        """
        if self.rule is None or not len(found.labels):
            return np.nan, np.nan
        units = _units(found)
        if self.rule.by == 'group' and self.options.by not in units.columns:
            return np.nan, np.nan
        units = one_of_each(units, self.options.seed)
        inside, labels = sets_of(self.rule, units, self.options), units.labels
        return float(np.mean(inside[np.arange(len(inside)), labels])), float(np.mean(inside.sum(axis=1)))


def _units(found: Predictions) -> Units:
    units = of_predictions(found)
    assert units is not None
    return units


def make_judge(
    policy: apply.Policy | None,
    calibration: Predictions | None,
    validation: Predictions | None,
    options: DecideConfig,
    judged_by: str,
) -> Judge:
    """Return what decides about units of a run: its policy, and the prediction sets of its decisions.

    Args:
      policy: of the run, or None.
      calibration: its calibration units, or None.
      validation: its validation units, or None.
      options: those that its decisions were made with; without any, those of its config.
      judged_by: digest of its decisions, '' without any.
    """
    given = calibration or (validation if options.reuse_validation else None)
    if given is None or not len(given.labels) or options.sets == 'none':
        return Judge(policy, judged_by=judged_by)
    units = one_of_each(_units(given), options.seed)
    try:
        rule = fit_rule(units, None if validation is None else of_predictions(validation), options)
    except UserError as error:
        return Judge(policy, sets_are=f'none, as {error}', judged_by=judged_by)
    of = "of the run's decisions" if judged_by else f'fitted on {len(units):,} units by config.decide'
    return Judge(policy, rule, options, f'{of} ({describe_sets(options)})', judged_by)


def split_severities(found: Predictions, severity: np.ndarray | None) -> Iterator[tuple[int, Predictions]]:
    """Yield (severity, its units), rising; nothing where there are none."""
    if severity is None:
        return
    for level in np.unique(severity):
        rows = severity == level
        yield (
            int(level),
            replace(
                found,
                # Empty where only what is right is known.
                labels=found.labels[rows] if len(found.labels) else found.labels,
                logits=found.logits[rows] if len(found.labels) else found.logits,
                probs=None if found.probs is None else found.probs[rows],
                correct=found.correct[rows],
                confidences={name: values[rows] for name, values in found.confidences.items()},
            ),
        )


def measured_severity(
    level: int, found: Predictions, thresholds: Mapping[str, float], judge: Judge, reference: str
) -> Severity:
    """Return what units of one severity do; see `Severity`."""
    correct = found.correct.astype(np.float64)
    mean, auroc, accepted, accepted_error = {}, {}, {}, {}
    for name, threshold in thresholds.items():
        if name not in found.confidences:
            continue
        values = found.confidences[name]
        over = values > threshold
        accepted[name] = float(np.mean(over))
        accepted_error[name] = float(np.mean(1 - correct[over])) if over.any() else np.nan
        auroc[name] = np.nan if is_graded(correct) else values_of_units(values, found.correct)['auroc']
        if name in SCORES and SCORES[name].is_probability:
            mean[name] = float(np.mean(values))
    is_judged = judge.accepted(found)
    coverage, size = judge.sets(found)
    return Severity(
        severity=level,
        units=len(correct),
        accuracy=float(np.mean(correct)),
        ece=binned_gap(found.confidences[reference], correct) if reference in mean else np.nan,
        mean=mean,
        auroc=auroc,
        accepted=accepted,
        accepted_error=accepted_error,
        policy_accepted=judge.policy_share(found),
        policy_error=float(np.mean(1 - correct[is_judged])) if is_judged is not None and is_judged.any() else np.nan,
        set_coverage=coverage,
        set_size=size,
    )


def binned_gap(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Return the ECE of probabilities [N] over 15 bins of equal width, as `metrics` has it, in NumPy."""
    place = np.clip(np.ceil(confidence.astype(np.float64) * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    gaps = np.bincount(place, correct - confidence, NUM_BINS)
    return float(np.abs(gaps).sum() / len(correct))
