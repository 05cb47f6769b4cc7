"""Maximum class probability after temperature scaling."""

import jax
import jax.numpy as jnp

from failpred_jax.calibrate.temperature import fit_temperature
from failpred_jax.scores.score import FitInputs, ScoreInputs, score
from failpred_jax.scores.softmax import max_probability
from failpred_jax.types import Array


def _fit(given: FitInputs) -> tuple[Array, tuple[str, ...]]:
    return fit_temperature(given.val.logits, given.val_labels)


@score(
    'temperature_mcp',
    needs=['logits'],
    description='maximum class probability, the logits divided by a temperature fitted on validation data',
    reference='Guo et al., ICML 2017, equation 9',
    fit=_fit,
    is_probability=True,
)
def temperature_mcp(inputs: ScoreInputs, fitted: Array) -> jax.Array:
    """Return max_k softmax(z / T)_k.

    Args:
      inputs: reads `logits` [..., C].
      fitted: T, scalar float32 over 0, of least validation cross-entropy.

    Returns:
      [...] float32 in [1/C, 1].

    Reference: Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017, equation 9.
    """
    return max_probability(jnp.asarray(inputs.logits, jnp.float32) / fitted)
