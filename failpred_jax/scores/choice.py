"""The choice of a constant by validation AURC."""

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.metrics import ranking_metrics
from failpred_jax.types import Array


@jax.jit
def aurc(confidence: Array, correct: Array, mask: Array | None = None) -> jax.Array:
    """Return the AURC of confidences [N], [N] bool, [N] bool or None; compiled, as fits ask for it again and again."""
    return ranking_metrics(confidence, correct, mask)['aurc']


def choose(candidates: Array, correct: Array, default: int = 0, mask: Array | None = None) -> tuple[int, bool]:
    """Return which candidate has the least AURC, the first of equal ones, and whether the AURC tells them apart.

    Args:
      candidates: [N, J] float32, the confidence of the validation units under each of J constants.
      correct: [N] bool.
      default: what to return where the AURC is undefined, or the same for all (there are no errors); -1 is the last.
      mask: [N] bool, the units that count; None for all.
    """
    candidates = jnp.asarray(candidates)
    risks = np.array([float(aurc(candidates[:, j], correct, mask)) for j in range(candidates.shape[1])])
    if not np.isfinite(risks).all() or (len(risks) > 1 and np.ptp(risks) == 0):
        return default % len(risks), False
    return int(np.argmin(risks)), True
