"""How strange each class would be as the label of a unit: what conformal sets are cut off by.

All are computed in float64, over units in blocks, so that neither many classes nor many units take much memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from failpred_jax.types import Array

# Probabilities held at once, per array: 32 MB.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Constants:
    """What RAPS and SAPS are told; chosen on validation units.

    Attributes:
      penalty: RAPS' lambda, added for each rank over `free_ranks`; 0 or greater.
      free_ranks: RAPS' k_reg, ranks without a penalty.
      weight: SAPS' w, what each rank over the first adds; greater than 0.
    """

    penalty: float = 0.0
    free_ranks: int = 1
    weight: float = 0.1


def draw_uniforms(num_units: int, seed: int, stream: int) -> np.ndarray:
    """Return what randomizes the sets of units: [N] float64 in [0, 1), the same for the same seed and stream."""
    return np.random.default_rng([seed, stream]).random(num_units)


def strangeness(
    method: str, probs: Array, uniforms: np.ndarray, constants: Constants, labels: np.ndarray | None = None
) -> np.ndarray:
    """Return how strange each class is for each unit; higher is stranger.

    Args:
      method: one of METHODS.
      probs: [N, C] float; rows need not sum to 1.
      uniforms: [N] float64 in [0, 1), one for each unit, shared by its classes.
      constants: of RAPS and SAPS.
      labels: [N] int, for the strangeness of these classes alone; None for all.

    Returns:
      [N, C] float64, or [N] with labels.

    Reference: 'lac': Sadinle, Lei & Wasserman, JASA 2019. 'aps': Romano, Sesia & Candès, NeurIPS 2020, eq. 5. 'raps':
      Angelopoulos, Bates, Jordan & Malik, ICLR 2021, eq. 3. 'saps': Huang et al., ICML 2024, eq. 9.
    """
    probs = np.asarray(probs)
    num_units, num_classes = probs.shape
    found = np.empty((num_units, num_classes) if labels is None else num_units)
    step = max(1, _BLOCK // num_classes)
    for start in range(0, num_units, step):
        rows = slice(start, start + step)
        block = METHODS[method](probs[rows].astype(np.float64), uniforms[rows, None], constants)
        found[rows] = block if labels is None else block[np.arange(len(block)), labels[rows]]
    return found


def _lac(probs: np.ndarray, uniforms: np.ndarray, constants: Constants) -> np.ndarray:
    return 1 - probs


def _ranked(probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank of each class from 1, and the sum of the probabilities over it: [n, C] each."""
    order = np.argsort(-probs, axis=1, kind='stable')
    falling = np.take_along_axis(probs, order, axis=1)
    # The sum before a class, not the sum with it less its own: differences would not be the same for equal rows.
    before = np.concatenate([np.zeros((len(probs), 1)), np.cumsum(falling, axis=1)[:, :-1]], axis=1)
    rank, over = np.empty(probs.shape, np.int64), np.empty(probs.shape)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(1, probs.shape[1] + 1), probs.shape), axis=1)
    np.put_along_axis(over, order, before, axis=1)
    return rank, over


def _raps(probs: np.ndarray, uniforms: np.ndarray, constants: Constants) -> np.ndarray:
    rank, over = _ranked(probs)
    return over + uniforms * probs + constants.penalty * np.maximum(0, rank - constants.free_ranks)


def _aps(probs: np.ndarray, uniforms: np.ndarray, constants: Constants) -> np.ndarray:
    return _raps(probs, uniforms, Constants(penalty=0.0))


def _saps(probs: np.ndarray, uniforms: np.ndarray, constants: Constants) -> np.ndarray:
    rank, _ = _ranked(probs)
    largest = probs.max(axis=1, keepdims=True)
    return np.where(rank == 1, uniforms * largest, largest + constants.weight * (rank - 2 + uniforms))


METHODS: Mapping[str, Callable[[np.ndarray, np.ndarray, Constants], np.ndarray]] = {
    'lac': _lac,
    'aps': _aps,
    'raps': _raps,
    'saps': _saps,
}
