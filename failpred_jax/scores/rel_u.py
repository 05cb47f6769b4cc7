"""Rel-U: a quadratic form of the softmax whose matrix says which classes are confused with which."""

import jax
import jax.numpy as jnp
from jax import lax

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.outcomes import is_correct
from failpred_jax.scores.score import FitInputs, ScoreInputs, score
from failpred_jax.types import Array

# The weight of errors against successes; the authors' code's default.
LAMBDA = 0.5


def confusion_weights(logits: Array, labels: Array, weight: float = LAMBDA, probs: Array | None = None) -> jax.Array:
    """Return the matrix D that separates errors from successes best, in closed form.

    Off the diagonal, D = max(0, weight * E[p p' | error] - (1 - weight) * E[p p' | correct]); on it 0. Its norm is 1.

    Args:
      logits: [N, C] float32, with at least one error and one success among them.
      labels: [N] int32.
      weight: lambda, in (0, 1).
      probs: [N, C] float32, the class probabilities where they were given; None for the softmax of the logits.

    Returns:
      [C, C] float32, 0 or greater, symmetric. All zero if no pair of classes is likelier in errors.

    Reference: Dadalto et al., "A data-driven measure of relative uncertainty for misclassification detection",
      ICLR 2024, proposition 1.
    """
    logits = jnp.asarray(logits, jnp.float32)
    probs = jax.nn.softmax(logits, axis=-1) if probs is None else jnp.asarray(probs, jnp.float32)
    is_error = ~is_correct(logits, labels)

    # Both means of p p' in one product, since of many classes the products are what takes time and memory.
    of_error, of_correct = (
        share / jnp.maximum(jnp.sum(chosen), 1) for share, chosen in ((weight, is_error), (1 - weight, ~is_error))
    )
    weighted = probs * jnp.where(is_error, of_error, -of_correct)[:, None]
    return _from_contrast(jnp.dot(weighted.T, probs, precision=lax.Precision.HIGHEST))


@jax.jit
def _from_contrast(contrast: jax.Array) -> jax.Array:
    # Averaged with its transpose, since a matrix product need not be symmetric to the last bit.
    contrast = jnp.maximum((contrast + contrast.T) / 2, 0.0)
    contrast = jnp.where(jnp.eye(len(contrast), dtype=bool), 0.0, contrast)
    return contrast / jnp.maximum(jnp.linalg.norm(contrast), jnp.finfo(jnp.float32).tiny)


def _fit(given: FitInputs) -> tuple[jax.Array, tuple[str, ...]]:
    logits = jnp.asarray(given.val.logits)
    num_errors = int(jnp.sum(~is_correct(logits, given.val_labels)))
    if num_errors in (0, logits.shape[0]):
        which = 'no errors' if num_errors == 0 else 'nothing but errors'
        raise ScoreUnavailableError(f'rel_u contrasts errors with successes; the validation set holds {which}')
    weights = confusion_weights(logits, given.val_labels, probs=given.val.probabilities)
    if not bool(jnp.any(weights > 0)):
        num_classes = logits.shape[-1]
        return 1 - jnp.eye(num_classes), ('no pair of classes stands out in errors: all weigh the same (Gini index)',)
    return weights, (f'fitted on {num_errors} validation errors',)


@score(
    'rel_u',
    needs=['logits'],
    description='minus the relative uncertainty: pairs of probable classes, weighted by how they go with errors',
    reference='Dadalto et al., ICLR 2024, proposition 1',
    fit=_fit,
)
def rel_u(inputs: ScoreInputs, fitted: Array) -> jax.Array:
    """Return -p' D p of the softmax p.

    Args:
      inputs: reads `logits` [N, C].
      fitted: D, [C, C] float32, from the errors and successes of the validation set.

    Returns:
      [N] float32, 0 or less.

    Reference: Dadalto, Romanelli, Pichler & Piantanida, "A data-driven measure of relative uncertainty for
      misclassification detection", ICLR 2024, proposition 1; lambda = 0.5, temperature 1, no input perturbation.
    """
    given = inputs.probabilities
    probs = jnp.asarray(jax.nn.softmax(inputs.logits, axis=-1) if given is None else given, jnp.float32)
    return -jnp.sum(jnp.dot(probs, fitted, precision=lax.Precision.HIGHEST) * probs, axis=-1)
