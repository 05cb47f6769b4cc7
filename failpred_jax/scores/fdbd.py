"""fDBD: how far the features are from the decision boundaries, against how far they are from the middle."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.scores.linear import recover_last_layer
from failpred_jax.scores.score import FitInputs, ScoreInputs, score


class Boundaries(NamedTuple):
    """What the score reads of the classifier.

    Attributes:
      inverse_norms: [C, C] float32, 1 / |w_i - w_j|; 0 where i = j, or where two classes have the same weights.
      mean: [D] float32, of the training features.
    """

    inverse_norms: jax.Array
    mean: jax.Array


def _fit(given: FitInputs) -> tuple[Boundaries, tuple[str, ...]]:
    layer = recover_last_layer(given, 'fdbd', centered=True)
    norms = np.linalg.norm(layer.weight[:, :, None] - layer.weight[:, None, :], axis=0)
    is_there = norms > 1e-9 * max(norms.max(), np.finfo(np.float32).tiny)
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=is_there)
    return Boundaries(jnp.asarray(inverse, jnp.float32), jnp.asarray(layer.mean, jnp.float32)), layer.notes


@score(
    'fdbd',
    needs=['logits', 'features'],
    description='mean distance to the boundaries with the other classes, over the distance to the mean of training',
    reference='Liu & Qin, ICML 2024, equation 8',
    fit=_fit,
    fits_on_train=True,
    reads_val_labels=False,
)
def fdbd(inputs: ScoreInputs, fitted: Boundaries) -> jax.Array:
    """Return the mean over c of |z_p - z_c| / |w_p - w_c|, over |f - mu|, with p the predicted class.

    Args:
      inputs: reads `logits` [N, C], of which differences count, and `features` [N, D].
      fitted: norms of the last layer's differences, and the mean of the training features.

    Returns:
      [N] float32, 0 or greater.

    Reference: Liu & Qin, "Fast decision boundary based out-of-distribution detector", ICML 2024, equations 5 and 8.
    """
    logits = jnp.asarray(inputs.logits, jnp.float32)
    features = jnp.asarray(inputs.get('features'), jnp.float32)
    lead = jnp.max(logits, axis=-1, keepdims=True) - logits
    distances = jnp.sum(lead * fitted.inverse_norms[jnp.argmax(logits, axis=-1)], axis=-1) / (logits.shape[-1] - 1)
    reach = jnp.linalg.norm(features - fitted.mean[None], axis=-1)
    return distances / jnp.maximum(reach, jnp.finfo(jnp.float32).tiny)
