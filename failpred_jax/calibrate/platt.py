"""Platt scaling: a sigmoid from any confidence to P(correct)."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from failpred_jax.types import Array

MAX_ITERATIONS = 100


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


def fit_platt(confidence: Array, correct: Array) -> Platt:
    """Return the sigmoid of greatest likelihood, with Platt's softened targets.

    The targets are (n + 1) / (n + 2) for the n correct units and 1 / (m + 2) for the m errors instead of 1 and 0, so
    that the fit stays finite where a threshold separates them. Newton's method, halving steps that do not improve.

    Args:
      confidence: [N] float of held-out units, finite.
      correct: [N] bool.

    Returns:
      The fitted sigmoid.

    Raises:
      ValueError: where there are no units, or the confidence is not finite.

    Reference: Platt, "Probabilistic outputs for support vector machines", 1999, section 2.2; Lin, Lin & Weng, "A note
      on Platt's probabilistic outputs for support vector machines", Machine Learning 2007.
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if confidence.size == 0 or not np.isfinite(confidence).all():
        raise ValueError('Platt scaling needs at least one held-out unit, and finite confidences')
    center, spread = float(confidence.mean()), float(confidence.std()) or 1.0
    design = np.stack([(confidence - center) / spread, np.ones_like(confidence)], axis=1)
    num_correct, num_errors = int(correct.sum()), int((~correct).sum())
    target = np.where(correct, (num_correct + 1) / (num_correct + 2), 1 / (num_errors + 2))
    params = np.array([0.0, np.log((num_correct + 1) / (num_errors + 1))])

    def loss(params: np.ndarray) -> float:
        log_odds = design @ params
        return float(np.sum(np.logaddexp(0, log_odds) - target * log_odds))

    has_converged = False
    for _ in range(MAX_ITERATIONS):
        probs = expit(design @ params)
        gradient = design.T @ (probs - target)
        # The ridge only matters where the confidence is constant and the slope is undetermined.
        hessian = (design * (probs * (1 - probs))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-10 and loss(params - size * step) > loss(params):
            size /= 2
        params = params - size * step
        if np.abs(size * step).max() < 1e-9 * (1 + np.abs(params).max()):
            has_converged = True
            break
    return Platt(center, spread, float(params[0]), float(params[1]), has_converged)
