"""What counting the test units leaves, however they were counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from failpred_jax.metrics import Resamples
from failpred_jax.results import ClassifierResult, Predictions, ScoreCurves, ScoreResult

# One for every evaluation, so that the same predictions have the same intervals wherever they are measured.
RESAMPLES_SEED = 0


@dataclass(frozen=True)
class Tally:
    """Figures of one set of units, before roles, intervals and comparisons.

    Attributes:
      classifier: the classifier itself.
      scores: score -> its metrics, calibration, and limits where units were counted at levels.
      unavailable: score -> why.
      kept: the units, or a sample of them.
      resamples: of every score, or None where intervals are not asked for or would mislead.
      undefined: metric -> why it was not measured.
      curves: score -> curves over all units, where `kept` is a sample.
      maps: segmentation: maps of a few images.
      notes: sentences on what the figures are worth.
    """

    classifier: ClassifierResult
    scores: Mapping[str, ScoreResult]
    unavailable: Mapping[str, str]
    kept: Predictions
    resamples: Resamples | None = None
    undefined: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, ScoreCurves] = field(default_factory=dict)
    maps: Mapping[str, np.ndarray] | None = None
    notes: tuple[str, ...] = ()
