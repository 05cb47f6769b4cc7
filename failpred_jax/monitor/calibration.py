"""How well P(correct) fits where labels arrive, in NumPy alone."""

import numpy as np
from scipy.special import ndtr

NUM_BINS = 15


def brier(p_correct: np.ndarray, correct: np.ndarray) -> float:
    """Return the mean squared difference of P(correct) [n] and `correct` [n]; NaN of no units."""
    return float(np.mean((p_correct - correct) ** 2)) if len(correct) else np.nan


def ece_debiased(p_correct: np.ndarray, correct: np.ndarray) -> float:
    """Return the ECE over bins of equal mass, less what chance adds to it; NaN of no units.

    The same as `metrics.debiased_calibration.ece_debiased` (in JAX), where it is explained.

    Args:
      p_correct: [n] float64 in [0, 1].
      correct: [n] bool.

    Reference: Kumar, Liang & Ma, "Verified uncertainty calibration", NeurIPS 2019, section 4.
    """
    if not len(correct):
        return np.nan
    # As there, equal confidences are those that float32 does not tell apart.
    sure = p_correct.astype(np.float32)
    bins = np.searchsorted(np.sort(sure), sure, side='left') * NUM_BINS // len(sure)
    count = np.bincount(bins, minlength=NUM_BINS)
    filled = count > 0
    count = count[filled]
    accuracy = np.bincount(bins, correct, NUM_BINS)[filled] / count
    gap = np.abs(np.bincount(bins, sure, NUM_BINS)[filled] / count - accuracy)
    deviation = np.sqrt(accuracy * (1 - accuracy) / np.maximum(count - 1, 1))
    share = count / len(correct)
    square, noise = float(share @ gap**2), float(share @ deviation**2)
    likely = gap * np.sqrt(max(1 - noise / square, 0) if square else 0)
    return float(np.clip(share @ (gap - (_mean_absolute(likely, deviation) - likely)), 0, 1))


def _mean_absolute(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return E|x| of a normal x."""
    is_random = deviation > 0
    ratio = mean / np.where(is_random, deviation, 1)
    # Not scipy.stats, which takes most of a second to import.
    spread = deviation * 2 * np.exp(-(ratio**2) / 2) / np.sqrt(2 * np.pi)
    return np.where(is_random, spread + mean * (1 - 2 * ndtr(-ratio)), mean)
