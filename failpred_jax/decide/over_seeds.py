"""What was decided with each of several seeds, side by side; and what may and may not be said of them together."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from failpred_jax.decide.statements import percent
from failpred_jax.results.decisions import Decided, Guarantee, SeedDecided

# Kinds whose promise is of what lies over a threshold.
TIERED = ('selective', 'generalized', 'expected', 'cost')


def rows_of_seeds(found: Sequence[SeedDecided]) -> list[dict[str, Any]]:
    """Return one row for each promise of each seed: of plain values, None where there is nothing to say.

    A row has seed, score, name, limit, threshold (None: nothing or everything is accepted), accepted (share of the
    calibration units), test_accepted, test_value with test_low and test_high, verdict, and reason where nothing is
    certified.
    """
    return [row for one in found for row in _rows(one)]


def _rows(one: SeedDecided) -> Iterator[dict[str, Any]]:
    decided = one.decided
    shown = [promise for promise in decided.guarantees or decided.groups if promise.kind in TIERED]
    for promise in shown:
        verdict = promise.verdict
        judged = verdict is not None and verdict.units > 0
        yield {
            'seed': one.seed,
            'score': decided.score,
            'name': promise.name,
            'limit': promise.target,
            'threshold': _finite(promise.threshold),
            'accepted': promise.coverage if promise.is_certified else None,
            'test_accepted': _accepted_of_test(decided, promise),
            'test_value': verdict.value if judged and verdict is not None else None,
            'test_low': verdict.interval.low if judged and verdict is not None else None,
            'test_high': verdict.interval.high if judged and verdict is not None else None,
            'verdict': verdict.word if judged and verdict is not None else '',
            'reason': promise.reason or promise.invalid,
        }


def _accepted_of_test(decided: Decided, promise: Guarantee) -> float | None:
    """Return the share of the test units over a tier's threshold; None for a group, or without test units."""
    if not (promise.is_certified and decided.guarantees):
        return None
    total = 0.0
    for flow in decided.flow:
        total += flow.test
        if flow.action == promise.name:
            return _finite(total)
    return None


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def notes_of_seeds(found: Sequence[SeedDecided]) -> list[str]:
    """Return what is true of the seeds' promises together."""
    notes = []
    first = [one.decided.guarantees[0] for one in found if one.decided.guarantees]
    if len(first) > 1 and all(promise.is_certified for promise in first):
        coverage = np.array([promise.coverage for promise in first])
        notes.append(
            f'certified coverage over seeds: {percent(round(coverage.mean(), 4))} on average, from '
            f'{percent(round(coverage.min(), 4))} to {percent(round(coverage.max(), 4))}'
        )
    if len({one.decided.score for one in found}) > 1:
        notes.append('the seeds are decided by different scores, each chosen on its own validation confidences')
    if len({promise.target for promise in first}) > 1:
        notes.append('the promised limits differ, since each was chosen by its own validation error rate')
    delta = max((promise.delta for promise in first if math.isfinite(promise.delta)), default=math.nan)
    together = len(found) * delta
    notes.append(
        'each seed is a model of its own, with a policy of its own in seed_K/decisions; the policy of one is refused '
        'for another'
    )
    if math.isfinite(delta):
        all_hold = f'with probability {percent(1 - together)} or more' if together < 1 else 'with no useful probability'
        notes.append(
            f'each promise fails with probability {percent(delta)} at most; that of all {len(found)} seeds hold '
            f'together, or that of one chosen after looking at this table does, {all_hold}. Name the seed to deploy '
            'beforehand, or choose it on validation units'
        )
    notes.append(
        'the seeds share their calibration and their test units: their verdicts are not independent of one another, '
        'and the spread over seeds is that of the training alone'
    )
    return notes
