"""The units whose class probabilities are spread most."""

import numpy as np
from scipy.special import entr

from failpred_jax.label.pool import Pool
from failpred_jax.label.ranked import least_sure
from failpred_jax.label.strategy import Ask, Picked, strategy

_ROWS = 100_000


@strategy(
    'entropy',
    description='largest entropy of the class probabilities',
    reference='Shannon 1948; Settles, "Active learning literature survey", 2009, section 3.1',
    needs=('probs',),
)
def entropy(pool: Pool, ask: Ask) -> Picked:
    """Return the units with the largest entropy in nats, without near-duplicates."""
    probs = pool.need_probs("the strategy 'entropy'")
    found = np.concatenate([entr(probs[i : i + _ROWS]).sum(axis=1) for i in range(0, len(probs), _ROWS)])
    _, score = pool.confidence(ask.score)
    return least_sure(
        pool,
        ask,
        -found,
        score,
        lambda rows: [f'the class probabilities have an entropy of {found[i]:.3g}' for i in rows],
    )
