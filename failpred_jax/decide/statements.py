"""Promises in words: what is stated, what it needs, what it does not say, and what the test units say of it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from failpred_jax.decide.binomial import share_interval
from failpred_jax.decide.certificate import Certificate, accepts
from failpred_jax.decide.costs import Costs
from failpred_jax.decide.set_limits import conformal_rank, missed_by_chance
from failpred_jax.results.decisions import Guarantee, Verdict
from failpred_jax.results.measures import Interval

EXCHANGEABLE = 'new {unit}s come from where the calibration {unit}s come from, and nothing else has read those'
MONOTONE = 'accepting more does not lower the error rate'
NOT_SAID = (
    'nothing of single classes or groups, nor of {unit}s from elsewhere (shift), nor of another model or another score'
)
REUSED = 'not valid: validation data reused'
# Probability with which chance alone contradicts a promise on average, or confirms one that just fails.
TAIL = 0.025


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
    """Return what test units say of a certificate."""
    if not found.is_certified:
        return Verdict()
    accepted = accepts(confidence, found.threshold)
    errors = int((accepted & ~correct).sum())
    if found.kind == 'cost' and costs is not None:
        return _verdict_of_mean(costs.of_decisions(accepted, correct), found.target)
    if found.kind == 'expected':
        return verdict_on_average([Part('', len(correct), errors, found.num_units)], found.target)
    return verdict_of_share(errors, int(accepted.sum()) if found.kind == 'selective' else len(correct), found.target)


class Part(NamedTuple):
    """Test units that a promise is kept for on average: a class, a group, or all.

    Attributes:
      name: what they share, '' for all.
      units: their number.
      broken: those of them that break it: errors that are accepted, sets without the true class.
      calibration: the calibration units behind it.
    """

    name: str
    units: int
    broken: int
    calibration: int


def verdict_on_average(parts: Sequence[Part], limit: float, is_floor: bool = False) -> Verdict:
    """Return what test units say of a promise that holds on average over draws of the calibration units.

    The units of one draw of those may break it more often than promised, and nothing is amiss. So what is seen is
    compared with what both draws give where the promise just holds (`missed_by_chance`), not with the limit alone: a
    promise that holds is contradicted with probability at most 2.5 %, that of several parts together.

    Args:
      parts: each with the promise for itself; the one furthest beyond it is told of.
      limit: of the share that breaks it.
      is_floor: whether the shares that keep it are told, as of a coverage.
    """
    judged = [part for part in parts if part.units]
    if not judged:
        return Verdict()
    level = TAIL / max(1, sum(conformal_rank(part.calibration, limit) > 0 for part in judged))
    laws = [missed_by_chance(part.calibration, limit, part.units) for part in judged]
    as_many = [1 - law[part.broken - 1] if part.broken else 1.0 for part, law in zip(judged, laws, strict=True)]
    worst = int(np.argmin(as_many))
    part, law = judged[worst], laws[worst]
    # Where no limit is possible, nothing can break the promise.
    is_better = all(law[part.broken] <= TAIL or law[0] == 1 for part, law in zip(judged, laws, strict=True))
    word = 'contradicted' if as_many[worst] <= level else 'confirmed' if is_better else 'consistent'
    low, high = share_interval(part.broken, part.units)
    least = int(np.searchsorted(law, TAIL, 'right')) / part.units
    most = int(np.searchsorted(law, 1 - level, 'left')) / part.units
    ends, chance = Interval(low, high), Interval(least, most)
    value = part.broken / part.units
    if is_floor:
        value, ends, chance = 1 - value, Interval(1 - high, 1 - low), Interval(1 - most, 1 - least)
    return Verdict(value, ends, part.units, word, chance, part.name, len(judged))


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
