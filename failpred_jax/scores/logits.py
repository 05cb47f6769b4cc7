"""Scores that read the logits alone and have nothing to fit.

Those that are not probabilities are returned as logarithms where that keeps the order which float32 would round away;
each docstring says so. A logarithm changes no ranking. Where probabilities were given, those are read (given.py).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from scipy.special import xlogy

from failpred_jax.blocks import in_blocks
from failpred_jax.scores.given import as_float32, split_given, top_of
from failpred_jax.scores.score import ScoreInputs, score
from failpred_jax.scores.softmax import max_probability, softmax_entropy, split_winner
from failpred_jax.types import Array

# A row of log-probabilities adds up to 1, to the rounding of three decimals; of raw logits hardly any does.
NORMALIZED_TOLERANCE = 0.05
NORMALIZED_SHARE = 0.99


def normalized_reason(logits: Array) -> str | None:
    """Return why these numbers have no scale of their own, as raw logits have; None where they have.

    Found by their values: who trusts a name ranks rounding.

    Args:
      logits: [N, C] float.
    """
    if _share(lambda rows: jnp.abs(logsumexp(rows, axis=-1)) <= NORMALIZED_TOLERANCE, logits) >= NORMALIZED_SHARE:
        return 'it needs raw logits: these are log-probabilities, whose scale is lost'
    if _share(lambda rows: jnp.all((rows >= 0) & (rows <= 1), axis=-1), logits) < 1:
        return None
    if _share(lambda rows: jnp.abs(rows.sum(axis=-1) - 1) <= NORMALIZED_TOLERANCE, logits) >= NORMALIZED_SHARE:
        return 'it needs raw logits: these rows are probabilities, which add up to 1'
    return None


def _share(is_so: Callable[[jax.Array], jax.Array], logits: Array) -> float:
    """Return of which share of rows [N, C] something holds, looked at some at a time."""
    return float(jnp.mean(in_blocks(lambda rows: is_so(jnp.asarray(rows, jnp.float32)), logits)))


@score(
    'mcp',
    needs=['logits'],
    description='maximum class probability: the largest softmax output',
    reference='Hendrycks & Gimpel, ICLR 2017, section 2',
    role='baseline',
    is_probability=True,
)
def mcp(inputs: ScoreInputs) -> Array:
    """Return max_k p_k.

    It stays the probability itself, so it rounds to exactly 1, with ties, where the winning logit leads by about 17.
    `doctor_beta` has the same order without the ties. Of probabilities that were given it is the largest one.

    Args:
      inputs: reads `logits` [..., C].

    Returns:
      [...] float32 in [1/C, 1].

    Reference: Hendrycks & Gimpel, "A baseline for detecting misclassified and out-of-distribution examples in neural
      networks", ICLR 2017, section 2.
    """
    if inputs.probabilities is not None:
        return top_of(inputs.probabilities)
    return max_probability(inputs.logits)


@score(
    'margin',
    needs=['logits'],
    description='lead of the largest softmax output over the second, as -log(1 - lead)',
    reference='Scheffer, Decomain & Wrobel, IDA 2001, section 2',
)
def margin(inputs: ScoreInputs) -> Array:
    """Return -log(1 - (p_1 - p_2)), with p_1 and p_2 the two largest softmax outputs.

    Args:
      inputs: reads `logits` [..., C].

    Returns:
      [...] float32, 0 or greater; 0 where the two classes tie.

    Reference: Scheffer, Decomain & Wrobel, "Active hidden Markov models for information extraction", IDA 2001,
      section 2 (the lead p_1 - p_2).
    """
    if (given := split_given(inputs)) is not None:
        return as_float32(np.maximum(-np.log(given.rest + given.losing[..., 0]), 0))
    winner = split_winner(inputs.logits)
    log_second = jnp.max(winner.losing, axis=-1) + winner.log_top
    # Rounding may leave a tie a hair below zero.
    return jnp.maximum(-jnp.logaddexp(winner.log_rest, log_second), 0.0)


@score(
    'entropy',
    needs=['logits'],
    description='minus the entropy of the softmax',
    reference='Shannon 1948; as a confidence, Corbière et al., NeurIPS 2019, section 4',
)
def entropy(inputs: ScoreInputs) -> Array:
    """Return sum_k p_k log p_k.

    Args:
      inputs: reads `logits` [..., C].

    Returns:
      [...] float32 in [-log C, 0], in nats.

    Reference: Shannon, "A mathematical theory of communication", 1948, section 6.
    """
    if (given := split_given(inputs)) is not None:
        return as_float32(given.top * np.log1p(-given.rest) + xlogy(given.losing, given.losing).sum(axis=-1))
    return -softmax_entropy(inputs.logits)


@score(
    'max_logit',
    needs=['logits'],
    description='the largest logit',
    reference='Hendrycks et al., ICML 2022, section 3',
    needs_raw_logits=True,
)
def max_logit(inputs: ScoreInputs) -> jax.Array:
    """Return max_k z_k.

    Args:
      inputs: reads `logits` [..., C].

    Returns:
      [...] float32, unbounded.

    Reference: Hendrycks et al., "Scaling out-of-distribution detection for real-world settings", ICML 2022, section 3.
    """
    return jnp.max(jnp.asarray(inputs.logits, jnp.float32), axis=-1)


@score(
    'energy',
    needs=['logits'],
    description='minus the free energy of the logits at temperature 1: log-sum-exp',
    reference='Liu et al., NeurIPS 2020, equation 4',
    needs_raw_logits=True,
)
def energy(inputs: ScoreInputs) -> jax.Array:
    """Return -E = log sum_k exp(z_k).

    Args:
      inputs: reads `logits` [..., C].

    Returns:
      [...] float32, unbounded.

    Reference: Liu et al., "Energy-based out-of-distribution detection", NeurIPS 2020, equation 4 with T = 1.
    """
    return logsumexp(jnp.asarray(inputs.logits, jnp.float32), axis=-1)


@score(
    'doctor_alpha',
    needs=['logits'],
    description='Doctor: odds of guessing right by drawing from the softmax, as a logarithm',
    reference='Granese et al., NeurIPS 2021, definition 1 (D_alpha)',
)
def doctor_alpha(inputs: ScoreInputs) -> Array:
    """Return log(g / (1 - g)) with g = sum_k p_k^2.

    Doctor rejects where (1 - g) / g exceeds a threshold; this is minus the logarithm of that ratio.

    Args:
      inputs: reads `logits` [..., C].

    Returns:
      [...] float32, -log(C - 1) or greater.

    Reference: Granese et al., "Doctor: a simple method for detecting misclassification errors", NeurIPS 2021,
      definition 1, without input perturbation.
    """
    if (given := split_given(inputs)) is not None:
        hit = given.top**2 + (given.losing**2).sum(axis=-1)
        miss = given.top * given.rest + (given.losing * (1 - given.losing)).sum(axis=-1)
        return as_float32(np.log(hit) - np.log(miss))
    winner = split_winner(inputs.logits)
    log_losing = winner.losing + winner.log_top[..., None]
    # 1 - g = sum_k p_k (1 - p_k), term by term: the difference itself would round to 0.
    log_miss_losing = logsumexp(log_losing + jnp.log1p(-jnp.exp(log_losing)), axis=-1)
    log_miss = jnp.logaddexp(winner.log_top + winner.log_rest, log_miss_losing)
    log_hit = jnp.logaddexp(2 * winner.log_top, logsumexp(2 * log_losing, axis=-1))
    return log_hit - log_miss


@score(
    'doctor_beta',
    needs=['logits'],
    description='Doctor: odds of the predicted class, as a logarithm; ranks as mcp, without its ties',
    reference='Granese et al., NeurIPS 2021, definition 1 (D_beta)',
)
def doctor_beta(inputs: ScoreInputs) -> Array:
    """Return log(p / (1 - p)) with p = max_k p_k.

    Doctor rejects where (1 - p) / p exceeds a threshold; this is minus the logarithm of that ratio. It orders units
    exactly as `mcp` would in infinite precision.

    Args:
      inputs: reads `logits` [..., C].

    Returns:
      [...] float32, -log(C - 1) or greater.

    Reference: Granese et al., "Doctor: a simple method for detecting misclassification errors", NeurIPS 2021,
      definition 1, without input perturbation.
    """
    if (given := split_given(inputs)) is not None:
        return as_float32(np.log1p(-given.rest) - np.log(given.rest))
    return -split_winner(inputs.logits).log_odds_against
