"""Fixed-sequence testing: hypotheses in an order that is fixed beforehand, each at the full level, up to the first that
stands.

Since the sequence ends at its first failure, a wrong claim needs the first hypothesis that is true to be rejected,
which happens with probability delta; so nothing is divided among the hypotheses. Bonferroni would divide delta by 50.
"""

from typing import NamedTuple

import numpy as np

from failpred_jax.types import Array

# Sizes of accepted sets that are tried, from the smallest that could pass to everything.
NUM_RANKS = 50


class Tried(NamedTuple):
    """The accepted sets that are tested, in order.

    Attributes:
      threshold: [..., J] of the confidence's type; the last accepts everything, whatever stands there.
      units: [..., J] int64, units over the threshold.
      errors: [..., J] int64, errors among them.
    """

    threshold: np.ndarray
    units: np.ndarray
    errors: np.ndarray


def fixed_ranks(first: int, num_units: int, num_ranks: int = NUM_RANKS) -> np.ndarray:
    """Return sizes of accepted sets, evenly from `first` to all units: [J] int64, rising; empty if `first` is more."""
    if first > num_units:
        return np.empty(0, np.int64)
    return np.unique(np.round(np.linspace(first, num_units, num_ranks)).astype(np.int64))


def tried_at_ranks(confidence: Array, correct: Array, ranks: np.ndarray) -> Tried:
    """Return the sets that the confidences of these ranks cut off.

    The threshold of rank k is the (k + 1)-th highest confidence, and what is accepted lies strictly over it. Given the
    threshold, the units over it are an independent sample of all that it accepts, also where confidences tie: then
    fewer than k are accepted, all of the tied units together or none.

    Args:
      confidence: [..., N] of one real type, without NaN.
      correct: [..., N] bool.
      ranks: [J] int, each from 1 to N, rising.
    """
    confidence, correct = np.asarray(confidence), np.asarray(correct)
    num_units = confidence.shape[-1]
    # Ascending and turned round: an integer's negative may not exist.
    order = np.argsort(confidence, axis=-1)[..., ::-1]
    falling = np.take_along_axis(confidence, order, axis=-1)
    num_wrong = np.cumsum(~np.take_along_axis(correct, order, axis=-1), axis=-1, dtype=np.int64)
    # Where the run of equal confidences begins that a place belongs to: the units over it.
    begins = np.concatenate([np.ones((*falling.shape[:-1], 1), bool), falling[..., 1:] != falling[..., :-1]], axis=-1)
    over = np.maximum.accumulate(np.where(begins, np.arange(num_units), 0), axis=-1)
    over = np.concatenate([over, np.full((*over.shape[:-1], 1), num_units)], axis=-1)
    wrong = np.concatenate([np.zeros((*num_wrong.shape[:-1], 1), np.int64), num_wrong], axis=-1)
    units = over[..., ranks]
    threshold = falling[..., np.minimum(ranks, num_units - 1)]
    return Tried(threshold, units, np.take_along_axis(wrong, units, axis=-1))


def last_passed(passes: np.ndarray, is_tested: np.ndarray) -> np.ndarray:
    """Return the last hypothesis rejected before the first that stands: [...] int, -1 where there is none.

    Args:
      passes: [..., J] bool, whether each would be rejected at the level of the sequence.
      is_tested: [..., J] bool; the others are left out of the sequence. May depend on confidences, never on errors.
    """
    goes_on = np.logical_and.accumulate(passes | ~is_tested, axis=-1)
    places = np.arange(passes.shape[-1])
    return np.max(np.where(goes_on & is_tested, places, -1), axis=-1, initial=-1)


def start_places(num_hypotheses: int, num_starts: int) -> list[int]:
    """Return where each of several sequences over the same hypotheses begins, spread evenly."""
    return sorted({num_hypotheses * number // num_starts for number in range(num_starts)})
