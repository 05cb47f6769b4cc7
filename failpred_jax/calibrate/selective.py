"""Thresholds on a confidence: accept where `confidence > threshold`, hand the rest to somebody else."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from failpred_jax.calibrate.checks import between_0_and_1, check_values, confidence_units, real_array
from failpred_jax.errors import UserError
from failpred_jax.metrics.checking import checked
from failpred_jax.types import Array

# Coverages that are tried for a target risk: 1/50, 2/50, ..., 1.
NUM_TRIED = 50


@dataclass(frozen=True)
class SelectiveThreshold:
    """A threshold, and what is known of it.

    Attributes:
      threshold: accept where confidence > threshold; inf accepts nothing, -inf everything.
      coverage: fraction of the held-out units accepted, in [0, 1].
      risk: errors among them, as a fraction; NaN where none is accepted.
      risk_bound: the risk of new units is at most this with probability 1 - delta; NaN where none is accepted.
    """

    threshold: float
    coverage: float
    risk: float
    risk_bound: float


@checked
def threshold_at_coverage(confidence: Array, coverage: float) -> float:
    """Return the largest threshold that accepts at least a fraction `coverage` of the units.

    Args:
      confidence: [N] of any real type, N over 0; float64 is not rounded.
      coverage: in (0, 1].

    Returns:
      A threshold, to be used as `confidence > threshold`; compare in float32 what is less precise than that. Tied units
      are accepted together.

    Raises:
      UserError: coverage is not within (0, 1], or the confidence is empty or holds NaN.
    """
    if not 0 < coverage <= 1:
        raise UserError(f'coverage is {coverage}; it must be over 0 and at most 1')
    confidence = real_array(confidence, 'confidence').reshape(-1)
    check_values(confidence, 'confidence', is_finite=False)
    num_accepted = min(len(confidence), max(1, math.ceil(coverage * len(confidence) - 1e-9)))
    last_accepted = np.sort(confidence)[len(confidence) - num_accepted]
    kind = np.float32 if confidence.dtype == np.float32 else np.float64
    return float(np.nextafter(kind(last_accepted), kind(-np.inf)))


def risk_upper_bound(num_errors: int, num_units: int, delta: float) -> float:
    """Return the Clopper-Pearson bound: the true error rate is at most this with probability at least 1 - delta.

    It is the b at which num_errors errors or fewer among num_units would have probability delta.

    Reference: Geifman & El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017, lemma 3.1;
      Clopper & Pearson, Biometrika 1934.
    """
    if num_errors >= num_units:
        return 1.0
    return float(betaincinv(num_errors + 1, num_units - num_errors, 1 - delta))


@checked
def threshold_at_risk(confidence: Array, correct: Array, target_risk: float, delta: float = 0.05) -> SelectiveThreshold:
    """Return the threshold of largest coverage whose risk on new units is guaranteed.

    The guarantee: over the draw of the held-out units, with probability at least 1 - delta, the error rate of new units
    that are accepted is at most target_risk. It holds for independent units (images, not the pixels of one) that come
    from the same distribution, and a confidence that was not fitted on these units.

    Why it holds: a threshold that is the held-out confidence of a given rank leaves units above it that are an
    independent sample of what it accepts, so their errors are binomial. The bound is taken at NUM_TRIED ranks that are
    fixed beforehand, each at delta / NUM_TRIED. (The paper searches by bisection instead, which lets the outcome of one
    test choose the next, and shares delta among the tests made.)

    Args:
      confidence: [N] of any real type, of held-out units; float64 is not rounded.
      correct: [N] bool (or 0 and 1).
      target_risk: in (0, 1).
      delta: in (0, 1).

    Returns:
      The threshold; one that accepts nothing if no coverage can be guaranteed.

    Raises:
      UserError: target_risk or delta is not within (0, 1), there are no units, shapes differ, `correct` holds anything
        but 0 and 1, or the confidence holds NaN.

    Reference: Geifman & El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017, algorithm 1 (SGR)
      and lemma 3.1.
    """
    between_0_and_1(target_risk=target_risk, delta=delta)
    confidence, correct = confidence_units(confidence, correct, is_finite=False)
    num_units = len(confidence)
    ascending = np.sort(confidence)
    for tried in range(NUM_TRIED, 0, -1):
        num_left_out = num_units - round(num_units * tried / NUM_TRIED)
        threshold = float(ascending[num_left_out - 1]) if num_left_out else -math.inf
        is_accepted = confidence > threshold
        num_accepted, num_errors = int(is_accepted.sum()), int((is_accepted & ~correct).sum())
        if not num_accepted:
            continue
        bound = risk_upper_bound(num_errors, num_accepted, delta / NUM_TRIED)
        if bound <= target_risk:
            return SelectiveThreshold(threshold, num_accepted / num_units, num_errors / num_accepted, bound)
    return SelectiveThreshold(math.inf, 0.0, math.nan, math.nan)
