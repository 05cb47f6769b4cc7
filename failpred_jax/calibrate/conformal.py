"""Split-conformal prediction sets: sets of classes that hold the true one with a stated probability."""

import math

import numpy as np

from failpred_jax.types import Array


def fit_conformal(probs: Array, labels: Array, error_rate: float) -> float:
    """Return the probability that a class must reach to enter the set.

    With held-out and new units exchangeable, the set of a new unit holds its true class with probability at least
    1 - error_rate, on average over held-out sets and units; and at most 1 / (N + 1) more where no probabilities tie.
    Pixels of one image are not exchangeable with those of another: for segmentation it is no guarantee.

    Args:
      probs: [N, C] float of held-out units.
      labels: [N] int in [0, C).
      error_rate: in (0, 1).

    Returns:
      The threshold: the k-th smallest probability of the true class, k = floor((N + 1) error_rate), or -inf (every
      class enters) where N is too small for the promise.

    Raises:
      ValueError: if error_rate is not within (0, 1).

    Reference: Sadinle, Lei & Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA 2019;
      Angelopoulos & Bates, "A gentle introduction to conformal prediction", 2021, section 1 and theorem 1.
    """
    if not 0 < error_rate < 1:
        raise ValueError(f'error_rate is {error_rate}; it must lie between 0 and 1')
    probs, labels = np.asarray(probs), np.asarray(labels)
    true_probs = np.sort(probs[np.arange(len(labels)), labels])
    # A rank that rounding puts a hair below an integer would cost a unit: (N + 1) * 0.1 is not always what it seems.
    rank = math.floor((len(labels) + 1) * error_rate + 1e-9)
    return float(true_probs[rank - 1]) if rank >= 1 else -math.inf


def prediction_sets(probs: Array, threshold: float) -> np.ndarray:
    """Return which classes enter the set of each unit with probs [N, C]: [N, C] bool; a set may be empty."""
    return np.asarray(probs) >= threshold
