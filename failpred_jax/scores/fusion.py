"""A logistic regression over the other scores: what all of them together know, and what each adds."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.registry import SCORES
from failpred_jax.scores.score import FitInputs, ScoreInputs, score
from failpred_jax.types import Array, PyTree

NAME = 'fusion'
MAX_KNOTS = 4096


class Fusion(NamedTuple):
    """A logistic regression over named columns.

    Attributes:
      knots: name -> [J] float32, rising: validation values of that score, by which new values are placed.
      weights: name -> scalar float32.
      intercept: scalar float32.
    """

    knots: Mapping[str, jax.Array]
    weights: Mapping[str, jax.Array]
    intercept: jax.Array


def fit_fusion(columns: Mapping[str, Array], correct: Array) -> Fusion:
    """Return the logistic regression of `correct` on the columns' normal scores.

    Scores live on scales that have nothing in common (a ratio of distances has no upper end), so each enters by its
    place among the validation units, as a quantile of the normal distribution. L2-regularized, scikit-learn's default.

    Args:
      columns: score name -> [N] float32 of the validation units.
      correct: [N] bool, with both kinds among them.

    Raises:
      ScoreUnavailableError: where there are no columns, no errors or no successes.

    Reference: Cox, "The regression analysis of binary sequences", 1958; van der Waerden's normal scores, 1952.
    """
    # Imported late: scikit-learn takes a second that a run without fusion need not pay.
    from sklearn.linear_model import LogisticRegression

    correct = np.asarray(correct, bool)
    if not columns:
        raise ScoreUnavailableError('fusion combines other scores; none is available')
    if correct.all() or not correct.any():
        which = 'no errors' if correct.all() else 'nothing but errors'
        raise ScoreUnavailableError(f'fusion separates errors from successes; the validation set holds {which}')
    knots = {name: _knots(np.asarray(values, np.float32)) for name, values in columns.items()}
    design = np.stack([np.asarray(_normal_score(columns[name], knots[name])) for name in knots], axis=1)
    model = LogisticRegression(max_iter=1000).fit(design.astype(np.float64), correct)
    weights = {name: jnp.asarray(w, jnp.float32) for name, w in zip(knots, model.coef_[0], strict=True)}
    return Fusion(knots, weights, jnp.asarray(model.intercept_[0], jnp.float32))


def fuse(columns: Mapping[str, Array], fitted: Fusion) -> jax.Array:
    """Return P(correct) of units from their scores: [N] float32 in [0, 1]; `columns` holds at least the fitted ones."""
    total = fitted.intercept
    for name, weight in fitted.weights.items():
        total = total + weight * _normal_score(columns[name], fitted.knots[name])
    return jax.nn.sigmoid(total)


def _knots(values: np.ndarray) -> jax.Array:
    num_knots = min(len(values), MAX_KNOTS)
    places = np.linspace(0, len(values) - 1, num_knots).round().astype(int)
    return jnp.asarray(np.sort(values)[places])


def _normal_score(values: Array, knots: jax.Array) -> jax.Array:
    """Return the normal quantile of each value's place among the knots; ties share the middle of their places."""
    values = jnp.asarray(values, jnp.float32)
    below = jnp.searchsorted(knots, values, side='left')
    not_above = jnp.searchsorted(knots, values, side='right')
    # A value between two knots and one that ties with a knot both get a place strictly inside (0, 1).
    return ndtri((below + not_above + 1).astype(jnp.float32) / (2 * (knots.shape[0] + 1)))


def _others(inputs: ScoreInputs, fits: Mapping[str, PyTree]) -> dict[str, jax.Array]:
    return {
        name: SCORES[name].fn(inputs) if SCORES[name].fit is None else SCORES[name].fn(inputs, fitted)
        for name, fitted in fits.items()
    }


def _fit(given: FitInputs) -> tuple[tuple[dict[str, PyTree], Fusion], tuple[str, ...]]:
    fits: dict[str, PyTree] = {}
    columns: dict[str, jax.Array] = {}
    for name in SCORES:
        entry = SCORES[name]
        lacks = any(getattr(given.val, need) is None for need in entry.needs)
        if name == NAME or entry.reads_label or lacks or (entry.fits_on_train and given.train is None):
            continue
        try:
            if name in given.fits:
                fits[name] = given.fits[name]
            else:
                fits[name] = None if entry.fit is None else entry.fit(given)[0]
            columns[name] = _others(given.val, {name: fits[name]})[name]
        except ScoreUnavailableError:
            fits.pop(name, None)
    correct = jnp.argmax(jnp.asarray(given.val.logits), axis=-1) == jnp.asarray(given.val_labels)
    fitted = fit_fusion(columns, correct)
    ranked = sorted(fitted.weights, key=lambda name: -abs(float(fitted.weights[name])))
    largest = ', '.join(f'{name} {float(fitted.weights[name]):+.2f}' for name in ranked[:4])
    num_errors = int(jnp.sum(~correct))
    note = f'over {len(columns)} scores, on {num_errors} validation errors; largest weights on normal scores: {largest}'
    return (fits, fitted), (note,)


@score(
    NAME,
    needs=['logits'],
    description='logistic regression on validation data over all other available scores',
    reference='Cox 1958; scikit-learn LogisticRegression (L2, C = 1) on normal scores',
    fit=_fit,
    combines=True,
    is_probability=True,
)
def fusion(inputs: ScoreInputs, fitted: tuple[Mapping[str, PyTree], Fusion]) -> jax.Array:
    """Return the fused P(correct).

    The other scores are computed again here, so that the score stands alone (and are fitted here too, unless
    FitInputs.fits has them); who has their values already calls `fit_fusion` and `fuse`.

    Args:
      inputs: reads what the fused scores read: every field that was there when it was fitted.
      fitted: the other scores' fits, and the regression.

    Returns:
      [N] float32 in [0, 1].

    Reference: Cox, "The regression analysis of binary sequences", 1958.
    """
    fits, regression = fitted
    return fuse(_others(inputs, fits), regression)
