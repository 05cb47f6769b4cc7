"""Beta calibration: from a confidence in [0, 1] to P(correct), with the identity among its maps."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from failpred_jax.calibrate.checks import confidence_units
from failpred_jax.calibrate.logistic import fit_logistic, softened
from failpred_jax.errors import UserError
from failpred_jax.metrics.checking import checked
from failpred_jax.types import Array

# A float32 confidence of exactly 1 may be anything down to here; its logarithms must stay finite.
SMALLEST = 2.0**-24


@dataclass(frozen=True)
class Beta:
    """P(correct) = sigmoid(a log s - b log(1 - s) + c); a = b = 1 and c = 0 leave s as it is.

    Attributes:
      a: 0 or greater, how steep it is at 0.
      b: 0 or greater, how steep it is at 1.
      c: log-odds at s = 1/2, less what a and b contribute.
      has_converged: False if the last step of the fit was still large.
    """

    a: float
    b: float
    c: float
    has_converged: bool

    def __call__(self, confidence: Array) -> np.ndarray:
        """Return P(correct) for confidences [...] in [0, 1]: [...] float64 in [0, 1], never falling."""
        log_high, log_low = _logs(np.asarray(confidence, np.float64))
        return expit(self.a * log_high - self.b * log_low + self.c)


@checked
def fit_beta(confidence: Array, correct: Array) -> Beta:
    """Return the beta map of greatest likelihood that never falls, with Platt's softened targets.

    Args:
      confidence: [N] float of held-out units, in [0, 1].
      correct: [N] bool (or 0 and 1).

    Raises:
      UserError: there are no units, shapes differ, `correct` holds anything but 0 and 1, or a confidence is outside
        [0, 1].

    Reference: Kull, Silva Filho & Flach, "Beta calibration", AISTATS 2017, section 4 and algorithm 1 (a parameter that
      would be negative is left out, and the other fitted again).
    """
    confidence, correct = confidence_units(confidence, correct)
    outside = (confidence < 0) | (confidence > 1)
    if outside.any():
        raise UserError(
            f'beta calibration needs a confidence in [0, 1]; {int(outside.sum())} of {len(confidence)} are outside: '
            'use Platt scaling or isotonic regression'
        )
    log_high, log_low = _logs(confidence.astype(np.float64))
    target = softened(correct)
    columns = {'a': log_high, 'b': -log_low}
    while True:
        design = np.stack(list(columns.values()), axis=1) if columns else np.empty((len(target), 0))
        fitted = fit_logistic(design, target)
        weights = dict(zip(columns, fitted.weights, strict=True))
        worst = min(weights, key=lambda name: weights[name], default=None)
        if worst is None or weights[worst] >= 0:
            return Beta(
                float(weights.get('a', 0.0)), float(weights.get('b', 0.0)), fitted.intercept, fitted.has_converged
            )
        del columns[worst]


def _logs(confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log s and log(1 - s), both finite."""
    return np.log(np.maximum(confidence, SMALLEST)), np.log(np.maximum(1 - confidence, SMALLEST))
