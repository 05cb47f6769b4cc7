"""Which alarms a monitor has, at which limit and level each goes off, and what each means in words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from failpred_jax import apply
from failpred_jax.errors import UserError
from failpred_jax.monitor import ranks
from failpred_jax.monitor.bounds import mean_upper_bound, share_upper_bound
from failpred_jax.monitor.options import ACCEPTED, ALARMS, ESTIMATED, RANKS, REALIZED, Options
from failpred_jax.monitor.reference import Reference
from failpred_jax.monitor.wealth import log_threshold

# Shares of the wealth that are bet on an error rate over the limit, at each unit.
STAKES = np.array([0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32])
_GUARANTEED = ('selective', 'generalized', 'expected')


@dataclass(frozen=True)
class Armed:
    """An alarm that may go off.

    Attributes:
      name: one of ALARMS.
      limit: the mean error up to which it stays quiet; NaN for the ranks of confidences.
      bound: of it, what the reference (or a promise of a mean over draws) says of its own mean error at most; NaN where
        none is needed.
      alpha_source: the probability that this mean error is over the bound.
      alpha: the probability that it ever goes off although nothing is over the limit (unless a run length is promised).
      log_level: the logarithm of the wealth at which it goes off.
      among_all: of the accepted units' errors, whether they are counted among all units (a generalized promise).
    """

    name: str
    limit: float
    bound: float
    alpha_source: float
    alpha: float
    log_level: float
    among_all: bool = False

    @property
    def num_strategies(self) -> int:
        """Bets that are mixed."""
        return ranks.NUM_BETS if self.name == RANKS else len(STAKES)


def arm(policy: apply.Policy, reference: Reference, options: Options) -> tuple[tuple[Armed, ...], dict[str, str]]:
    """Return the alarms that are armed, and of each other one why it is not.

    A share alpha / A of the promise goes to each of A alarms; where it needs a bound of the reference, half of that
    goes to the bound (alpha_source) and half to the bets (alpha_prod).

    Raises:
      UserError: an alarm was asked for that cannot be had, or there is none at all.

    Reference: Amoukou et al., "Sequential harmful shift detection without labels", NeurIPS 2024.
    """
    off = {name: reason for name in ALARMS if (reason := _problem(name, policy, reference, options))}
    asked = options.alarms or tuple(name for name in ALARMS if name not in off)
    for name in asked:
        if name in off:
            raise UserError(f"the alarm '{name}' cannot be armed: {off[name]}")
    if not asked:
        raise UserError('no alarm can be armed: ' + '; '.join(f'{name}: {reason}' for name, reason in off.items()))
    off |= {name: 'it was not asked for' for name in ALARMS if name not in asked and name not in off}
    return tuple(_armed(name, policy, reference, options, len(asked)) for name in ALARMS if name in asked), off


def _armed(name: str, policy: apply.Policy, reference: Reference, options: Options, together: int) -> Armed:
    share = options.alpha / together
    promises = _promises(policy) if name == ACCEPTED else []
    is_average = any(record['kind'] == 'expected' for record in promises)
    source = share / 2 if name in (ESTIMATED, REALIZED) or is_average else 0.0
    alpha = share - source
    bound = limit = math.nan
    among_all = False
    if is_average:
        # Promised is a mean over draws of calibration units, and it is these that the policy was made with.
        limit = bound = max(_of_these(record, len(reference), source / len(promises)) for record in promises)
        among_all = True
    elif source:
        bound = _bound(name, reference, source, options.seed)
        limit = bound + options.tolerance
    elif promises:
        limit, among_all = float(promises[0]['risk']), promises[0]['kind'] != 'selective'
    return Armed(
        name, limit, bound, source, alpha, log_threshold(alpha, options.run_length, together, options.window), among_all
    )


def _bound(name: str, reference: Reference, delta: float, seed: int) -> float:
    if name == ESTIMATED:
        assert reference.p_correct is not None
        return mean_upper_bound(1 - reference.p_correct, delta, seed)
    return share_upper_bound(reference.num_errors, len(reference), delta)


def _problem(name: str, policy: apply.Policy, reference: Reference, options: Options) -> str:
    """Return why an alarm cannot be armed, or ''."""
    if name == ESTIMATED and reference.p_correct is None:
        return 'the policy has no map to P(correct), which needs validation units (val_...)'
    if name == RANKS and len(reference) < 20:
        return f'it needs 20 reference units, and there are {len(reference)}'
    if name == ACCEPTED:
        return '' if _promises(policy) else 'the policy promises no error rate for what its first tier accepts'
    if name in (ESTIMATED, REALIZED):
        lowest = _bound(name, reference, options.alpha / 2 / len(ALARMS), options.seed) + options.tolerance
        if lowest >= 1:
            return f'{len(reference)} reference units say nothing of the error rate at this alpha'
    return ''


def _promises(policy: apply.Policy) -> list[dict[str, Any]]:
    """Return the records of what the first tier promises, of all units or of each group; all of one kind and risk."""
    first = policy.content['tiers'][0]
    records = list(policy.content.get('group_certificates', {}).values()) if policy.groups else [first]
    # A tier that accepts nothing, or whose promise gave way to a budget, promises nothing.
    return [r for r in records if r.get('kind') in _GUARANTEED and not r.get('reason') and not r.get('given_up')]


def _of_these(record: Mapping[str, Any], num_units: int, delta: float) -> float:
    """Return the error rate that an expected promise is over with at most this probability, for these units.

    Accepted is what lies over the wrong unit that is one too many of N, A + 1 by confidence: the share of accepted and
    wrong units is at most Beta(A + 1, N - A) distributed over draws of the calibration units. N is the record's, or
    `num_units` where it has none.
    """
    num_units, risk = int(record.get('units', num_units)), float(record['risk'])
    allowed = math.floor(risk * (num_units + 1) + 1e-9) - 1
    return max(risk, share_upper_bound(max(allowed, 0), num_units, delta))


def log_bets(errors: np.ndarray, limit: float) -> np.ndarray:
    """Return the logarithms of the bets on errors [n] in [0, 1] with a mean over the limit: [n, K].

    Each bet has a mean of at most 1 if the mean error, given the past, is at most `limit`.
    """
    return np.log1p(STAKES * (errors[:, None] / limit - 1))
