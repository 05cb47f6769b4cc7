"""MaxLogit-pNorm: the largest centered logit over the p-norm of the centered logits."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from failpred_jax.blocks import in_blocks
from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.outcomes import is_correct
from failpred_jax.scores.choice import choose
from failpred_jax.scores.logits import doctor_beta
from failpred_jax.scores.score import Fit, FitInputs, ScoreInputs, score
from failpred_jax.types import Array

# The grid of the authors. 0 makes the divisor constant, which leaves the centered maximum logit.
POWERS = tuple(float(p) for p in range(11))


class Norm(NamedTuple):
    """The fitted score.

    Attributes:
      p: scalar float32, one of POWERS.
      falls_back: scalar bool; True where no p beat the maximum class probability.
    """

    p: jax.Array
    falls_back: jax.Array


def normalized_max(logits: Array, p: Array | float) -> jax.Array:
    """Return max_k (z_k - mean z) / ||z - mean z||_p.

    Args:
      logits: [..., C] float32.
      p: scalar, 0 or at least 1. With 0 the divisor is C.

    Returns:
      [...] float32, 0 or greater; 0 where all logits are equal.

    Reference: Cattelan & Silva, "How to fix a broken confidence estimator", UAI 2024, definition of MaxLogit-pNorm.
    """
    logits = jnp.asarray(logits, jnp.float32)
    centered = logits - jnp.mean(logits, axis=-1, keepdims=True)
    # The norm of numbers in [0, 1]: large logits to the tenth power would overflow.
    largest = jnp.max(jnp.abs(centered), axis=-1, keepdims=True)
    ratios = jnp.abs(centered) / jnp.maximum(largest, jnp.finfo(jnp.float32).tiny)
    power = jnp.maximum(p, 1.0)
    norm = largest[..., 0] * jnp.sum(ratios**power, axis=-1) ** (1 / power)
    divisor = jnp.where(p == 0, logits.shape[-1], norm)
    return jnp.max(centered, axis=-1) / jnp.maximum(divisor, jnp.finfo(jnp.float32).tiny)


def _candidates(inputs: ScoreInputs) -> jax.Array:
    """Return the confidence under the fallback and each power, [N, 1 + len(POWERS)]: of equal ones the first counts."""
    return jnp.stack([doctor_beta(inputs), *(normalized_max(inputs.logits, p) for p in POWERS)], axis=1)


def _fit(given: FitInputs) -> Fit:
    logits = jnp.asarray(given.val.logits)
    if logits.shape[-1] == 2:
        raise ScoreUnavailableError(
            'max_logit_pnorm is undefined or the same for all for two classes: every unit would score the same'
        )
    candidates = in_blocks(_candidates, ScoreInputs(given.val.logits, probabilities=given.val.probabilities))
    chosen, is_defined = choose(candidates, is_correct(logits, given.val_labels))
    power = POWERS[max(chosen - 1, 0)]
    if not is_defined:
        note = 'ranks as mcp: the validation AURC that would choose p is undefined or the same for all'
    elif chosen == 0:
        note = f'ranks as mcp: no p in 0..{POWERS[-1]:g} has a lower validation AURC'
    else:
        note = f'p = {power:g}, chosen on validation AURC'
    return Fit(Norm(jnp.asarray(power, jnp.float32), jnp.asarray(chosen == 0)), (note,), candidates)


@score(
    'max_logit_pnorm',
    needs=['logits'],
    description='largest centered logit over their p-norm, p chosen on validation data; else as mcp',
    reference='Cattelan & Silva, UAI 2024, definition of MaxLogit-pNorm',
    fit=_fit,
)
def max_logit_pnorm(inputs: ScoreInputs, fitted: Norm) -> jax.Array:
    """Return the p-normalized maximum logit, or the log-odds of mcp where the fit fell back to mcp.

    Args:
      inputs: reads `logits` [..., C], C over 2.
      fitted: p, and whether it is used.

    Returns:
      [...] float32.

    Reference: Cattelan & Silva, "How to fix a broken confidence estimator: evaluating post-hoc methods for selective
      classification with deep neural networks", UAI 2024: MaxLogit-pNorm, its centralisation, and the fallback to MSP.
    """
    return jnp.where(fitted.falls_back, doctor_beta(inputs), normalized_max(inputs.logits, fitted.p))
