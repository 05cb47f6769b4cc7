"""The accuracy of a window without labels, by four methods, each with an interval.

  calibrated  the mean of P(correct)
  difference  the reference's accuracy, plus the mean P(correct) of the window less that of the reference
  atc         the share of confidences at or over the level under which lie as many of the reference's units as are
  wrong agreement   how often several models of one kind agree with one another

The intervals are for the share of the window's own predictions that are right. They hold where the confidences mean
what they mean on the reference, which no method can see without labels.

Reference: Guillory et al., "Predicting with confidence on unseen distributions", ICCV 2021 (difference of confidences);
  Garg et al., "Leveraging unlabeled data to predict out-of-distribution performance", ICLR 2022 (ATC);
  Jiang et al., "Assessing generalization of SGD via disagreement", ICLR 2022 (agreement).
"""

import math
from typing import NamedTuple

import numpy as np

from failpred_jax.monitor.reference import Reference

_Z = 1.959963984540054
METHODS = ('calibrated', 'difference', 'atc', 'agreement')
# What is said wherever the numbers are shown.
CAVEATS: tuple[str, ...] = (
    'Where the link between inputs and labels changes and the inputs do not (concept drift), no estimate without '
    'labels '
    'sees it.',
    'ATC matches the accuracy on the reference by construction: that it does so says nothing.',
    'A mean of largest class probabilities cannot fall below 1 / C, however bad the inputs are.',
)


class Estimate(NamedTuple):
    """An accuracy, and its 95 % interval; NaN where it is not known."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


NOT_KNOWN = Estimate()


class Level(NamedTuple):
    """The level of ATC on the reference.

    Attributes:
      threshold: at or over it counts as right.
      share: of the reference units at or over it, which ties may keep from its accuracy.
      variance: of (at or over it) - (right) over the reference units.
    """

    threshold: float | int
    share: float
    variance: float


def atc_level(reference: Reference) -> Level:
    """Return the level under which lie as many reference units as are wrong, or as nearly as ties allow."""
    rising = np.sort(reference.confidence)
    below = np.searchsorted(rising, rising, side='left')
    place = int(np.argmin(np.abs(below - reference.num_errors)))
    over = reference.confidence >= rising[place]
    return Level(rising[place].item(), float(over.mean()), float(np.var(over.astype(float) - reference.correct)))


def by_calibration(p_correct: np.ndarray, reference: Reference) -> tuple[Estimate, Estimate]:
    """Return the estimates 'calibrated' and 'difference' of a window's P(correct) [n]."""
    if reference.p_correct is None or not len(p_correct):
        return NOT_KNOWN, NOT_KNOWN
    mean = float(p_correct.mean())
    residual = reference.correct - reference.p_correct
    # Of the window's own outcomes, and of how far off the map is, which the reference tells with this error.
    own = float(np.mean(p_correct * (1 - p_correct))) / len(p_correct)
    width = _Z * math.sqrt(own + float(residual.var()) / len(reference))
    return _around(mean, width), _around(mean + float(residual.mean()), width)


def by_level(confidence: np.ndarray, level: Level, num_reference: int) -> Estimate:
    """Return the estimate 'atc' of a window's confidences [n]."""
    if not len(confidence):
        return NOT_KNOWN
    value = float(np.mean(confidence >= level.threshold))
    return _around(value, _Z * math.sqrt(level.variance * (1 / len(confidence) + 1 / num_reference)))


def by_agreement(agreement: np.ndarray) -> Estimate:
    """Return the estimate 'agreement' of how often pairs of models agree on each unit: [n] in [0, 1], NaN unknown."""
    agreement = agreement[~np.isnan(agreement)]
    if not len(agreement):
        return NOT_KNOWN
    value = float(agreement.mean())
    # Of which units are in the window, and of their outcomes.
    return _around(value, _Z * math.sqrt((float(agreement.var()) + value * (1 - value)) / len(agreement)))


def pairwise_agreement(predicted: np.ndarray) -> np.ndarray:
    """Return the share of pairs of models that predict the same, of [n, T] classes of T >= 2 models: [n] float64."""
    num_models = predicted.shape[1]
    same = sum((predicted[:, i] == predicted[:, j]).astype(float) for i in range(num_models) for j in range(i))
    return np.asarray(same, np.float64) / (num_models * (num_models - 1) / 2)


def _around(value: float, width: float) -> Estimate:
    value = min(1.0, max(0.0, value))
    return Estimate(value, max(0.0, value - width), min(1.0, value + width))
