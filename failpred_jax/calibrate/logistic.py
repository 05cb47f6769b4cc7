"""Logistic regression by Newton's method: small, exact, and the same on every machine."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from failpred_jax.metrics.checking import checked

MAX_ITERATIONS = 100
TOLERANCE = 1e-9


class Logistic(NamedTuple):
    """The fitted regression: P = sigmoid(design @ weights + intercept).

    Attributes:
      weights: [P] float64.
      intercept: float.
      has_converged: False if the last step was still large.
    """

    weights: np.ndarray
    intercept: float
    has_converged: bool

    def log_odds(self, design: np.ndarray) -> np.ndarray:
        """Return the log-odds [N] of a design [N, P]."""
        return design @ self.weights + self.intercept


def log_loss(log_odds: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return each unit's cross-entropy in nats, from its log-odds, without rounding a probability to 0 or 1."""
    return np.logaddexp(0, log_odds) - target * log_odds


def fit_logistic(design: np.ndarray, target: np.ndarray, ridge: float = 0.0, start: Logistic | None = None) -> Logistic:
    """Return the regression of least cross-entropy plus ridge / 2 times the squared weights.

    A step that does not improve is halved, so the result is never worse than where it starts: the constant that says
    the mean target, unless `start` is given.

    Args:
      design: [N, P] float64 of similar scales, finite.
      target: [N] float64 in [0, 1], with a mean inside (0, 1).
      ridge: 0 or greater; the intercept is free. scikit-learn's C is 1 / ridge.
      start: a regression to start from, such as that of a similar ridge.

    Reference: Hastie, Tibshirani & Friedman, "The elements of statistical learning", 2nd edition, section 4.4.1.
    """
    num_columns = design.shape[1]
    mean = float(target.mean())
    params = np.append(np.zeros(num_columns), np.log(mean) - np.log1p(-mean))
    if start is not None:
        params = np.append(start.weights, start.intercept)
    penalty = np.append(np.full(num_columns, ridge), 0.0)
    full = np.concatenate([design, np.ones((len(design), 1))], axis=1)

    def loss(params: np.ndarray) -> float:
        return float(log_loss(full @ params, target).sum() + 0.5 * np.sum(penalty * params**2))

    current = loss(params)
    gradient = np.zeros(num_columns + 1)
    for _ in range(MAX_ITERATIONS):
        probs = expit(full @ params)
        gradient = full.T @ (probs - target) + penalty * params
        # The last term only matters where columns are constant or alike, and their weights are undetermined.
        hessian = (full * (probs * (1 - probs))[:, None]).T @ full + np.diag(penalty + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        size, found = 1.0, loss(params - step)
        while found > current and size > 1e-10:
            size /= 2
            found = loss(params - size * step)
        if found > current:
            break
        params, current = params - size * step, found
        if np.abs(size * step).max() < TOLERANCE * (1 + np.abs(params).max()):
            return Logistic(params[:-1], float(params[-1]), True)
    # No step improves any more: either the least value is reached to rounding, or the search is stuck.
    has_converged = bool(np.abs(gradient).max() <= 1e-6 * len(target))
    return Logistic(params[:-1], float(params[-1]), has_converged)


@checked
def softened(correct: np.ndarray) -> np.ndarray:
    """Return Platt's targets: (n + 1) / (n + 2) for n correct units, 1 / (m + 2) for m errors, instead of 1 and 0.

    With them a fit stays finite where a threshold separates the errors.

    Reference: Platt, "Probabilistic outputs for support vector machines", 1999, section 2.2.
    """
    num_correct = int(correct.sum())
    num_errors = len(correct) - num_correct
    return np.where(correct, (num_correct + 1) / (num_correct + 2), 1 / (num_errors + 2))
