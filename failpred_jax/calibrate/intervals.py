"""How sure calibration figures are: bootstrap intervals of ECE, Brier score and negative log-likelihood.

A resample of N units only matters to the ECE by what falls into each bin. So cells (bin x correctness) are drawn from
their multinomial distribution, and the confidences within a cell, which differ by less than the width of a bin, enter
by their mean and variance: the cost does not grow with N.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from failpred_jax.calibrate.checks import between_0_and_1, confidence_units
from failpred_jax.errors import UserError
from failpred_jax.metrics.checking import checked
from failpred_jax.metrics.reliability import NUM_BINS
from failpred_jax.types import Array

# Weights of resamples held at once: 16 MB.
_BLOCK_WEIGHTS = 1 << 22
# Columns multiplied at once, always as many: of a product of another width, a column's last bits may differ.
_WIDTH = 16
# Above so many units a mean is normal for all that a bootstrap can tell.
_MAX_RESAMPLED = 50_000


class CalibrationInterval(NamedTuple):
    """An interval of a calibration figure.

    Attributes:
      low, high: its ends.
      method: 'percentile', or 'basic' for the ECE, whose resamples are biased upward as it is itself; there 0 is
        inside wherever a calibrated confidence would look as bad.
    """

    low: float
    high: float
    method: str


@checked
def calibration_intervals(
    confidences: Mapping[str, Array],
    correct: Array,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    num_bins: int = NUM_BINS,
) -> dict[str, dict[str, CalibrationInterval]]:
    """Return intervals of how well confidences serve as P(correct).

    Units are drawn independently: not for the pixels of a few images.

    Args:
      confidences: name -> [N] float in [0, 1].
      correct: [N] bool.
      num_resamples: 1 or greater.
      level: of the intervals, in (0, 1).
      seed: of the resamples, the same for all names.
      num_bins: of the ECE.

    Returns:
      name -> {'ece', 'brier', 'nll'} -> interval. NLL is left out where it is infinite.

    Raises:
      UserError: as `metrics.calibration_metrics`.

    Reference: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, sections 13.3 (percentile) and 13.4; Davison
      & Hinkley, Bootstrap Methods and their Application, 1997, section 5.2.1 (basic); Bröcker & Smith, Weather and
      Forecasting 2007 (what a calibrated forecast looks like).
    """
    between_0_and_1(level=level)
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    found: dict[str, dict[str, CalibrationInterval]] = {}
    columns: dict[tuple[str, str], np.ndarray] = {}
    for name, given in confidences.items():
        confidence, is_right = confidence_units(given, correct)
        confidence = confidence.astype(np.float64)
        if confidence.min() < 0 or confidence.max() > 1:
            raise UserError(f"the confidence '{name}' has values outside [0, 1]; calibration is about probabilities")
        found[name] = {'ece': _ece_interval(confidence, is_right, num_resamples, tails, seed, num_bins)}
        columns[name, 'brier'] = (confidence - is_right) ** 2
        with np.errstate(divide='ignore'):
            nll = -np.log(np.where(is_right, confidence, 1 - confidence))
        if np.isfinite(nll).all():
            columns[name, 'nll'] = nll
    if not columns:
        return found
    means = _resampled_means(np.stack(list(columns.values()), axis=1), num_resamples, seed)
    for (name, metric), (low, high) in zip(columns, np.quantile(means, tails, axis=0).T, strict=True):
        found[name][metric] = CalibrationInterval(float(low), float(high), 'percentile')
    return found


def _ece_interval(
    confidence: np.ndarray, correct: np.ndarray, num_resamples: int, tails: np.ndarray, seed: int, num_bins: int
) -> CalibrationInterval:
    rng = np.random.default_rng(seed)
    num_units = len(confidence)
    # Bins (k/K, (k+1)/K], as metrics.reliability_bins cuts them.
    bin_of = np.searchsorted(np.arange(1, num_bins) / num_bins, confidence, side='left')
    cell = 2 * bin_of + correct
    count = np.bincount(cell, minlength=2 * num_bins)
    gap = confidence - correct
    mean = np.bincount(cell, gap, 2 * num_bins) / np.maximum(count, 1)
    variance = np.maximum(np.bincount(cell, gap**2, 2 * num_bins) / np.maximum(count, 1) - mean**2, 0)
    drawn = rng.multinomial(num_units, count / num_units, size=num_resamples)
    sums = drawn * mean + np.sqrt(drawn * variance) * rng.standard_normal(drawn.shape)
    resampled = np.abs(sums.reshape(num_resamples, num_bins, 2).sum(axis=2)).sum(axis=1) / num_units
    value = np.abs((count * mean).reshape(num_bins, 2).sum(axis=1)).sum() / num_units
    low, high = 2 * value - np.quantile(resampled, tails[::-1])
    # Near 0 the estimate is mostly its own bias: where a calibrated confidence would often look as bad, 0 is inside.
    noise = np.sqrt(np.bincount(bin_of, confidence * (1 - confidence), num_bins))
    of_calibrated = (noise * np.abs(rng.standard_normal((num_resamples, num_bins)))).sum(axis=1) / num_units
    if value <= np.quantile(of_calibrated, tails[1] - tails[0]):
        low, high = 0.0, max(high, value)
    return CalibrationInterval(float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1)), 'basic')


def _resampled_means(values: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    """Return the means of the columns of values [N, M] in each resample: [R, M]."""
    rng = np.random.default_rng(seed)
    num_units = len(values)
    center = values.mean(axis=0)
    if num_units > _MAX_RESAMPLED:
        return center + rng.standard_normal((num_resamples, 1)) * values.std(axis=0) / np.sqrt(num_units)
    # Deviations, as float32 weights would lose the digits of a mean.
    num_columns = values.shape[1]
    deviations = np.zeros((-(-num_columns // _WIDTH), num_units, _WIDTH), np.float32)
    for column in range(num_columns):
        deviations[column // _WIDTH, :, column % _WIDTH] = values[:, column] - center[column]
    parts, block = [], max(1, _BLOCK_WEIGHTS // num_units)
    for start in range(0, num_resamples, block):
        size = min(block, num_resamples - start)
        weights = np.empty((size, num_units), np.float32)
        for row in weights:
            row[:] = np.bincount(rng.integers(0, num_units, num_units), minlength=num_units)
        parts.append(np.concatenate([weights @ some for some in deviations], axis=1)[:, :num_columns] / num_units)
    return center + np.concatenate(parts)
