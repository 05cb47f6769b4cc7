"""Several components' confidences as one: a detector and a classifier, a retriever and a generator, two models.

Each is calibrated first, so that it is the probability that its component is right. How they go together depends on
what being right means for the whole: every component must be ('product', 'minimum'), one is enough ('noisy_or'), or it
is learned ('mean', 'logistic').
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from failpred_jax.calibrate.checks import correctness, real_array
from failpred_jax.calibrate.confidence import Calibrator, fit_confidence
from failpred_jax.calibrate.logistic import fit_logistic, softened
from failpred_jax.decide.choices import aurc
from failpred_jax.errors import UserError
from failpred_jax.types import Array

# Calibrated probabilities of exactly 0 or 1 would have infinite log-odds.
_SMALLEST = 1e-6
ASSUMES = {
    'product': 'all components must be right, and they err independently',
    'minimum': 'the whole is as good as its weakest component: no independence is assumed',
    'mean': 'nothing; it is the average confidence, and no probability of the whole',
    'noisy_or': 'one right component is enough, and they err independently',
    'logistic': 'the log-odds of the whole are a weighted sum of those of the components; fitted on held-out units',
}
_RULES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    'product': lambda p: p.prod(axis=1),
    'minimum': lambda p: p.min(axis=1),
    'mean': lambda p: p.mean(axis=1),
    'noisy_or': lambda p: 1 - (1 - p).prod(axis=1),
}


@dataclass(frozen=True)
class Combination:
    """Several confidences as one.

    Attributes:
      rule: one of ASSUMES.
      calibrators: component -> its map to P(correct).
      weights: of the components' log-odds, for 'logistic'; else empty.
      intercept: of the same.
    """

    rule: str
    calibrators: Mapping[str, Calibrator]
    weights: tuple[float, ...] = ()
    intercept: float = 0.0

    @property
    def assumes(self) -> str:
        """What the rule assumes, to be said wherever its values are shown."""
        return ASSUMES[self.rule]

    def __call__(self, confidences: Mapping[str, Array]) -> np.ndarray:
        """Return the confidence of the whole: component -> [N] of any real type -> [N] float64 in [0, 1].

        Raises:
          UserError: a component is missing, or their lengths differ.
        """
        calibrated = _calibrated(self.calibrators, confidences)
        if self.rule == 'logistic':
            return expit(_log_odds(calibrated) @ np.array(self.weights) + self.intercept)
        return _RULES[self.rule](calibrated)


def combine_components(
    rule: str,
    confidences: Mapping[str, Array],
    correct: Mapping[str, Array] | Array,
    whole_correct: Array | None = None,
    calibrators: Mapping[str, Calibrator] | None = None,
) -> Combination:
    """Return a rule that makes one confidence of several, fitted on held-out (validation) units.

    Args:
      rule: one of ASSUMES.
      confidences: component -> [N] of any real type.
      correct: component -> [N] bool, whether that component is right; or [N] bool for all of them.
      whole_correct: [N] bool, whether the whole is right, for 'logistic'; None where `correct` says it.
      calibrators: component -> its map to P(correct), where it is fitted already, as by another rule.

    Raises:
      UserError: what is given is not what it should be.

    Reference: Pearl, Probabilistic Reasoning in Intelligent Systems, 1988, section 4.3.2 (noisy-or); Wolpert, "Stacked
      generalization", 1992 (logistic).
    """
    if rule not in ASSUMES:
        raise UserError(f"rule is '{rule}'; it must be one of: {', '.join(ASSUMES)}")
    if len(confidences) < 2:
        raise UserError(f'{len(confidences)} component is given; there must be two or more to combine')
    of = correct if isinstance(correct, Mapping) else dict.fromkeys(confidences, correct)
    if set(of) != set(confidences):
        raise UserError(f'correct is given for {", ".join(of)}, but the components are {", ".join(confidences)}')
    calibrators = calibrators or {name: fit_confidence(values, of[name]) for name, values in confidences.items()}
    if rule != 'logistic':
        return Combination(rule, calibrators)
    whole = next(iter(of.values())) if whole_correct is None and not isinstance(correct, Mapping) else whole_correct
    if whole is None:
        raise UserError("'logistic' needs whole_correct: whether the whole is right")
    fitted = fit_logistic(_log_odds(_calibrated(calibrators, confidences)), softened(correctness(whole)))
    return Combination(rule, calibrators, tuple(map(float, fitted.weights)), float(fitted.intercept))


@dataclass(frozen=True)
class Compared:
    """A rule, measured.

    Attributes:
      rule: one of ASSUMES, or a component alone.
      aurc: area under the risk-coverage curve; lower is better.
      low, high: its interval over resampled units.
      difference: aurc less that of the first rule.
      difference_low, difference_high: interval of the difference, on the same resamples.
      assumes: what the rule assumes; '' for a component alone.
    """

    rule: str
    aurc: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    assumes: str


def compare_combinations(
    values: Mapping[str, Array],
    correct: Array,
    num_resamples: int = 500,
    level: float = 0.95,
    seed: int = 0,
    belongs: np.ndarray | None = None,
) -> list[Compared]:
    """Return how well confidences of the whole find its errors, with paired intervals.

    Args:
      values: rule, or name of a component -> [N] confidence; the others are compared with the first.
      correct: [N] bool, whether the whole is right.
      num_resamples: 1 or greater.
      level: of the intervals.
      seed: of the resamples.
      belongs: [N] int, equal for units that err together: they are drawn together; None where each stands alone.
    """
    right = correctness(correct)
    columns = {name: real_array(column, f"confidence '{name}'") for name, column in values.items()}
    if not columns or any(column.shape != right.shape for column in columns.values()):
        raise UserError('give one confidence per unit and rule, and whether each unit is right')
    rng = np.random.default_rng(seed)
    found = {name: aurc(column, right) for name, column in columns.items()}
    drawn: dict[str, Any] = {name: np.empty(num_resamples) for name in columns}
    members = None if belongs is None else np.split(np.argsort(belongs, kind='stable'), _ends(belongs))
    for place in range(num_resamples):
        if members is None:
            rows = rng.integers(0, len(right), len(right))
        else:
            rows = np.concatenate([members[group] for group in rng.integers(0, len(members), len(members))])
        for name, column in columns.items():
            drawn[name][place] = aurc(column[rows], right[rows])
    first = next(iter(columns))
    tails = [(1 - level) / 2, (1 + level) / 2]
    compared = []
    for name in columns:
        low, high = np.quantile(drawn[name], tails)
        below, above = np.quantile(drawn[name] - drawn[first], tails)
        compared.append(
            Compared(
                name, found[name], float(low), float(high), found[name] - found[first], float(below), float(above),
                ASSUMES.get(name, ''),
            )
        )  # fmt: skip
    return compared


def _ends(belongs: np.ndarray) -> np.ndarray:
    """Return where the groups end among units that are sorted by group, the last one's end left out."""
    return np.cumsum(np.unique(belongs, return_counts=True)[1])[:-1]


def _calibrated(calibrators: Mapping[str, Calibrator], confidences: Mapping[str, Array]) -> np.ndarray:
    """Return P(correct) of each component: [N, M]."""
    missing = [name for name in calibrators if name not in confidences]
    if missing:
        raise UserError(f'the components {", ".join(missing)} are missing; give the confidences of all of them')
    columns = [fitted(confidences[name]) for name, fitted in calibrators.items()]
    if len({column.shape for column in columns}) > 1:
        raise UserError(f'the components have {", ".join(str(len(c)) for c in columns)} units; give the same for all')
    return np.stack(columns, axis=1)


def _log_odds(calibrated: np.ndarray) -> np.ndarray:
    return logit(np.clip(calibrated, _SMALLEST, 1 - _SMALLEST))
