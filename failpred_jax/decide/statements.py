"""Promises in words: what is stated, what it needs, what it does not say, and what the test units say of it."""

import math
from collections.abc import Sequence

import numpy as np

from failpred_jax.decide.binomial import share_interval
from failpred_jax.decide.certificate import Certificate, accepts
from failpred_jax.decide.costs import Costs
from failpred_jax.results.decisions import Guarantee, Verdict
from failpred_jax.results.measures import Interval

EXCHANGEABLE = 'new {unit}s come from where the calibration {unit}s come from, and nothing else has read those'
MONOTONE = 'accepting more does not lower the error rate'
NOT_SAID = (
    'nothing of single classes or groups, nor of {unit}s from elsewhere (shift), nor of another model or another score'
)
REUSED = 'not valid: validation data reused'


def guarantee(
    name: str,
    found: Certificate,
    unit: str,
    invalid: str = '',
    together: int = 1,
    given_thresholds: bool = False,
    stricter: Sequence[str] = (),
) -> Guarantee:
    """Return the record of a certificate.

    Args:
      name: of the tier, class or group.
      found: the certificate.
      unit: what is decided, such as 'image'.
      invalid: why it is no guarantee, or ''.
      together: how many promises share delta.
      given_thresholds: whether thresholds were fixed without the calibration units.
      stricter: the tiers before this one, whose units lie over its threshold too.
    """
    limit = f'{found.target:.4g}' if found.kind == 'cost' else percent(found.target)
    over = 'over the threshold'
    if stricter:
        over += f' (those of {" and ".join(stricter)} included)'
    statement = {
        'selective': f'of the {unit}s {over}, at most {limit} are wrong',
        'generalized': f'at most {limit} of all {unit}s are {over} and wrong',
        'expected': f'a new {unit} is {over} and wrong with probability at most {limit}, on average over '
        f'draws of the calibration {unit}s',
        'cost': f'a new {unit} costs at most {limit} on average',
    }[found.kind]
    if not math.isnan(found.delta):
        total = found.delta * together
        share = f', together with {together - 1} more' * (together > 1)
        statement += f' (with probability {percent(1 - total)} over draws of the calibration {unit}s{share})'
    assumption = EXCHANGEABLE.format(unit=unit)
    if found.kind == 'selective' and not given_thresholds:
        assumption += f'; {MONOTONE}'
    not_said = NOT_SAID.format(unit=unit)
    if stricter:
        not_said += f'; nor of the {unit}s that {name} takes by itself, which are wrong more often'
    is_partial = math.isfinite(found.threshold)
    return Guarantee(
        name=name,
        kind=found.kind,
        statement=statement,
        target=found.target,
        delta=found.delta,
        units=found.num_units,
        threshold=float(found.threshold) if is_partial else math.nan,
        coverage=found.coverage,
        assumption=assumption,
        not_said=not_said,
        reason=found.reason,
        invalid=invalid,
    )


def percent(share: float) -> str:
    """Return a share in words, with as many digits as it needs: '0.5 %'."""
    return f'{100 * share:.4g} %'


def verdict_on(found: Certificate, confidence: np.ndarray, correct: np.ndarray, costs: Costs | None = None) -> Verdict:
    """Return what test units say of a certificate; an interval that lies over the limit contradicts it."""
    if not found.is_certified:
        return Verdict()
    accepted = accepts(confidence, found.threshold)
    errors = int((accepted & ~correct).sum())
    if found.kind == 'cost' and costs is not None:
        return _verdict_of_mean(costs.of_decisions(accepted, correct), found.target)
    return verdict_of_share(errors, int(accepted.sum()) if found.kind == 'selective' else len(correct), found.target)


def verdict_of_share(count: int, units: int, limit: float, is_floor: bool = False) -> Verdict:
    """Return what a share on test units says of a promised limit, or of a promised floor."""
    if not units:
        return Verdict()
    low, high = share_interval(count, units)
    return Verdict(count / units, Interval(low, high), units, _word(low, high, limit, is_floor))


def _verdict_of_mean(values: np.ndarray, limit: float) -> Verdict:
    if len(values) < 2:
        return Verdict()
    mean, error = float(values.mean()), 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Verdict(mean, Interval(mean - error, mean + error), len(values), _word(mean - error, mean + error, limit))


def _word(low: float, high: float, limit: float, is_floor: bool = False) -> str:
    if is_floor:
        low, high, limit = -high, -low, -limit
    if low > limit:
        return 'contradicted'
    return 'confirmed' if high <= limit else 'consistent'
