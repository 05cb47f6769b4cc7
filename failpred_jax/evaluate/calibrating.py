"""Every score as P(correct): calibrated on validation units, measured on the evaluated ones, before and after."""

import math
from collections.abc import Mapping

import numpy as np

from failpred_jax.calibrate.confidence import Calibrator, fit_all, fit_confidence, is_probability
from failpred_jax.calibrate.intervals import calibration_intervals
from failpred_jax.calibrate.piece_intervals import calibration_intervals_of_pieces
from failpred_jax.errors import UserError
from failpred_jax.evaluate.resampling import group_of
from failpred_jax.metrics import is_graded, measure_calibration
from failpred_jax.registry import METRICS, SCORES
from failpred_jax.results import CalibratedScore, Interval, Predictions

BEFORE = 'before'


def calibrate_scores(
    validation: Predictions | None,
    test: Predictions,
    num_resamples: int = 0,
    level: float = 0.95,
    kept: dict[str, Calibrator] | None = None,
) -> dict[str, CalibratedScore]:
    """Return how well each score serves as P(correct), before and after each calibration.

    Args:
      validation: held-out units, whose confidences come from fits that have not seen their labels; None without any.
      test: the evaluated units, or a sample of them. Scores that read the label are left out.
      num_resamples: behind the intervals; 0 for none, as for the pixels of a few images.
      level: of the intervals.
      kept: the map that was chosen for each score is put here.
    """
    found, probabilities = {}, {}
    chosen = {} if kept is None else kept
    for name, confidence in test.confidences.items():
        if name in SCORES and SCORES[name].reads_label:
            continue
        found[name], of_score = _calibrate(name, validation, confidence, test.correct, chosen)
        probabilities |= {f'{name} {key}': value for key, value in of_score.items()}
    if not num_resamples or not probabilities:
        return found
    group = group_of(test.about)
    if group is not None or is_graded(test.correct):
        if group is not None and group.max() == 0:
            return found
        intervals = calibration_intervals_of_pieces(probabilities, test.correct, group, num_resamples, level)
    else:
        intervals = calibration_intervals(probabilities, test.correct, num_resamples, level)
    return {name: _with_intervals(name, score, intervals) for name, score in found.items()}


def _calibrate(
    name: str,
    validation: Predictions | None,
    confidence: np.ndarray,
    correct: np.ndarray,
    kept: dict[str, Calibrator],
) -> tuple[CalibratedScore, dict[str, np.ndarray]]:
    """Return a score as P(correct) without intervals, and its probabilities under each of the keys of `figures`."""
    is_meant = is_probability(name, confidence)
    probabilities: dict[str, np.ndarray] = {}
    unavailable: dict[str, str] = {}
    notes, chosen = (), ''
    if is_meant:
        probabilities[BEFORE] = confidence
    else:
        unavailable[BEFORE] = 'it is not meant as a probability'
    if validation is None or name not in validation.confidences:
        notes = ('not calibrated: there are no validation units with this score',)
    else:
        given = validation.confidences[name], validation.correct
        maps, refused = fit_all(*given)
        unavailable |= refused
        try:
            # As `decide` has it: one map of one score.
            best = fit_confidence(*given, is_probability=is_probability(name, given[0], confidence))
            kept[name] = best
            chosen, notes = best.method, best.notes
            probabilities |= {method: fitted(confidence) for method, fitted in maps.items()}
        except UserError as error:
            notes = (f'not calibrated: {error}',)
    figures = {}
    for key, values in list(probabilities.items()):
        try:
            measured = measure_calibration(values, correct)
        except UserError as error:
            unavailable[key] = str(error)
            del probabilities[key]
            continue
        figures[key] = {metric: value for metric, value in measured.items() if math.isfinite(value)}
        unavailable |= {
            f'{key}.{metric}': METRICS[metric].reason(value)
            for metric, value in measured.items()
            if metric not in figures[key]
        }
    return CalibratedScore(figures, {}, chosen, unavailable, notes), probabilities


def _with_intervals(name: str, score: CalibratedScore, intervals: Mapping[str, Mapping]) -> CalibratedScore:
    of_score = {
        key: {metric: Interval(ends.low, ends.high) for metric, ends in intervals[f'{name} {key}'].items()}
        for key in score.figures
    }
    return CalibratedScore(score.figures, of_score, score.chosen, score.unavailable, score.notes)
