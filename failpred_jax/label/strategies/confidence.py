"""The units of the lowest confidence, of whichever score."""

import numpy as np

from failpred_jax.label.pool import Pool
from failpred_jax.label.ranked import least_sure
from failpred_jax.label.strategy import Ask, Picked, strategy


@strategy(
    'confidence',
    description='lowest confidence of any score (--score=NAME; by default the learned one)',
    reference='Lewis & Gale, SIGIR 1994; with a learned confidence: Corbiere et al., NeurIPS 2019',
)
def confidence(pool: Pool, ask: Ask) -> Picked:
    """Return the units of the lowest confidence, without near-duplicates."""
    values, score = pool.confidence(ask.score)
    values = np.asarray(values)
    return least_sure(pool, ask, values, score, lambda rows: [f'{score} is {values[i]:.4g}' for i in rows])
