"""A score's values on validation units that its fit has not seen, for whatever is fitted on top of it.

A score that was fitted on the labels of the validation units is too good on them: with 100 classes and 5,000 units,
`rel_u` has an AUROC of .979 there and of .926 on new ones. What stacks such columns trusts the wrong ones.
"""

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.blocks import in_blocks, to_host
from failpred_jax.calibrate.folds import draw_folds
from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.outcomes import is_correct
from failpred_jax.scores.choice import choose
from failpred_jax.scores.score import Fit, FitInputs, Score, ScoreInputs, as_fit
from failpred_jax.types import PyTree

NUM_FOLDS = 5
# Any would do; fixed, so that the same predictions give the same fits.
FOLDS_SEED = 0


def validation_folds(given: FitInputs) -> np.ndarray:
    """Return the fold of each validation unit: [N] int, errors spread evenly."""
    correct = np.asarray(is_correct(given.val.logits, given.val_labels))
    return draw_folds(correct, NUM_FOLDS, FOLDS_SEED)


def held_out_values(score: Score, given: FitInputs, fit: Fit | None, folds: np.ndarray) -> np.ndarray:
    """Return a score's confidence of each validation unit, by a fit that did not read its label.

    Args:
      score: any; of one that combines others, the columns in `given.val` are taken as they are.
      given: what its fit reads.
      fit: what its fit on all validation units left; None if it has none.
      folds: [N] int, from `validation_folds`.

    Returns:
      [N] float32, on the scale of the score as fitted on all units.

    Raises:
      ScoreUnavailableError: without one of the folds the score cannot be fitted.
    """
    if score.fit is None or fit is None:
        return values_of(score, given.val._replace(labels=np.asarray(given.val_labels)))
    if not score.reads_val_labels:
        return values_of(score, given.val, fit.fitted)
    if fit.candidates is not None:
        return _choose_again(np.asarray(fit.candidates), given, fit.default, folds)
    values = np.empty(len(folds), np.float32)
    for fold in np.unique(folds):
        is_out = folds == fold
        others = given._replace(val=_take(given.val, ~is_out), val_labels=np.asarray(given.val_labels)[~is_out])
        try:
            fitted = as_fit(score.fit(others)).fitted
        except ScoreUnavailableError as error:
            raise ScoreUnavailableError(
                f'it is fitted without each fifth of the validation units as well, and without one of them: {error}'
            ) from error
        values[is_out] = values_of(score, _take(given.val, is_out), fitted)
    return values


def values_of(score: Score, inputs: ScoreInputs, *fitted: PyTree) -> np.ndarray:
    """Return a score of all units, of many of them some at a time; a unit's score depends on nothing but the unit."""
    if score.shares:
        return to_host(score.fn(inputs, *fitted))
    return in_blocks(score.fn, inputs._replace(shared=None), *fitted)


def _take(inputs: ScoreInputs, units: np.ndarray) -> ScoreInputs:
    return jax.tree.map(lambda x: np.asarray(x)[units], inputs._replace(shared=None))


def _choose_again(candidates: np.ndarray, given: FitInputs, default: int, folds: np.ndarray) -> np.ndarray:
    """Return each fold's confidences under the constant that the other folds choose, on the scale of everybody's."""
    correct = is_correct(given.val.logits, given.val_labels)
    everybody, _ = choose(candidates, correct, default)
    scale = np.sort(candidates[:, everybody])
    values = candidates[:, everybody].copy()
    for fold in np.unique(folds):
        is_out = folds == fold
        chosen, _ = choose(candidates, correct, default, jnp.asarray(~is_out))
        if chosen != everybody:
            # Another constant has another scale: what counts is the place among all validation units.
            in_order = np.sort(candidates[:, chosen])
            values[is_out] = scale[np.searchsorted(in_order, candidates[is_out, chosen], side='left')]
    return values
