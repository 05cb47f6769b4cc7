"""Any confidence as P(correct): fitted on held-out units, by the map that best predicts units it has not seen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logit

from failpred_jax.calibrate.beta import Beta, fit_beta
from failpred_jax.calibrate.checks import confidence_units, real_array
from failpred_jax.calibrate.folds import draw_folds
from failpred_jax.calibrate.isotonic import Isotonic, fit_isotonic
from failpred_jax.calibrate.logistic import log_loss
from failpred_jax.calibrate.platt import Platt, fit_platt
from failpred_jax.errors import UserError
from failpred_jax.metrics.checking import checked
from failpred_jax.registry import SCORES
from failpred_jax.types import Array

# Simplest first: of maps that predict equally well, the first is taken. The last two need a confidence in [0, 1].
METHODS = ('platt', 'isotonic', 'beta')
UNCHANGED = 'none'
NUM_FOLDS = 5
# Units on which the maps are judged against one another; the chosen one is fitted on all.
MAX_JUDGED = 20_000
# The tabulated map differs from the exact one by at most so much.
KNOT_ERROR = 1e-4
_GRID = 513


@dataclass(frozen=True)
class Calibrator:
    """A map from a confidence to P(correct), never falling where `rises`.

    Attributes:
      method: one of METHODS, or 'none', which leaves a confidence as it is, clipped to [0, 1].
      fitted: what the method left; None for 'none'.
      low: the smallest probability it gives; 1 / (N + 2), as no N held-out units can tell it from 0.
      high: the largest, 1 - low.
      first, last: the least and the greatest held-out confidence.
      loss: method -> cross-entropy in nats on units left out of its fit; empty where nothing was compared.
      notes: sentences for the reader.
    """

    method: str
    fitted: Platt | Isotonic | Beta | None
    low: float
    high: float
    first: float
    last: float
    loss: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def __call__(self, confidence: Array) -> np.ndarray:
        """Return P(correct) for confidences [...] of any real type: [...] float64 in [0, 1]."""
        values = real_array(confidence, 'confidence').astype(np.float64)
        if self.fitted is None:
            return np.clip(values, 0, 1)
        return np.clip(self.fitted(values), self.low, self.high)

    def knots(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (confidence [J], probability [J]) that `np.interp` turns into this map, to KNOT_ERROR.

        Also outside the held-out range: the map goes on there, until it is as low or as high as it can be.
        """
        if self.fitted is None:
            return np.array([0.0, 1.0]), np.array([0.0, 1.0])
        grid = np.linspace(self.first, self.last, _GRID)
        if isinstance(self.fitted, Isotonic):
            grid = np.concatenate([grid[[0, -1]], self.fitted.confidence, self._cut_at()])
        elif isinstance(self.fitted, Platt):
            # Where the sigmoid bends: even steps of probability, and of log-odds near its ends.
            ends = logit(self.low), logit(self.high)
            levels = np.concatenate([logit(np.linspace(self.low, self.high, _GRID)), np.linspace(*ends, _GRID)])
            with np.errstate(over='ignore', divide='ignore', invalid='ignore'):
                bends = self.fitted.center + self.fitted.spread * (levels - self.fitted.offset) / self.fitted.slope
            grid = np.concatenate([grid, bends[np.isfinite(bends)]])
        elif isinstance(self.fitted, Beta):
            ends = np.append(np.exp(-np.linspace(0, 40, _GRID)), 0.0)
            grid = np.clip(np.concatenate([grid, ends, 1 - ends]), 0, 1)
        grid = np.unique(grid)
        values = self(grid)
        kept = _thin(grid, values, 0 if isinstance(self.fitted, Isotonic) else KNOT_ERROR)
        return grid[kept], values[kept]

    def _cut_at(self) -> np.ndarray:
        """Return where a piecewise linear map crosses the smallest and the largest probability: it bends there."""
        assert isinstance(self.fitted, Isotonic)
        x, y = self.fitted.confidence, self.fitted.probability
        found = []
        for level in (self.low, self.high):
            for i in np.flatnonzero((y[:-1] < level) & (y[1:] > level)):
                found.append(x[i] + (level - y[i]) / (y[i + 1] - y[i]) * (x[i + 1] - x[i]))
        return np.array(found)

    def to_dict(self) -> dict[str, Any]:
        """Return what a file keeps of it, as plain numbers and lists."""
        confidence, probability = self.knots()
        return {
            'method': self.method,
            'knots': {'confidence': confidence.tolist(), 'probability': probability.tolist()},
            'range': [self.first, self.last],
            'held_out_loss': dict(self.loss),
            'notes': list(self.notes),
        }


def is_probability(name: str, *confidences: np.ndarray) -> bool:
    """Return whether a score is taken for P(correct): one of ours that says so, or a user's within [0, 1] in all parts.

    Where it is, 'none' (the confidence as it is) is one of the maps that are compared.
    """
    if name in SCORES:
        return SCORES[name].is_probability
    return all(
        np.issubdtype(values.dtype, np.floating) and bool(((values >= 0) & (values <= 1)).all())
        for values in confidences
    )


@checked
def fit_confidence(
    confidence: Array, correct: Array, method: str | None = None, is_probability: bool = False, seed: int = 0
) -> Calibrator:
    """Return the map from a confidence to P(correct), fitted on held-out units.

    Args:
      confidence: [N] of any real type, finite; higher means more confident.
      correct: [N] bool (or 0 and 1), with both kinds among them.
      method: one of METHODS, or None: that of least cross-entropy on units left out of its fit (5 folds). A map that
        predicts no better than the confidence as it is, where it is a probability, is refused: it stays as it is.
      is_probability: whether the confidence is meant as P(correct), and lies in [0, 1].
      seed: of the folds.

    Raises:
      UserError: the units are not what they should be, all of them are right or all wrong, or `method` cannot be.

    Reference: Platt 1999; Zadrozny & Elkan, KDD 2002; Kull, Silva Filho & Flach, AISTATS 2017.
    """
    confidence, correct = confidence_units(confidence, correct)
    confidence = confidence.astype(np.float64)
    if correct.all() or not correct.any():
        which = 'no errors' if correct.all() else 'nothing but errors'
        raise UserError(f'P(correct) cannot be fitted: the held-out units hold {which}')
    in_unit_range = bool((confidence >= 0).all() and (confidence <= 1).all())
    if is_probability and not in_unit_range:
        raise UserError('the confidence is meant as a probability, but some values are outside [0, 1]')
    if method is not None:
        if method not in METHODS:
            raise UserError(f"unknown calibration method '{method}' (allowed: {', '.join(METHODS)})")
        return _calibrator(method, confidence, correct, {})
    allowed = [m for m in METHODS if m != 'beta' or in_unit_range]
    loss = _held_out_losses(allowed, confidence, correct, is_probability, seed)
    return _calibrator(min(loss, key=lambda name: loss[name]), confidence, correct, loss)


@checked
def fit_all(confidence: Array, correct: Array) -> tuple[dict[str, Calibrator], dict[str, str]]:
    """Return (method -> its map, method -> why it cannot be had) of METHODS; see `fit_confidence`."""
    found, unavailable = {}, {}
    for method in METHODS:
        try:
            found[method] = fit_confidence(confidence, correct, method)
        except UserError as error:
            unavailable[method] = str(error)
    return found, unavailable


_FITS: dict[str, Callable[[Array, Array], Platt | Isotonic | Beta]] = {
    'platt': fit_platt,
    'isotonic': fit_isotonic,
    'beta': fit_beta,
}


def _calibrator(method: str, confidence: np.ndarray, correct: np.ndarray, loss: Mapping[str, float]) -> Calibrator:
    notes = []
    fitted = None if method == UNCHANGED else _FITS[method](confidence, correct)
    if fitted is None:
        notes.append('the confidence itself, as no map predicts held-out units better')
    if isinstance(fitted, Platt) and fitted.slope < 0:
        notes.append('higher confidence goes with more errors on the held-out units: its calibration is decreasing')
    if isinstance(fitted, Platt | Beta) and not fitted.has_converged:
        notes.append(f'{method}: the fit had not converged')
    low = 1 / (len(correct) + 2)
    return Calibrator(
        method, fitted, low, 1 - low, float(confidence.min()), float(confidence.max()), loss, tuple(notes)
    )


def _held_out_losses(
    methods: list[str], confidence: np.ndarray, correct: np.ndarray, is_probability: bool, seed: int
) -> dict[str, float]:
    """Return method -> mean cross-entropy on units left out of its fit; with 'none' first for a probability."""
    if len(correct) > MAX_JUDGED:
        drawn = np.random.default_rng(seed).choice(len(correct), MAX_JUDGED, replace=False)
        # A sample without both kinds would judge nothing.
        if 0 < correct[drawn].sum() < MAX_JUDGED:
            confidence, correct = confidence[drawn], correct[drawn]
    folds = draw_folds(correct, NUM_FOLDS, seed)
    loss = {}
    if is_probability:
        # Of 0 and 1 themselves every loss would be infinite; nobody means them that surely.
        margin = 1 / (len(correct) + 2)
        loss[UNCHANGED] = _cross_entropy(np.clip(confidence, margin, 1 - margin), correct)
    for method in methods:
        predicted = np.empty(len(correct))
        for fold in range(NUM_FOLDS):
            is_out = folds == fold
            if is_out.any():
                predicted[is_out] = _calibrator(method, confidence[~is_out], correct[~is_out], {})(confidence[is_out])
        loss[method] = _cross_entropy(predicted, correct)
    return loss


def _cross_entropy(probability: np.ndarray, correct: np.ndarray) -> float:
    return float(log_loss(logit(probability), correct.astype(np.float64)).mean())


def _thin(x: np.ndarray, y: np.ndarray, error: float) -> np.ndarray:
    """Return the places of the points that a piecewise linear curve needs to stay within `error` of all of them.

    Reference: Douglas & Peucker, The Canadian Cartographer 1973 (with vertical distances).
    """
    kept = {0, len(x) - 1}
    spans = [(0, len(x) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        inside = slice(first + 1, last)
        gap = np.abs(y[inside] - np.interp(x[inside], x[[first, last]], y[[first, last]]))
        worst = int(np.argmax(gap))
        if gap[worst] > error:
            middle = first + 1 + worst
            kept.add(middle)
            spans += [(first, middle), (middle, last)]
    return np.array(sorted(kept))
