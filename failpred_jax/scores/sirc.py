"""SIRC: a score that tells errors, lowered where a second one says that the input is strange."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.scores.given import as_float32, split_given
from failpred_jax.scores.residual import Space, distance_to, fit_residual
from failpred_jax.scores.score import FitInputs, ScoreInputs, score
from failpred_jax.scores.softmax import split_winner
from failpred_jax.types import Array

PAPER = 'Xia & Bouganis, ACCV 2022, equation 9'


class Switch(NamedTuple):
    """Where and how steeply the second score takes effect.

    Attributes:
      a: scalar float32, mean - 3 standard deviations of the second score on validation units.
      b: scalar float32, 1 / standard deviation.
      space: the second score's own fit, or None.
    """

    a: jax.Array
    b: jax.Array
    space: Space | None = None


def combine(log_miss: Array, second: jax.Array, switch: Switch) -> jax.Array:
    """Return -log((S1_max - S1) (1 + exp(-b (S2 - a)))), which ranks as SIRC and rounds nothing away.

    Args:
      log_miss: [N] float32, log(S1_max - S1).
      second: [N] float32, S2.
      switch: a and b.

    Returns:
      [N] float32, unbounded.

    Reference: Xia & Bouganis, "Augmenting softmax information for selective classification with out-of-distribution
      data", ACCV 2022, equation 9.
    """
    return -(jnp.asarray(log_miss) + jax.nn.softplus(-switch.b * (second - switch.a)))


def length(features: jax.Array | np.ndarray) -> jax.Array:
    """Return the mean absolute feature, the paper's |z|_1 over D: [N] float32."""
    return jnp.mean(jnp.abs(jnp.asarray(features, jnp.float32)), axis=-1)


def _switch(second: jax.Array, space: Space | None = None) -> Switch:
    values = np.asarray(second, np.float64)
    spread = max(float(values.std()), 1e-6 * max(float(np.abs(values).max()), 1e-30))
    a, b = (jnp.asarray(x, jnp.float32) for x in (values.mean() - 3 * spread, 1 / spread))
    return Switch(a, b, space)


def _fit_length(given: FitInputs) -> tuple[Switch, tuple[str, ...]]:
    return _switch(length(given.val.get('features'))), ()


def _fit_residual(given: FitInputs) -> tuple[Switch, tuple[str, ...]]:
    space, notes = fit_residual(given)
    return _switch(-distance_to(space, given.val.get('features')), space), notes


def _register(
    name: str,
    needs: tuple[str, ...],
    first: str,
    log_miss: Callable[[ScoreInputs], Array],
    uses_residual: bool,
) -> None:
    """Register one pair of scores."""

    def fn(inputs: ScoreInputs, fitted: Switch) -> jax.Array:
        features = inputs.get('features')
        second = length(features) if fitted.space is None else -distance_to(fitted.space, features)
        return combine(log_miss(inputs), second, fitted)

    fn.__doc__ = f"""Return SIRC of {first} and {'the residual' if uses_residual else 'the mean absolute feature'}.

    Returns: [N] float32, unbounded. See `combine`.
    """
    second = 'residual' if uses_residual else 'mean absolute feature'
    score(
        name,
        needs=needs,
        description=f'SIRC: {first}, lowered where the {second} says that the input is strange',
        reference=PAPER,
        fit=_fit_residual if uses_residual else _fit_length,
        fits_on_train=uses_residual,
        reads_val_labels=False,
    )(fn)


def _miss_of_mcp(inputs: ScoreInputs) -> Array:
    """Return log(1 - p) of the largest probability p."""
    if (given := split_given(inputs)) is not None:
        return as_float32(np.log(given.rest))
    return split_winner(inputs.logits).log_rest


def _miss_of_confidnet(inputs: ScoreInputs) -> jax.Array:
    """Return log(1 - sigmoid(u)) of the confidence head."""
    return jax.nn.log_sigmoid(-jnp.asarray(inputs.get('confidence_logit'), jnp.float32))


_register('sirc', ('logits', 'features'), 'mcp', _miss_of_mcp, uses_residual=False)
_register('sirc_residual', ('logits', 'features'), 'mcp', _miss_of_mcp, uses_residual=True)
_register(
    'sirc_confidnet', ('features', 'confidence_logit'), 'confidnet', _miss_of_confidnet, uses_residual=True
)  # fmt: skip
