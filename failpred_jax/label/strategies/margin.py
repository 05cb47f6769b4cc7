"""The units whose two most probable classes are closest to each other."""

import numpy as np

from failpred_jax.label.pool import Pool
from failpred_jax.label.ranked import least_sure
from failpred_jax.label.strategy import Ask, Picked, strategy


@strategy(
    'margin',
    description='smallest lead of the most probable class over the second; hard to beat, and fast',
    reference='Scheffer, Decomain & Wrobel, IDA 2001',
    needs=('probs',),
)
def margin(pool: Pool, ask: Ask) -> Picked:
    """Return the units with the smallest margin, without near-duplicates."""
    probs = pool.need_probs("the strategy 'margin'")
    two = np.partition(probs, -2, axis=1)[:, -2:]
    leads = two[:, 1] - two[:, 0]
    _, score = pool.confidence(ask.score)
    return least_sure(
        pool, ask, leads, score, lambda rows: [f'the two most probable classes differ by {leads[i]:.3g}' for i in rows]
    )
