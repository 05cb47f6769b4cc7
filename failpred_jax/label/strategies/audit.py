"""A random sample for an honest estimate of the accuracy, which costs fewer labels than a uniform one."""

import numpy as np

from failpred_jax.label.design import STRAY, draw, inclusion_probabilities
from failpred_jax.label.pool import Pool
from failpred_jax.label.strategy import Ask, Picked, strategy


@strategy(
    'audit',
    description='a random sample with known probabilities: its labels give an unbiased accuracy, with an interval',
    reference='Zrnic & Candes, "Active statistical inference", ICML 2024',
)
def audit(pool: Pool, ask: Ask) -> Picked:
    """Return units drawn with probability proportional to sqrt(p (1 - p) + STRAY)."""
    p_correct, source = pool.probability_correct(ask.score)
    inclusion = inclusion_probabilities(p_correct, ask.budget, accepted=pool.accepted)
    rows = draw(inclusion, ask.budget, ask.seed)
    even = ask.budget / len(pool)
    reasons = [
        'drawn: every such unit is taken'
        if inclusion[row] >= 1
        else f'drawn with {inclusion[row] / even:.2g} times the probability of a uniform sample'
        for row in rows
    ]
    notes = (
        f'drawn by {source} as P(correct), as if {STRAY:.1%} of the predictions were wrong whatever it says; in random '
        'order, so label from the top, as many as you can, without looking at results in between',
    )
    return Picked(rows, np.array(reasons), source, inclusion[rows], p_correct, inclusion, notes)
