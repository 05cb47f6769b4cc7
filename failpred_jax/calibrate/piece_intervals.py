"""How sure calibration figures are where units belong together, or are graded: whole pieces are drawn."""

from collections.abc import Mapping

import numpy as np
from scipy.special import stdtrit

from failpred_jax.calibrate.intervals import CalibrationInterval
from failpred_jax.errors import UserError
from failpred_jax.metrics import drawn_pieces
from failpred_jax.metrics.checking import checked
from failpred_jax.metrics.reliability import NUM_BINS


@checked
def calibration_intervals_of_pieces(
    confidences: Mapping[str, np.ndarray],
    correct: np.ndarray,
    group: np.ndarray | None = None,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    num_bins: int = NUM_BINS,
) -> dict[str, dict[str, CalibrationInterval]]:
    """Return intervals of how well confidences serve as P(correct), from resampled pieces.

    Args:
      confidences: name -> [N] float in [0, 1].
      correct: [N] bool, or float grades in [0, 1].
      group: [N] int, equal for units that are drawn together; None where each unit is a piece of its own.
      num_resamples: 1 or greater.
      level: of the intervals, in (0, 1).
      seed: of the resamples, the same for all names.
      num_bins: of the ECE.

    Returns:
      name -> {'ece', 'brier', 'nll'} -> interval; NLL is left out where it is infinite. The ECE has the basic interval,
      with 0 inside where pieces of a calibrated confidence would often look as bad; the others Student's t with as many
      degrees of freedom as there are pieces, less one.

    Raises:
      UserError: there are fewer than two pieces.

    Reference: Davison & Hinkley, Bootstrap Methods and their Application, 1997, sections 3.8 (clusters) and 5.2.1.
    """
    grade = np.asarray(correct, np.float64)
    if not ((grade >= 0) & (grade <= 1)).all():
        raise UserError('correct holds values outside [0, 1]; give truth values, or grades from 0 to 1')
    piece = np.arange(len(grade)) if group is None else np.unique(group, return_inverse=True)[1].reshape(-1)
    num_pieces = int(piece.max(initial=-1)) + 1
    if num_pieces < 2:
        raise UserError(f'there is {num_pieces} group to resample; intervals need 2 or more')
    columns = {name: _columns(np.asarray(values, np.float64), grade, num_bins) for name, values in confidences.items()}
    size = np.bincount(piece, minlength=num_pieces).astype(np.float64)
    sums = {
        name: np.stack([np.bincount(piece, column, num_pieces) for column in stacked], axis=1)
        for name, stacked in columns.items()
    }
    found: dict[str, list[np.ndarray]] = {name: [] for name in confidences}
    for first, drawn in drawn_pieces(num_pieces, num_resamples, seed):
        kept = drawn if first == 0 else drawn[:, 1:]
        for name, of_piece in sums.items():
            found[name].append((kept.T @ of_piece) / (kept.T @ size)[:, None])
    return {name: _ends(np.concatenate(means), num_bins, num_pieces, level) for name, means in found.items()}


def _columns(confidence: np.ndarray, grade: np.ndarray, num_bins: int) -> list[np.ndarray]:
    """Return what is summed over units: the gap in each bin, the squared error, and the cross-entropy where finite."""
    bin_of = np.searchsorted(np.arange(1, num_bins) / num_bins, confidence, side='left')
    gap = confidence - grade
    columns = [np.where(bin_of == k, gap, 0.0) for k in range(num_bins)] + [gap**2]
    with np.errstate(divide='ignore', invalid='ignore'):
        nll = -np.where(grade > 0, grade * np.log(confidence), 0.0)
        nll -= np.where(grade < 1, (1 - grade) * np.log1p(-confidence), 0.0)
    return columns + ([nll] if np.isfinite(nll).all() else [])


def _ends(means: np.ndarray, num_bins: int, num_pieces: int, level: float) -> dict[str, CalibrationInterval]:
    """Return the intervals of means [1 + R, columns], of which the first row is the data."""
    data, drawn = means[0], means[1:]
    value = float(np.abs(data[:num_bins]).sum())
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = 2 * value - np.quantile(np.abs(drawn[:, :num_bins]).sum(axis=1), tails[::-1])
    of_calibrated = np.abs(drawn[:, :num_bins] - data[:num_bins]).sum(axis=1)
    if value <= np.quantile(of_calibrated, level):
        low, high = 0.0, max(high, value)
    found = {'ece': CalibrationInterval(float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1)), 'basic')}
    width = float(stdtrit(num_pieces - 1, tails[1])) * np.sqrt(num_pieces / (num_pieces - 1))
    for number, name in enumerate(('brier', 'nll'), start=num_bins):
        if number < len(data):
            half = width * float(drawn[:, number].std())
            low, high = max(float(data[number]) - half, 0.0), float(data[number]) + half
            found[name] = CalibrationInterval(low, min(high, 1.0) if name == 'brier' else high, 't')
    return found
