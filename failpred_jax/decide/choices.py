"""What is chosen before anything is certified: the score and the limits. Calibration and test units are not asked."""

import numpy as np

from failpred_jax.decide.binomial import units_needed
from failpred_jax.decide.units import Units
from failpred_jax.errors import UserError
from failpred_jax.registry import SCORES

LADDER = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
# The limit where nothing is known beforehand.
USUAL = 0.05
NUM_IN_MENU = 5
# On fewer, the best of many scores is the best by chance.
FEWEST_ERRORS = 10


def choose_score(named: str, calibration: Units, validation: Units | None) -> tuple[str, str]:
    """Return the score that decides, and how it was chosen.

    Args:
      named: by the user beforehand; '' for none.
      calibration: has the confidences to choose from.
      validation: the best by AURC on these is chosen; without them, the only score there is, or the baseline.

    Raises:
      UserError: there is no score of that name, or it reads the label, or none can be chosen.
    """
    usable = [name for name in calibration.confidences if not (name in SCORES and SCORES[name].reads_label)]
    if named:
        if named in calibration.confidences:
            check_named(named)
        calibration.confidence(named)
        return named, 'named beforehand'
    if validation is not None:
        found = {
            name: aurc(validation.confidence(name), validation.correct)
            for name in usable
            if name in validation.confidences
        }
        if len(found) == 1:
            return next(iter(found)), 'the only score there is'
        num_wrong = int((~validation.correct).sum())
        baseline = _baseline(list(found))
        if num_wrong < FEWEST_ERRORS and baseline:
            return baseline, f'the baseline: {num_wrong} validation errors are too few to choose a score on'
        if found:
            best = min(found, key=lambda name: found[name])
            return best, f'of {len(found)} scores, the lowest AURC on the {len(validation):,} validation units'
    own = [name for name in usable if name not in SCORES]
    if len(usable) == 1 or len(own) == 1:
        return (own or usable)[0], 'the only score of its own that was given'
    baseline = _baseline(usable)
    if not baseline:
        raise UserError(
            f'several scores could decide ({", ".join(usable)}), and there are no validation units to choose on: name '
            'one, --score=NAME'
        )
    return baseline, 'the baseline: there are no validation units to choose on'


def check_named(score: str) -> None:
    """Raise a UserError for a score that nobody has when a decision is due."""
    if score in SCORES and SCORES[score].reads_label:
        raise UserError(f"the score '{score}' reads the label, which nobody has when a decision is due")


def _baseline(names: list[str]) -> str:
    return next((name for name in names if name in SCORES and SCORES[name].role == 'baseline'), '')


def aurc(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Return the AURC that `failpred_jax.metrics` measures, in plain NumPy: [N], [N] bool -> scalar.

    `ranking_metrics` would be compiled for each size, and is slow on many resamples; units that tie are one level here.
    """
    order = np.argsort(confidence)[::-1]
    falling = confidence[order]
    starts = np.flatnonzero(np.concatenate([[True], falling[1:] != falling[:-1]]))
    right = np.add.reduceat(correct[order].astype(np.float64), starts)
    units = np.diff(np.append(starts, len(falling))).astype(np.float64)
    all_units, all_wrong = np.cumsum(units), np.cumsum(units - right)
    risk = all_wrong / all_units
    # The first risk is carried to coverage 0, as docs/metrics.md has it.
    before = np.concatenate([risk[:1], risk[:-1]])
    return float((units * (risk + before)).sum() / (2 * len(falling)))


def choose_limits(
    named: tuple[float, ...], validation: Units | None, num_units: int, delta: float
) -> tuple[tuple[float, ...], str]:
    """Return the promised limits and how they were chosen; without names, one that asks for a third less errors.

    Of the calibration units it asks their number alone: a limit that so many cannot show, not even without an error, is
    not chosen if a round number above it can be shown.

    Args:
      named: by the user beforehand; () for none.
      validation: the units whose error rate it is, or None.
      num_units: calibration units.
      delta: of the first promise.
    """
    if named:
        return named, 'named beforehand'
    if validation is None:
        limit, how = USUAL, 'the usual one, as there are no validation units'
    else:
        error = float(np.mean(~validation.correct))
        limit = next((limit for limit in LADDER if limit <= error * 2 / 3), LADDER[-1])
        how = f'the first round number that is at most two thirds of the validation error rate, {error:.2%}'
    shown = [rung for rung in LADDER if rung > limit and units_needed(rung, delta) <= num_units]
    if units_needed(limit, delta) <= num_units or not shown:
        return (limit,), how
    few = (
        f'the strictest round number that {num_units:,} units can show; {limit:g} needs {units_needed(limit, delta):,}'
    )
    return (shown[-1],), few


def menu_of_limits(validation: Units | None) -> tuple[float, ...]:
    """Return further limits to certify together, strictest last: those next below the validation error rate."""
    error = 1.0 if validation is None else float(np.mean(~validation.correct))
    below = [limit for limit in LADDER if limit < error]
    return tuple(below[:NUM_IN_MENU] or LADDER[-1:])
