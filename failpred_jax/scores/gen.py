"""GEN: an entropy that also weighs the small probabilities."""

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.scores.given import as_float32, split_given
from failpred_jax.scores.score import ScoreInputs, score
from failpred_jax.scores.softmax import split_winner
from failpred_jax.types import Array

# The paper's, for every data set.
GAMMA = 0.1
MOST_CLASSES = 100


@score(
    'gen',
    needs=['logits'],
    description='minus the generalized entropy of the softmax, which also weighs small probabilities',
    reference='Liu et al., CVPR 2023, equation 4 (gamma = 0.1, M = 100)',
)
def gen(inputs: ScoreInputs) -> Array:
    """Return -sum_m p_m^gamma (1 - p_m)^gamma over the M largest probabilities.

    Args:
      inputs: reads `logits` [..., C].

    Returns:
      [...] float32, 0 or less.

    Reference: Liu, Lochman & Zach, "GEN: Pushing the limits of softmax-based out-of-distribution detection", CVPR
      2023, equation 4 with gamma = 0.1 and M = min(C, 100).
    """
    if (given := split_given(inputs)) is not None:
        losing = given.losing[..., : MOST_CLASSES - 1]
        spread = (losing * (1 - losing)) ** GAMMA
        return as_float32(-((given.top * given.rest) ** GAMMA + np.sum(spread, axis=-1)))
    winner = split_winner(inputs.logits)
    losing = winner.losing + winner.log_top[..., None]
    if losing.shape[-1] > MOST_CLASSES:
        losing = jax.lax.top_k(losing, MOST_CLASSES - 1)[0]
    # log(1 - p) of the winner is known beyond float32's rounding of p.
    of_top = jnp.exp(GAMMA * (winner.log_top + winner.log_rest))
    return -(of_top + jnp.sum(jnp.exp(GAMMA * (losing + jnp.log1p(-jnp.exp(losing)))), axis=-1))
