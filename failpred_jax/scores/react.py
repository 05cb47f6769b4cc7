"""ReAct: the energy of the logits after large activations are cut off."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp

from failpred_jax.scores.linear import MAX_ROWS, recover_last_layer
from failpred_jax.scores.score import FitInputs, ScoreInputs, score
from failpred_jax.scores.subsample import keep_uniform

# The paper's, of all activations of training units.
QUANTILE = 0.9


class Cut(NamedTuple):
    """The fitted score.

    Attributes:
      weight: [D, C] float32, of the last layer.
      limit: scalar float32, above which activations are cut off.
    """

    weight: jax.Array
    limit: jax.Array


def _fit(given: FitInputs) -> tuple[Cut, tuple[str, ...]]:
    features, _ = given.training('react')
    layer = recover_last_layer(given, 'react')
    rows = keep_uniform(len(features), given.key, MAX_ROWS)
    limit = float(np.quantile(np.asarray(features)[rows], QUANTILE))
    note = f'activations above {limit:.4g} are cut off, the {QUANTILE:g} quantile of training'
    return Cut(jnp.asarray(layer.weight, jnp.float32), jnp.asarray(limit, jnp.float32)), (note, *layer.notes)


@score(
    'react',
    needs=['logits', 'features'],
    description='energy of the logits after activations above the 0.9 quantile of training are cut off',
    reference='Sun, Guo & Li, NeurIPS 2021, equation 1',
    fit=_fit,
    fits_on_train=True,
    reads_val_labels=False,
    needs_raw_logits=True,
)
def react(inputs: ScoreInputs, fitted: Cut) -> jax.Array:
    """Return logsumexp(W min(f, c) + b).

    Args:
      inputs: reads `logits` [N, C] and `features` [N, D].
      fitted: the last layer and the limit c.

    Returns:
      [N] float32, unbounded.

    Reference: Sun, Guo & Li, "ReAct: Out-of-distribution detection with rectified activations", NeurIPS 2021, equation
      1, with the energy score.
    """
    features = jnp.asarray(inputs.get('features'), jnp.float32)
    # The logits are there: what is cut off is taken away from them.
    lost = jnp.dot(jnp.maximum(features - fitted.limit, 0), fitted.weight, precision=lax.Precision.HIGHEST)
    return logsumexp(jnp.asarray(inputs.logits, jnp.float32) - lost, axis=-1)
