"""What the strategies that rank units one by one share: the least sure first, without near-duplicates."""

from collections.abc import Callable

import numpy as np

from failpred_jax.label.pool import Pool
from failpred_jax.label.spread import first_of_each
from failpred_jax.label.strategy import Ask, Picked


def least_sure(
    pool: Pool, ask: Ask, sureness: np.ndarray, score: str, reason: Callable[[np.ndarray], list[str]]
) -> Picked:
    """Return the units with the least of a measure [N] of being sure; ties are broken at random by the seed.

    Args:
      pool: the units.
      ask: what is asked for.
      sureness: [N] of any real type, higher means surer.
      score: what is shown as the confidence.
      reason: rows -> why each was chosen.
    """
    tie = np.random.default_rng([ask.seed, 0x74696573]).permutation(len(pool))

    def order(count: int) -> np.ndarray:
        count = min(count, len(pool))
        if count < len(pool):
            # Of two million, the few that matter are found before they are sorted.
            limit = np.partition(sureness, count - 1)[count - 1]
            rows = np.flatnonzero(sureness <= limit)
        else:
            rows = np.arange(len(pool))
        return rows[np.lexsort((tie[rows], sureness[rows]))][:count]

    exact = pool.probs
    rows, passed = first_of_each(order, ask.budget, pool.features, exact)
    notes = [_passed_over(passed, pool.features is not None)] if passed else []
    if pool.features is None and exact is None:
        notes.append("near-duplicates were not looked for: there are no 'features'")
    return Picked(rows, np.array(reason(rows)), score, np.full(len(rows), np.nan), notes=tuple(notes))


def _passed_over(count: int, by_features: bool) -> str:
    how = 'near-duplicates of one that is in the batch' if by_features else 'of exactly the same probabilities'
    return f'{count:,} units were passed over: {how}'
