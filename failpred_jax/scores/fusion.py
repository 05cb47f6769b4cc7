"""A logistic regression over the other scores: what all of them together know, and what each adds.

It reads the values of the other scores, computed once for everybody; those that were fitted on validation labels come
cross-fitted (scores/crossfit.py), since a column that is too good on the units of the regression would be trusted too
much on new ones. The regression is shrunk as much as units left out of it ask for, and where it still ranks those no
better than its best column does, that column stands alone.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit, ndtri

from failpred_jax.calibrate.folds import draw_folds
from failpred_jax.calibrate.logistic import Logistic, fit_logistic, log_loss
from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.outcomes import is_correct
from failpred_jax.registry import SCORES
from failpred_jax.scores.choice import aurc
from failpred_jax.scores.score import Fit, FitInputs, ScoreInputs, score
from failpred_jax.types import Array

MAX_KNOTS = 4096
# Penalties on the squared weights, from one that leaves little to scikit-learn's default.
RIDGES = (1000.0, 100.0, 10.0, 1.0)
NUM_FOLDS = 5
# Apart from the folds in which the columns were cross-fitted.
FOLDS_SEED = 1


class Fusion(NamedTuple):
    """A logistic regression over named columns.

    Attributes:
      knots: name -> [J], rising, in the type of the column: validation values, by which new values are placed.
      weights: name -> scalar float32.
      intercept: scalar float32.
    """

    knots: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray]
    intercept: np.ndarray


def fit_fusion(columns: Mapping[str, Array], correct: Array) -> tuple[Fusion, tuple[str, ...], np.ndarray]:
    """Return the logistic regression of `correct` on the columns' normal scores, and what was seen while it was chosen.

    Scores live on scales that have nothing in common (a ratio of distances has no upper end), so each enters by its
    place among the validation units, as a quantile of the normal distribution. The L2 penalty is the one of RIDGES with
    the least cross-entropy on units left out (5 folds). The regression must have a lower AURC on them than every single
    column has; else the best column is taken alone.

    Args:
      columns: score name -> [N] of any real type, of validation units, none of them fitted on the label of its unit.
      correct: [N] bool, with both kinds among them.

    Returns:
      The regression, sentences on how it was chosen, and P(correct) of the validation units [N] float32, each by a
      regression that has not seen it.

    Raises:
      ScoreUnavailableError: where there are no columns, or fewer than two errors or successes: the regression is also
        fitted without any one of them.

    Reference: Cox, "The regression analysis of binary sequences", 1958; van der Waerden's normal scores, 1952; Wolpert,
      "Stacked generalization", Neural Networks 1992; van der Laan, Polley & Hubbard, "Super learner", 2007 (the best of
      a library that includes the single columns).
    """
    correct = np.asarray(correct, bool)
    if not columns:
        raise ScoreUnavailableError('fusion combines other scores; none is available')
    num_right, num_wrong = int(correct.sum()), int((~correct).sum())
    which = {0: 'no errors', 1: 'a single error'}.get(num_wrong, '')
    which = which or {0: 'nothing but errors', 1: 'a single success'}.get(num_right, '')
    if which:
        raise ScoreUnavailableError(
            f'fusion separates errors from successes, and needs two of each; the validation set holds {which}'
        )
    columns = {name: _ranked(values) for name, values in columns.items()}
    knots = {name: _knots(values) for name, values in columns.items()}
    design = np.stack([_normal_scores(columns[name], knots[name]) for name in knots], axis=1)
    target, names = correct.astype(np.float64), list(knots)
    ridge, held_out = _best_ridge(design, target, draw_folds(correct, NUM_FOLDS, FOLDS_SEED))
    alone = np.array([float(aurc(design[:, i].astype(np.float32), correct)) for i in range(len(names))])
    if len(names) > 1 and float(aurc(held_out.astype(np.float32), correct)) < alone.min():
        fitted = _path(design, target, ridge)
        note = _describe(names, fitted.weights, int((~correct).sum()), ridge)
    else:
        best = int(np.argmin(alone))
        names, design = [names[best]], design[:, [best]]
        # Two numbers from all these units: what they have seen of each matters to nobody.
        fitted, held_out = fit_logistic(design, target, ridge=1.0), None
        note = f'{names[0]} alone: together, the scores rank validation units that they were not fitted on no better'
    weights = {name: np.asarray(w, np.float32) for name, w in zip(names, fitted.weights, strict=True)}
    found = Fusion({name: knots[name] for name in names}, weights, np.asarray(fitted.intercept, np.float32))
    # Of one column these are the values that new units get, to the bit: a threshold chosen on them is one for those.
    values = expit(held_out) if held_out is not None else fuse(columns, found)
    return found, (note,), np.asarray(values, np.float32)


def fuse(columns: Mapping[str, Array], fitted: Fusion) -> jax.Array:
    """Return P(correct) of units from their scores: [N] float32 in [0, 1]; `columns` holds at least the fitted ones.

    Raises:
      ScoreUnavailableError: a fitted column is missing.
    """
    missing = [name for name in fitted.weights if name not in columns]
    if missing:
        raise ScoreUnavailableError(f'fusion was fitted on {", ".join(missing)}, which these units do not have')
    total = fitted.intercept
    for name, weight in fitted.weights.items():
        total = total + weight * _normal_scores(columns[name], fitted.knots[name])
    return jax.nn.sigmoid(jnp.asarray(total, jnp.float32))


def _best_ridge(design: np.ndarray, target: np.ndarray, folds: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the penalty of least held-out cross-entropy, and its held-out log-odds [N]."""
    log_odds = np.empty((len(RIDGES), len(target)))
    for fold in np.unique(folds):
        is_out = folds == fold
        fitted = None
        for i, ridge in enumerate(RIDGES):
            fitted = fit_logistic(design[~is_out], target[~is_out], ridge, start=fitted)
            log_odds[i, is_out] = fitted.log_odds(design[is_out])
    losses = [float(log_loss(found, target).mean()) for found in log_odds]
    best = int(np.argmin(losses))
    return RIDGES[best], log_odds[best]


def _path(design: np.ndarray, target: np.ndarray, ridge: float) -> Logistic:
    fitted = fit_logistic(design, target, RIDGES[0])
    for penalty in RIDGES[1 : RIDGES.index(ridge) + 1]:
        fitted = fit_logistic(design, target, penalty, start=fitted)
    return fitted


def _describe(names: list[str], weights: np.ndarray, num_errors: int, ridge: float) -> str:
    ranked = sorted(zip(names, weights, strict=True), key=lambda pair: -abs(pair[1]))
    largest = ', '.join(f'{name} {weight:+.2f}' for name, weight in ranked[:4])
    return (
        f'over {len(names)} scores, on {num_errors} validation errors, penalty {ridge:g} on squared weights; largest '
        f'weights on normal scores: {largest}'
    )


def _ranked(values: Array) -> np.ndarray:
    """Return a column in a type that NumPy sorts: its own, or float32 for half a float."""
    values = np.asarray(jax.device_get(values))
    return values if values.dtype.kind in 'iuf' and values.dtype.itemsize >= 4 else values.astype(np.float32)


def _knots(values: np.ndarray) -> np.ndarray:
    num_knots = min(len(values), MAX_KNOTS)
    places = np.linspace(0, len(values) - 1, num_knots).round().astype(int)
    return np.sort(values)[places]


def _normal_scores(values: Array, knots: np.ndarray) -> Array:
    """Return the normal quantile of each value's place among the knots; ties share the middle of their places."""
    is_numpy = not isinstance(values, jax.Array)
    # NumPy where it can be, as it does not round somebody's float64 column to float32.
    library = np if is_numpy else jnp
    values = _ranked(values) if is_numpy else values.astype(jnp.float32)
    below = library.searchsorted(knots, values, side='left')
    not_above = library.searchsorted(knots, values, side='right')
    # A value between two knots and one that ties with a knot both get a place strictly inside (0, 1).
    places = (below + not_above + 1) / (2 * (len(knots) + 1))
    return ndtri(places) if is_numpy else jax.scipy.special.ndtri(places.astype(jnp.float32))


def _fit_without(need: str | None) -> Callable[[FitInputs], Fit]:
    """Return the fit over all columns but those of scores that need the named field."""

    def fit(given: FitInputs) -> Fit:
        kept = {
            name: values
            for name, values in (given.val.columns or {}).items()
            if need is None or name not in SCORES or need not in SCORES[name].needs
        }
        fitted, notes, held_out = fit_fusion(kept, is_correct(given.val.logits, given.val_labels))
        return Fit(fitted, notes, held_out[:, None])

    return fit


@score(
    'fusion',
    needs=['logits', 'columns'],
    description='logistic regression on validation data over the other scores of the one classifier',
    reference='Cox 1958 on normal scores; Wolpert 1992 (stacking of cross-fitted columns)',
    fit=_fit_without('ensemble'),
    is_probability=True,
)
def fusion(inputs: ScoreInputs, fitted: Fusion) -> jax.Array:
    """Return the fused P(correct); the scores of an ensemble stay out, as one frozen classifier is what is compared.

    Args:
      inputs: reads `columns`.
      fitted: the regression.

    Returns:
      [N] float32 in [0, 1].

    Reference: Cox, "The regression analysis of binary sequences", 1958; Wolpert, "Stacked generalization", 1992.
    """
    return fuse(inputs.get('columns'), fitted)


@score(
    'fusion_with_ensemble',
    needs=['logits', 'columns', 'ensemble'],
    description='the same over all scores, those of the ensemble among them',
    reference='Cox 1958 on normal scores; Wolpert 1992 (stacking of cross-fitted columns)',
    fit=_fit_without(None),
    is_probability=True,
)
def fusion_with_ensemble(inputs: ScoreInputs, fitted: Fusion) -> jax.Array:
    """Return the fused P(correct) of the frozen classifier's prediction, several classifiers' opinions included.

    Args:
      inputs: reads `columns`.
      fitted: the regression.

    Returns:
      [N] float32 in [0, 1].

    Reference: Cox, "The regression analysis of binary sequences", 1958; Wolpert, "Stacked generalization", 1992.
    """
    return fuse(inputs.get('columns'), fitted)
