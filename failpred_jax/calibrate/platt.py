"""Platt scaling: a sigmoid from any confidence to P(correct)."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from failpred_jax.calibrate.checks import confidence_units
from failpred_jax.calibrate.logistic import fit_logistic, softened
from failpred_jax.errors import UserError
from failpred_jax.metrics.checking import checked
from failpred_jax.types import Array


@dataclass(frozen=True)
class Platt:
    """P(correct) = sigmoid(slope * (confidence - center) / spread + offset).

    Attributes:
      center: of the held-out confidences; with `spread` it keeps the fit well-conditioned on any scale.
      spread: over 0.
      slope: in units of spread; negative if the confidence points the wrong way.
      offset: log-odds at the center.
      has_converged: False if the last step was still large.
    """

    center: float
    spread: float
    slope: float
    offset: float
    has_converged: bool

    def __call__(self, confidence: Array) -> np.ndarray:
        """Return P(correct) for confidences [...]: [...] float64 in [0, 1]."""
        scaled = (np.asarray(confidence, np.float64) - self.center) / self.spread
        return expit(self.slope * scaled + self.offset)


@checked
def fit_platt(confidence: Array, correct: Array) -> Platt:
    """Return the sigmoid of greatest likelihood, with Platt's softened targets; never less likely than a constant.

    Args:
      confidence: [N] of any real type, of held-out units, finite.
      correct: [N] bool (or 0 and 1).

    Returns:
      The fitted sigmoid.

    Raises:
      UserError: there are no units, shapes differ, `correct` holds anything but 0 and 1, or the confidence is not
        finite, or float64 does not hold its square.

    Reference: Platt, "Probabilistic outputs for support vector machines", 1999, section 2.2; Lin, Lin & Weng, "A note
      on Platt's probabilistic outputs for support vector machines", Machine Learning 2007.
    """
    confidence, correct = confidence_units(confidence, correct)
    confidence = confidence.astype(np.float64)
    with np.errstate(over='ignore', invalid='ignore'):
        center, spread = float(confidence.mean()), float(confidence.std())
    # The spread of equal numbers may round to something over 0.
    if (confidence == confidence[0]).all():
        center, spread = float(confidence[0]), 1.0
    if not (np.isfinite([center, spread]).all() and spread > 0):
        raise UserError(
            f'confidence runs from {confidence.min():.3g} to {confidence.max():.3g}, whose squares float64 does not '
            'hold; multiply it by a number that brings it nearer to 1'
        )
    fitted = fit_logistic(((confidence - center) / spread)[:, None], softened(correct))
    return Platt(center, spread, float(fitted.weights[0]), fitted.intercept, fitted.has_converged)
