"""Every score as P(correct): calibrated on validation units, measured on the evaluated ones, before and after."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from failpred_jax.calibrate.confidence import Calibrator, fit_all, fit_confidence
from failpred_jax.calibrate.intervals import CalibrationInterval, calibration_intervals
from failpred_jax.errors import UserError
from failpred_jax.metrics import measure_calibration
from failpred_jax.registry import SCORES

BEFORE = 'before'


@dataclass(frozen=True)
class Calibrated:
    """A score as P(correct).

    Attributes:
      figures: 'before' (for a probability alone) and each method -> metric -> value on the evaluated units.
      intervals: the same -> metric -> interval, where resampling was asked for.
      chosen: the map of least cross-entropy on validation units left out of its fit; None without one.
      unavailable: 'before' or a method -> why it is not there.
      notes: sentences for the reader.
    """

    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    intervals: Mapping[str, Mapping[str, CalibrationInterval]] = field(default_factory=dict)
    chosen: Calibrator | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def calibrate_score(
    name: str,
    val_confidence: np.ndarray | None,
    val_correct: np.ndarray | None,
    confidence: np.ndarray,
    correct: np.ndarray,
    num_resamples: int = 0,
    level: float = 0.95,
) -> Calibrated:
    """Return how well a score serves as P(correct), before and after each calibration.

    Args:
      name: of the score; whether it is meant as a probability is looked up, False for a user's own.
      val_confidence: [M] of the validation units, by a fit that has not seen their labels; None without any.
      val_correct: [M] bool.
      confidence: [N] of the evaluated units.
      correct: [N] bool.
      num_resamples: behind the intervals; 0 for none, as for the pixels of a few images.
      level: of the intervals.
    """
    is_probability = name in SCORES and SCORES[name].is_probability
    probabilities, unavailable, notes, chosen = {}, {}, [], None
    if is_probability:
        probabilities[BEFORE] = confidence
    else:
        unavailable[BEFORE] = 'it is not meant as a probability'
    if val_confidence is None or val_correct is None:
        notes.append('not calibrated: there are no validation units')
    else:
        maps, refused = fit_all(val_confidence, val_correct)
        unavailable |= refused
        try:
            chosen = fit_confidence(val_confidence, val_correct, is_probability=is_probability)
            notes += chosen.notes
            probabilities |= {method: fitted(confidence) for method, fitted in maps.items()}
        except UserError as error:
            notes.append(f'not calibrated: {error}')
    figures = {}
    for key in list(probabilities):
        try:
            figures[key] = measure_calibration(probabilities[key], correct)
        except UserError as error:
            unavailable[key] = str(error)
            del probabilities[key]
    found = calibration_intervals(probabilities, correct, num_resamples, level) if num_resamples else {}
    return Calibrated(figures, found, chosen, unavailable, tuple(notes))
