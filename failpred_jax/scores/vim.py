"""ViM: the energy less a virtual logit, which grows with what the features have outside the training space."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from failpred_jax.scores.linear import MAX_ROWS, recover_last_layer
from failpred_jax.scores.residual import Space, distance_to, principal_space
from failpred_jax.scores.score import FitInputs, ScoreInputs, score
from failpred_jax.scores.subsample import describe, keep_uniform


class Virtual(NamedTuple):
    """The fitted score.

    Attributes:
      space: the principal space, through the point at which all logits are equal but for nothing of the features.
      alpha: scalar float32, by which a residual is brought to the size of a logit.
    """

    space: Space
    alpha: jax.Array


def num_principal(num_features: int) -> int:
    """Return how many directions span the principal space, as the paper chooses."""
    if num_features >= 2048:
        return 1000
    return 512 if num_features >= 768 else num_features // 2


def _fit(given: FitInputs) -> tuple[Virtual, tuple[str, ...]]:
    features, _ = given.training('vim')
    assert given.train is not None
    layer = recover_last_layer(given, 'vim')
    origin = -np.linalg.pinv(layer.weight.T) @ layer.bias
    rows = keep_uniform(len(features), given.key, MAX_ROWS)
    space = principal_space(np.asarray(features)[rows], origin, num_principal(len(origin)))
    largest = float(np.mean(np.asarray(given.train.logits).max(axis=-1), dtype=np.float64))
    outside = float(np.mean(np.asarray(distance_to(space, features)), dtype=np.float64))
    alpha = largest / max(outside, np.finfo(np.float32).tiny)
    note = f'alpha = {alpha:.4g}, {space.outside.shape[1]} of {len(origin)} directions lie outside'
    return Virtual(space, jnp.asarray(alpha, jnp.float32)), (note, *layer.notes, *describe(len(rows), len(features)))


@score(
    'vim',
    needs=['logits', 'features'],
    description='energy less a virtual logit: the distance from the principal space, brought to the size of logits',
    reference='Wang et al., CVPR 2022, equations 5 to 8',
    fit=_fit,
    fits_on_train=True,
    reads_val_labels=False,
    needs_raw_logits=True,
)
def vim(inputs: ScoreInputs, fitted: Virtual) -> jax.Array:
    """Return logsumexp(z) - alpha |P (f - o)|.

    Its rank is that of minus the probability of the virtual class in the softmax with it, the paper's score.

    Args:
      inputs: reads `logits` [N, C] and `features` [N, D].
      fitted: the space and alpha, of training units alone.

    Returns:
      [N] float32, unbounded.

    Reference: Wang, Li, Feng & Zhang, "ViM: Out-of-distribution with virtual-logit matching", CVPR 2022, equations 5 to
      8.
    """
    energy = logsumexp(jnp.asarray(inputs.logits, jnp.float32), axis=-1)
    return energy - fitted.alpha * distance_to(fitted.space, inputs.get('features'))
