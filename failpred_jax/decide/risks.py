"""Thresholds whose error rate on new units is promised: exact for any score, any classifier and any number of units.

All of them hold for calibration units and new units from the same distribution, and for a confidence that was neither
fitted nor chosen on the calibration units.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from failpred_jax.calibrate.checks import between_0_and_1, confidence_units
from failpred_jax.decide.binomial import most_errors, units_needed
from failpred_jax.decide.certificate import Certificate, Number, nothing
from failpred_jax.decide.sequence import (
    NUM_RANKS,
    Tried,
    fixed_ranks,
    last_passed,
    start_places,
    tried_at_ranks,
)
from failpred_jax.errors import UserError
from failpred_jax.types import Array


def certify_selective(
    confidence: Array,
    correct: Array,
    risk: float,
    delta: float = 0.05,
    starts: int = 1,
    num_ranks: int = NUM_RANKS,
    thresholds: Array | None = None,
) -> Certificate:
    """Return the threshold of largest coverage whose error rate among accepted new units is promised.

    With probability at least 1 - delta over the draw of the calibration units, at most a share `risk` of the new units
    over the threshold is wrong. Accepted sets of sizes fixed beforehand are tested by the exact binomial, from the
    smallest that could pass, and the sequence ends at its first failure. With several starts, as many sequences begin
    at places spread over the sizes, each at delta / starts: one confident error then ends one of them, not all.

    The thresholds of fixed sizes are confidences of the calibration units themselves. That is exact where accepting
    more never lowers the error rate, as for any sensible score. `thresholds` from other units need no such thing.

    Args:
      confidence: [N] of any real type; float64 and integers keep their order.
      correct: [N] bool (or 0 and 1).
      risk: the promised limit, in (0, 1).
      delta: in (0, 1).
      starts: sequences, 1 or greater; chosen before anything is seen.
      num_ranks: sizes that are tried, 1 or greater.
      thresholds: [J] that were fixed without these units, or None for the confidences of fixed ranks.

    Raises:
      UserError: what is given is not what it should be.

    Reference: Angelopoulos, Bates, Candès, Jordan & Lei, "Learn then test", Annals of Applied Statistics 2025, section
      3.2 (fixed-sequence testing, several starts); Geifman & El-Yaniv, NeurIPS 2017 (selective risk).
    """
    between_0_and_1(risk=risk, delta=delta)
    _check_count(starts=starts, num_ranks=num_ranks)
    confidence, correct = confidence_units(confidence, correct, is_finite=False)
    num_units, level = len(confidence), delta / starts
    needed = units_needed(risk, level)
    if num_units < needed:
        return nothing('selective', risk, delta, num_units, _too_few(needed, num_units, risk, level), needed)
    if thresholds is None:
        tried = tried_at_ranks(confidence, correct, fixed_ranks(needed, num_units, num_ranks))
        is_tested = _distinct(tried) & (tried.units >= needed)
        accepts_all = tried.units == num_units
    else:
        tried = _tried_at(confidence, correct, np.asarray(thresholds))
        # What is left out of the sequence may not depend on these units.
        is_tested, accepts_all = np.ones(len(tried.units), bool), np.isneginf(tried.threshold)
    chosen = selective_choice(tried, is_tested, risk, delta, starts)
    if chosen < 0:
        return nothing(
            'selective', risk, delta, num_units, _failed(tried, is_tested, risk, level, starts, thresholds), 0
        )
    threshold = -math.inf if accepts_all[chosen] else _plain(tried.threshold[chosen])
    return Certificate(
        'selective', threshold, risk, delta, num_units, int(tried.units[chosen]), int(tried.errors[chosen])
    )


def selective_choice(tried: Tried, is_tested: np.ndarray, risk: float, delta: float, starts: int = 1) -> np.ndarray:
    """Return which of the tried sets is certified, the last that any sequence reaches: [...] int, -1 for none."""
    level = delta / starts
    passes = tried.errors <= most_errors(tried.units, risk, level)
    found = [
        np.where((last := last_passed(passes[..., first:], is_tested[..., first:])) >= 0, last + first, -1)
        for first in start_places(passes.shape[-1], starts)
    ]
    return np.max(found, axis=0)


def certify_generalized(confidence: Array, correct: Array, risk: float, delta: float = 0.05) -> Certificate:
    """Return the threshold of largest coverage with a promise on the share of units that are accepted *and* wrong.

    With probability at least 1 - delta over the draw of the calibration units, at most a share `risk` of all new units
    is accepted and wrong. That share only rises as more is accepted, so every threshold is tried and nothing is paid
    for it; ties and any score are allowed. Arguments and errors as in `certify_selective`.

    Reference: Traub et al., "Overcoming common flaws in the evaluation of selective classification systems", NeurIPS
      2024 (generalized risk); Bates et al., "Distribution-free, risk-controlling prediction sets", JACM 2021 (monotone
      losses).
    """
    between_0_and_1(risk=risk, delta=delta)
    confidence, correct = confidence_units(confidence, correct, is_finite=False)
    needed = units_needed(risk, delta)
    if len(confidence) < needed:
        reason = _too_few(needed, len(confidence), risk, delta)
        return nothing('generalized', risk, delta, len(confidence), reason, needed)
    return _with_errors('generalized', confidence, correct, int(most_errors(len(confidence), risk, delta)), risk, delta)


def certify_expected(confidence: Array, correct: Array, risk: float) -> Certificate:
    """Return the threshold of largest coverage where the expected share that is accepted and wrong is promised.

    Averaged over draws of the calibration units and of a new unit, that unit is accepted and wrong with probability at
    most `risk`: the calibration units may hold E accepted errors with (E + 1) / (N + 1) <= risk. For a single draw of
    calibration units it says less than `certify_generalized`. Arguments and errors as there.

    Reference: Angelopoulos, Bates, Fisch, Lei & Schuster, "Conformal risk control", ICLR 2024, theorem 1.
    """
    between_0_and_1(risk=risk)
    confidence, correct = confidence_units(confidence, correct, is_finite=False)
    num_units = len(confidence)
    allowed = math.floor(risk * (num_units + 1) + 1e-9) - 1
    if allowed < 0:
        needed = math.ceil(1 / risk - 1e-9) - 1
        reason = f'not certifiable: needs {needed:,} units, there are {num_units:,}'
        return nothing('expected', risk, math.nan, num_units, reason, needed)
    return _with_errors('expected', confidence, correct, allowed, risk, math.nan)


def certify_each(
    confidence: Array,
    correct: Array,
    groups: Array,
    risk: float,
    delta: float = 0.05,
    names: Sequence[Hashable] | None = None,
    starts: int = 1,
) -> dict[Hashable, Certificate]:
    """Return a threshold for each group of units, all of whose promises hold together.

    Each is certified at delta over the number of groups. A group is what is known of a unit when it is decided, such as
    its predicted class: the true class is not.

    Args:
      confidence, correct, risk, delta, starts: as in `certify_selective`.
      groups: [N], the group of each unit.
      names: every group there can be, fixed beforehand; None for those of these units.

    Returns:
      group -> its certificate; where it has too few units, with the number that is needed.
    """
    groups = np.asarray(groups)
    confidence, correct = np.asarray(confidence), np.asarray(correct)
    if groups.shape != confidence.shape:
        raise UserError(
            f'groups has shape {groups.shape} but confidence has {confidence.shape}; give one group per unit'
        )
    names = list(np.unique(groups)) if names is None else list(names)
    level = delta / max(1, len(names))
    found: dict[Hashable, Certificate] = {}
    for name in names:
        inside = groups == name
        if not inside.any():
            needed = units_needed(risk, level / starts)
            found[name] = nothing('selective', risk, level, 0, _too_few(needed, 0, risk, level), needed)
            continue
        found[name] = certify_selective(confidence[inside], correct[inside], risk, level, starts)
    return found


def certify_tiers(
    confidence: Array, correct: Array, risks: Mapping[str, float], delta: float = 0.05, starts: int = 1
) -> dict[str, Certificate]:
    """Return a threshold for each tier, all of whose promises hold together: each is certified at delta / T.

    What a tier promises is the error rate among all units over its threshold, those of stricter tiers included.

    Args:
      confidence, correct, delta, starts: as in `certify_selective`.
      risks: tier -> promised limit, the strictest first.
    """
    limits = list(risks.values())
    if not limits or any(later <= earlier for earlier, later in zip(limits, limits[1:], strict=False)):
        raise UserError(f'the limits of the tiers are {limits}; give one or more, each greater than the one before')
    return {
        name: certify_selective(confidence, correct, risk, delta / len(risks), starts) for name, risk in risks.items()
    }


def impossible_share(base_error: float, risk: float) -> float:
    """Return the share that any score must reject for an error rate of `risk`, even one that knows every error.

    Of a share mu of errors, a perfect score rejects errors alone until a share `risk` of the rest is left:
    (mu - risk) / (1 - risk), or 0 where mu is not over it.
    """
    return max(0.0, (base_error - risk) / (1 - risk))


def _with_errors(
    kind: str, confidence: np.ndarray, correct: np.ndarray, allowed: int, risk: float, delta: float
) -> Certificate:
    """Return the loosest threshold that accepts at most so many errors."""
    wrong = np.sort(confidence[~correct])[::-1]
    # The first error too many, with all that ties with it, is left out.
    threshold = -math.inf if allowed >= len(wrong) else _plain(wrong[allowed])
    accepted = np.ones(len(correct), bool) if threshold == -math.inf else confidence > threshold
    return Certificate(
        kind, threshold, risk, delta, len(correct), int(accepted.sum()), int((accepted & ~correct).sum())
    )


def _tried_at(confidence: np.ndarray, correct: np.ndarray, thresholds: np.ndarray) -> Tried:
    """Return what each of given thresholds accepts, the strictest first."""
    falling = np.unique(thresholds)[::-1]
    rising, wrong = np.sort(confidence), np.sort(confidence[~correct])
    units = len(rising) - np.searchsorted(rising, falling, side='right')
    return Tried(falling, units, len(wrong) - np.searchsorted(wrong, falling, side='right'))


def _distinct(tried: Tried) -> np.ndarray:
    """Return the first of each run of ranks that ties make one and the same set: [J] bool."""
    return np.concatenate([[True], tried.units[1:] != tried.units[:-1]])


def _plain(value: Any) -> Number:
    """Return a number of NumPy as Python's, integers as integers."""
    return value.item()


def _too_few(needed: int, num_units: int, risk: float, delta: float) -> str:
    return f'not certifiable: needs {needed:,} units for {risk:.4g} at delta = {delta:.4g}, there are {num_units:,}'


def _failed(
    tried: Tried, is_tested: np.ndarray, risk: float, level: float, starts: int, thresholds: Array | None
) -> str:
    """Return why the first test of the sequence (of each of several) did not pass, and what can be done."""
    if not is_tested.any():
        return 'not certifiable: ties leave no threshold that accepts enough units'
    first = int(np.argmax(is_tested))
    units, errors = int(tried.units[first]), int(tried.errors[first])
    allowed = int(most_errors(units, risk, level))
    where = f'the {units:,} most confident units' if thresholds is None else f'{units:,} units over the first threshold'
    may = f'at most {allowed} may be' if allowed >= 0 else f'at least {units_needed(risk, level):,} units are needed'
    others = f' (the first of {starts} sequences; the others failed as well)' if starts > 1 else ''
    return f'not certified: {errors:,} of {where} are wrong, and {may}{others}; {_ways_on(starts)}'


def _ways_on(starts: int) -> str:
    """Return what can be promised instead, or with more."""
    several = '' if starts > 1 else 'several sequences (config.decide.starts=5, chosen before looking), '
    return f"a higher risk, {several}more calibration units or config.decide.kind='generalized' may be certified"


def _check_count(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise UserError(f'{name} is {value}; it must be 1 or greater')
