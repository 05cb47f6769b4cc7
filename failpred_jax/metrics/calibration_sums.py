"""Calibration of more units than fit: sums that parts of the data add up to, and the metrics from them."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.metrics.reliability import NUM_BINS, reliability_bins
from failpred_jax.metrics.sums import compensated_sum
from failpred_jax.metrics.walk import float_type
from failpred_jax.types import Array


class CalibrationSums(NamedTuple):
    """Totals over units, on the host; every leaf is additive.

    Attributes:
      count: [K] int64, units a bin of equal width.
      confidence: [K] float64, sum of their confidences.
      correct: [K] float64, how many of them are correct.
      squared: float64, sum of (confidence - correct)^2.
      surprise: float64, sum of -log P(what was the case).
      outside: int64, units whose confidence is not in [0, 1].
    """

    count: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]  # tuple.count is never called
    confidence: np.ndarray
    correct: np.ndarray
    squared: np.ndarray
    surprise: np.ndarray
    outside: np.ndarray


@functools.partial(jax.jit, static_argnames='num_bins')
def _sums(confidence: Array, correct: Array, mask: Array, num_bins: int) -> dict[str, jax.Array]:
    bins = reliability_bins(confidence, correct, mask, num_bins)
    count = bins.count.astype(float_type())
    sure = confidence.astype(float_type())
    of_truth = jnp.where(correct, sure, 1 - sure)
    return {
        'count': bins.count,
        'confidence': jnp.where(bins.count > 0, bins.confidence * count, 0),
        'correct': jnp.where(bins.count > 0, jnp.round(bins.accuracy * count), 0),
        'squared': compensated_sum(jnp.where(mask, (1 - of_truth) ** 2, 0)),
        'surprise': compensated_sum(jnp.where(mask, -jnp.log(jnp.where(mask, of_truth, 1)), 0)),
        'outside': jnp.sum(mask & ~((confidence >= 0) & (confidence <= 1)), dtype=jnp.int32),
    }


def calibration_sums(confidence: Array, correct: Array, mask: Array, num_bins: int = NUM_BINS) -> CalibrationSums:
    """Return the sums of [N] units: confidence float32 in [0, 1], correct bool, mask bool (False counts nowhere)."""
    with jax.enable_x64(jax.default_backend() != 'tpu'):
        found = jax.device_get(_sums(confidence, correct, mask, num_bins))
    return CalibrationSums(
        **{name: np.asarray(x, np.int64 if name in ('count', 'outside') else np.float64) for name, x in found.items()}
    )


def calibration_from_sums(sums: CalibrationSums) -> dict[str, float]:
    """Return what `calibration_metrics` returns, except the ECE of equal mass, which needs all units in order.

    Returns:
      {ece, signed_ece, mce, brier, brier_reliability, brier_resolution, brier_uncertainty, nll: float}; NaN for no
      unit, or where a confidence was outside [0, 1].

    Reference: Guo et al., ICML 2017, equations 3 and 5; Murphy, Journal of Applied Meteorology 1973.
    """
    total = int(sums.count.sum())
    filled = sums.count > 0
    count = np.maximum(sums.count, 1)
    share = sums.count / max(total, 1)
    gap = np.where(filled, (sums.confidence - sums.correct) / count, 0.0)
    accuracy = sums.correct.sum() / max(total, 1)
    spread = np.where(filled, sums.correct / count - accuracy, 0.0)
    found = {
        'ece': np.sum(share * np.abs(gap)),
        'signed_ece': np.sum(share * gap),
        'mce': np.max(np.abs(gap)),
        'brier': sums.squared / max(total, 1),
        'brier_reliability': np.sum(share * gap**2),
        'brier_resolution': np.sum(share * spread**2),
        'brier_uncertainty': accuracy * (1 - accuracy),
        'nll': sums.surprise / max(total, 1),
    }
    defined = total > 0 and not sums.outside
    return {name: float(value) if defined else float('nan') for name, value in found.items()}
