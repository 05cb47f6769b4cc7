"""Split-conformal prediction sets: sets of classes that hold the true one with a stated probability."""

import math

import numpy as np

from failpred_jax.calibrate.checks import between_0_and_1, check_values, class_labels, real_array
from failpred_jax.errors import UserError
from failpred_jax.metrics.checking import checked
from failpred_jax.types import Array

# A rounded softmax may exceed 1 by so much.
SLACK = 1e-2


@checked
def fit_conformal(probs: Array, labels: Array, alpha: float) -> float:
    """Return the probability that a class must reach to enter the set.

    With held-out and new units exchangeable, the set of a new unit holds its true class with probability at least
    1 - alpha, on average over held-out sets and units; and at most 1 / (N + 1) more where no probabilities tie.
    Pixels of one image are not exchangeable with those of another: for segmentation it is no guarantee.

    Args:
      probs: [N, C] float of held-out units.
      labels: [N] int in [0, C).
      alpha: the share of new units whose set may miss the true class, in (0, 1).

    Returns:
      The threshold: the k-th smallest probability of the true class, k = floor((N + 1) alpha), or -inf (every
      class enters) where N is too small for the promise.

    Raises:
      UserError: alpha is not within (0, 1), there are no units, shapes do not fit, a label is no class (void labels
        must be left out), or `probs` holds NaN or values outside [0, 1].

    Reference: Sadinle, Lei & Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA 2019;
      Angelopoulos & Bates, "A gentle introduction to conformal prediction", 2021, section 1 and theorem 1.
    """
    between_0_and_1(alpha=alpha)
    probs = real_array(probs, 'probs')
    labels = class_labels(labels, probs, 'probs')
    check_values(probs, 'probs')
    if probs.min() < 0 or probs.max() > 1 + SLACK:
        raise UserError(f'probs holds values from {probs.min():g} to {probs.max():g}; apply softmax to logits first')
    true_probs = np.sort(probs[np.arange(len(labels)), labels])
    # A rank that rounding puts a hair below an integer would cost a unit: (N + 1) * 0.1 is not always what it seems.
    rank = math.floor((len(labels) + 1) * alpha + 1e-9)
    return float(true_probs[rank - 1]) if rank >= 1 else -math.inf


def prediction_sets(probs: Array, threshold: float) -> np.ndarray:
    """Return which classes enter the set of each unit with probs [N, C]: [N, C] bool; a set may be empty."""
    return real_array(probs, 'probs') >= threshold
