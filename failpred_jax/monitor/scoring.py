"""The policy's score, computed of a stream that carries outputs alone."""

import importlib.util
from types import SimpleNamespace

import numpy as np
from scipy.special import softmax

from failpred_jax.errors import UserError

# The largest class probability needs no JAX; other scores of outputs do.
PLAIN = 'mcp'


def score_of(score: str, logits: np.ndarray, outputs_are: str, probs: np.ndarray | None = None) -> np.ndarray:
    """Return a score of outputs: [n] float32.

    Args:
      score: the name of a score that reads logits alone.
      logits: [n, C] float32, raw logits or log-probabilities.
      outputs_are: 'logits' or what else they are; scores that need raw logits are refused for others.
      probs: [n, C] float32, the class probabilities where they were given; else None.

    Raises:
      UserError: it cannot be computed of outputs, or not here.
    """
    if score == PLAIN and probs is not None:
        return probs.max(axis=1)
    if score == PLAIN:
        return softmax(logits.astype(np.float64), axis=1).max(axis=1).astype(np.float32)
    remedy = f"give it as a column 'confidence_{score}'"
    if importlib.util.find_spec('jax') is None:
        raise UserError(f"the policy's score '{score}' is computed with JAX, which is not installed here; {remedy}")
    from failpred_jax.registry import SCORES

    if score not in SCORES:
        raise UserError(f"the policy's score '{score}' is none of ours, so outputs do not tell it; {remedy}")
    found = SCORES[score]
    if found.needs != {'logits'} or found.fit is not None:
        raise UserError(f"the policy's score '{score}' needs more than outputs; {remedy}")
    if outputs_are != 'logits' and found.needs_raw_logits:
        raise UserError(f"the policy's score '{score}' needs raw logits, and these are {outputs_are}; {remedy}")
    # Padded, so that parts of all lengths compile few programs.
    more = ((0, (1 << (len(logits) - 1).bit_length()) - len(logits)), (0, 0))
    padded = [None if rows is None else np.pad(rows.astype(np.float32), more, 'edge') for rows in (logits, probs)]
    return np.asarray(found.fn(SimpleNamespace(logits=padded[0], probabilities=padded[1])))[: len(logits)]
