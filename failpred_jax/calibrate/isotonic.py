"""Isotonic regression: the rising step function from any confidence to P(correct)."""

from dataclasses import dataclass

import numpy as np

from failpred_jax.calibrate.checks import confidence_units
from failpred_jax.metrics.checking import checked
from failpred_jax.types import Array


@dataclass(frozen=True)
class Isotonic:
    """A rising, piecewise linear function.

    Attributes:
      confidence: [J] float64, rising knots.
      probability: [J] float64 in [0, 1], rising.
    """

    confidence: np.ndarray
    probability: np.ndarray

    def __call__(self, confidence: Array) -> np.ndarray:
        """Return P(correct) for confidences [...]: [...] float64 in [0, 1]; flat outside the held-out range."""
        return np.interp(np.asarray(confidence, np.float64), self.confidence, self.probability)


@checked
def fit_isotonic(confidence: Array, correct: Array) -> Isotonic:
    """Return the rising function of least squared error to `correct`, linear between its steps.

    Args:
      confidence: [N] of any real type, of held-out units, finite.
      correct: [N] bool (or 0 and 1).

    Returns:
      The fitted function. It makes ties: units that share a step can no longer be told apart.

    Raises:
      UserError: there are no units, shapes differ, `correct` holds anything but 0 and 1, or the confidence is not
        finite.

    Reference: Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD
      2002, section 3.2; scikit-learn's IsotonicRegression.
    """
    confidence, correct = confidence_units(confidence, correct)
    # Imported late: scikit-learn takes a second that a run without this fit need not pay.
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds='clip')
    model.fit(confidence.astype(np.float64), correct.astype(np.float64))
    return Isotonic(np.asarray(model.X_thresholds_), np.asarray(model.y_thresholds_))
