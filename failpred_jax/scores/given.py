"""Class probabilities that somebody gave, as they are: units of equal probabilities have equal confidences.

Trees' votes, shares of neighbors and rounded numbers tie often. A float32 logarithm and its exponential, or a softmax,
tell tied units apart by rounding, and order them by nothing. Here everything is computed in float64 from the numbers
that were given, with the losing classes in falling order, so that neither their order nor their sum's rounding counts.
"""

from typing import NamedTuple

import numpy as np

from failpred_jax.scores.score import ScoreInputs
from failpred_jax.types import Array

# A winner up to here says 1 - p to four digits, however the others were rounded; beyond, these say it.
_SURE = 1 - 2.0**-14
# Half the distance of float32 below 1: what 1 - p may lie off once p is rounded.
_HALF_STEP = 2.0**-25
# Below this float32 loses digits; the logarithms have them.
_TINY = 1e-37
_DECIMALS = 6


class Given(NamedTuple):
    """Probabilities seen from the winning class.

    Attributes:
      top: [...] float64, the largest probability.
      rest: [...] float64 over 0, its difference from 1; where that is rounded away, the sum of the others within what
        the rounding leaves open. It falls wherever `top` rises.
      losing: [..., C - 1] float64, the others in falling order.
    """

    top: np.ndarray
    rest: np.ndarray
    losing: np.ndarray


def top_of(probabilities: Array) -> np.ndarray:
    """Return the largest of the probabilities [..., C]: [...] float32."""
    return np.max(np.asarray(probabilities, np.float32), axis=-1)


def split_given(inputs: ScoreInputs) -> Given | None:
    """Return the probabilities [..., C] that were given, from their winner; None where they follow from logits."""
    if inputs.probabilities is None:
        return None
    # C-ordered, so that the sum of a row does not depend on where the row stands.
    rising = np.sort(np.ascontiguousarray(inputs.probabilities, np.float32), axis=-1)
    written = _as_written(rising)
    top, losing = written[..., -1], np.ascontiguousarray(written[..., -2::-1])
    rest = 1 - top
    tiny = (losing < _TINY).any(axis=-1)
    if tiny.any():
        logs = np.sort(np.asarray(inputs.logits)[tiny], axis=-1)[..., -2::-1].astype(np.float64)
        losing[tiny] = np.where(losing[tiny] < _TINY, np.exp(logs), losing[tiny])
    sure = top > _SURE
    if sure.any():
        others, low = losing[sure].sum(axis=-1), rest[sure] - _HALF_STEP
        rest[sure] = np.clip(others, np.maximum(low, np.nextafter(0, 1)), rest[sure] + _HALF_STEP)
    # Of two classes the other is the rest: two roundings would turn the order around.
    return Given(top, rest, rest[..., None] if losing.shape[-1] == 1 else losing)


def _as_written(values: np.ndarray) -> np.ndarray:
    """Return float32 values as float64: as the number of up to six decimals that was rounded to each, if one was.

    The lead of 0.6 over 0.4 is that of 0.5 over 0.3, which their float32 neighbors do not say. No value moves by more
    than its own rounding, so the order stays.
    """
    wide = values.astype(np.float64)
    decimal = np.round(wide, _DECIMALS)
    return np.where(decimal.astype(np.float32) == values, decimal, wide)


def as_float32(values: np.ndarray) -> np.ndarray:
    """Return float64 values as float32, which keeps their order; 0 has no sign."""
    return (values + 0.0).astype(np.float32)
