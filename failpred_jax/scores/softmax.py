"""What float32 loses of a confident softmax, kept.

The largest probability of a confident network rounds to exactly 1 in float32 once the winning logit leads by 17, and
its ranking is then full of ties that the network did not make. The odds against the prediction do not round: their
logarithm is computed here from the losing logits alone.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp, xlogy

from failpred_jax.types import Array


class Split(NamedTuple):
    """A softmax seen from its winning class.

    Attributes:
      losing: [..., C] float32, logits minus the largest; -inf at the winner.
      log_odds_against: [...] float32, log((1 - p) / p) of the winner's probability p; at most log(C - 1).
      log_top: [...] float32, log p.
      log_rest: [...] float32, log(1 - p), exact to float32 however small 1 - p is.
    """

    losing: jax.Array
    log_odds_against: jax.Array
    log_top: jax.Array
    log_rest: jax.Array


def split_winner(logits: Array) -> Split:
    """Return the softmax of `logits` [..., C] as its winner and the rest; the first of tied classes wins."""
    logits = jnp.asarray(logits, jnp.float32)
    is_top = _is_first_largest(logits)
    losing = jnp.where(is_top, -jnp.inf, logits - jnp.max(logits, axis=-1, keepdims=True))
    log_odds_against = logsumexp(losing, axis=-1)
    return Split(
        losing=losing,
        log_odds_against=log_odds_against,
        log_top=jax.nn.log_sigmoid(-log_odds_against),
        log_rest=jax.nn.log_sigmoid(log_odds_against),
    )


def max_probability(logits: Array) -> jax.Array:
    """Return the largest softmax probability of `logits` [..., C]: [...] float32 in [1/C, 1]."""
    return jnp.exp(split_winner(logits).log_top)


def softmax_entropy(logits: Array) -> jax.Array:
    """Return the entropy of the softmax of `logits` [..., C]: [...] float32 in nats, in [0, log C]."""
    winner = split_winner(logits)
    log_losing = winner.losing + winner.log_top[..., None]
    # The winner's place holds -inf, whose product with its probability 0 would be NaN.
    losing = jnp.where(jnp.isneginf(log_losing), 0.0, jnp.exp(log_losing) * log_losing)
    return -(jnp.exp(winner.log_top) * winner.log_top + jnp.sum(losing, axis=-1))


def entropy_of(probs: Array) -> jax.Array:
    """Return the entropy of `probs` [..., C]: [...] float32 in nats, in [0, log C].

    The winner's own term is taken from the sum of the others, since log p is lost once p rounds to 1.
    """
    probs = jnp.asarray(probs, jnp.float32)
    is_top = _is_first_largest(probs)
    losing = jnp.where(is_top, 0.0, probs)
    rest = jnp.minimum(jnp.sum(losing, axis=-1), 1.0 - 1.0 / probs.shape[-1])
    return -(xlogy(losing, losing).sum(axis=-1) + (1.0 - rest) * jnp.log1p(-rest))


def _is_first_largest(values: jax.Array) -> jax.Array:
    """Return which of the values [..., C] is the largest, of equal ones the first: [..., C] bool."""
    # A comparison and no one_hot: runtimes of ONNX have that of numbers alone.
    places = jnp.arange(values.shape[-1]).reshape((1,) * (values.ndim - 1) + (-1,))
    return jnp.argmax(values, axis=-1)[..., None] == places
