"""Every failure and selective metric class by class: which classes' errors does a confidence find?"""

import functools
from collections.abc import Mapping

import jax
import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.metrics.ranking import check_inputs, names
from failpred_jax.metrics.resampling import sorted_flags, weighted_metrics
from failpred_jax.metrics.walk import STANDARD, Points
from failpred_jax.types import Array

# Classes are weightings of the units that are 1 or 0; so many numbers at once.
_BLOCK_WEIGHTS = 1 << 22


@functools.partial(jax.jit, static_argnames=('size', 'points'))
def _block(order: jax.Array, flags: jax.Array, classes: jax.Array, first: jax.Array, size: int, points: Points):
    in_class = classes[:, None] == first + jax.numpy.arange(size, dtype=classes.dtype)[None, :]
    return weighted_metrics(order, flags, in_class.astype(jax.numpy.int32), points)


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
    classes = classes.ravel().astype(np.int32)
    size = min(num_classes, max(1, _BLOCK_WEIGHTS // max(classes.size, 1)))
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, confidence in confidences.items():
        exact, right, _ = check_inputs(confidence, correct, None)
        if np.isnan(np.asarray(exact)).any():
            raise UserError(f"the confidence '{name}' holds NaN; a ranking needs numbers: repair the score")
        with jax.enable_x64(jax.default_backend() != 'tpu'):
            order, flags = sorted_flags(np.asarray(exact)[None], np.asarray(right))
            blocks = [
                jax.device_get(_block(order, flags, classes, np.int32(first), size, points))
                for first in range(0, num_classes, size)
            ]
        found[name] = {
            metric: np.concatenate([block[metric][0] for block in blocks])[:num_classes].astype(np.float64)
            for metric in names(points)
        }
    return found
