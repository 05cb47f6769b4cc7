"""Every failure and selective metric class by class: which classes' errors does a confidence find?"""

from collections.abc import Mapping

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.metrics.ranking import check_inputs, names, score_metrics
from failpred_jax.metrics.walk import STANDARD, Points
from failpred_jax.types import Array

# Units times classes times scores up to which all units are passed for each class, the others masked: that is one
# shape, which has been compiled for the scores already. Beyond, a class's units alone take less time.
_MAX_MASKED = 1 << 25


def class_failure_metrics(
    confidences: Mapping[str, Array], correct: Array, classes: Array, num_classes: int, points: Points = STANDARD
) -> dict[str, dict[str, np.ndarray]]:
    """Return every failure and selective metric of several scores within each class.

    Args:
      confidences: score name -> [N] of any real type, higher means more confident.
      correct: [N] bool.
      classes: [N] int in [0, C): the predicted class, which is what a user sees, or the label.
      num_classes: C.
      points: operating points.

    Returns:
      {score: {metric: [C] float64}}; NaN where undefined, as in a class without errors.

    Raises:
      UserError: as `failure_metrics`, or classes are out of range.
    """
    classes = np.asarray(classes)
    if classes.shape != np.shape(correct) or (classes.size and (classes.min() < 0 or classes.max() >= num_classes)):
        raise UserError(
            f'classes has shape {classes.shape} and values from {classes.min(initial=0)} to {classes.max(initial=0)}; '
            f'give one class from 0 to {num_classes - 1} for each of the {np.size(correct)} units'
        )
    classes = classes.ravel()
    size = classes.size
    if size * num_classes * len(confidences) > _MAX_MASKED:
        size = int(np.bincount(classes).max())
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, confidence in confidences.items():
        exact, right, _ = check_inputs(confidence, correct, None)
        exact, right = np.asarray(exact), np.asarray(right)
        if np.isnan(exact).any():
            raise UserError(f"the confidence '{name}' holds NaN; a ranking needs numbers: repair the score")
        rows = [_within(exact, right, classes == c, size, points) for c in range(num_classes)]
        found[name] = {metric: np.array([row[metric] for row in rows], np.float64) for metric in names(points)}
    return found


def _within(
    confidence: np.ndarray, correct: np.ndarray, is_in: np.ndarray, size: int, points: Points
) -> dict[str, float]:
    """Return the metrics of the units in a class, from arrays of `size` units of which the others are masked."""
    if size == len(is_in):
        return score_metrics(confidence, correct, is_in, points)
    at = np.flatnonzero(is_in)
    mask = np.arange(size) < len(at)
    at = np.pad(at, (0, size - len(at)))
    return score_metrics(confidence[at], correct[at], mask, points)
