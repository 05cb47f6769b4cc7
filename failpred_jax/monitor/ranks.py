"""Conformal p-values of confidences among all that came before, and bets against their being uniform.

Each unit is ranked among the reference units and all units of the stream so far. If they are exchangeable these ranks
are uniform and independent of one another, exactly, however few reference units there are. (Ranks among a fixed
reference are not: against 500 units, 7 % of clean streams pass 100 in place of 1 %.) To keep the state from growing,
confidences are counted in cells; the edges of the cells come from reference units that are then no part of the ranking.

Reference: Vovk, Gammerman & Shafer, "Algorithmic learning in a random world", 2005, chapter 7 (conformal martingales);
  Vovk, "Testing randomness online", Statistical Science 2021.
"""

import numpy as np

MOST_CELLS = 200
# The part of the reference that places the edges.
_PLACING = 0.2
_SLICE = 512
_SMALLEST = 1e-12
# Linear bets on lower (positive) and higher confidences, and powers that wait for extreme ones.
LINEAR = np.array([-0.9, -0.5, -0.25, 0.25, 0.5, 0.9])
POWERS = np.array([0.5, 0.75])
NUM_BETS = len(LINEAR) + 2 * len(POWERS)


def split_reference(confidence: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (edges [B - 1] of the cells, counts [B] int64 of the reference units that did not place them).

    Args:
      confidence: [N] of the reference units, in any real type.
      seed: of the draw of those that place the edges.
    """
    order = np.random.default_rng([seed, 12]).permutation(len(confidence))
    num_placing = min(MOST_CELLS, round(_PLACING * len(order)))
    edges = np.unique(confidence[order[:num_placing]])
    counts = np.bincount(cells_of(confidence[order[num_placing:]], edges), minlength=len(edges) + 1)
    return edges, counts.astype(np.int64)


def cells_of(confidence: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the cell of each confidence [n]: [n] int in [0, B)."""
    return np.searchsorted(edges, confidence, side='right')


def rank_p_values(cells: np.ndarray, counts: np.ndarray, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-values [n] of units in their order, and the counts [B] with them added.

    Args:
      cells: [n] int.
      counts: [B] int64, of all that came before.
      uniform: [n] float64 in [0, 1), one draw per unit, that breaks ties.

    Returns:
      Small for confidences that are low among those that came before.
    """
    found = np.empty(len(cells))
    for start in range(0, len(cells), _SLICE):
        own = cells[start : start + _SLICE]
        below = np.concatenate([[0], np.cumsum(counts)])
        before = np.tri(len(own), k=-1, dtype=bool)
        lower = below[own] + (before & (own[None] < own[:, None])).sum(axis=1)
        # A unit is among those of its own cell.
        same = counts[own] + (before & (own[None] == own[:, None])).sum(axis=1) + 1
        total = below[-1] + np.arange(1, len(own) + 1)
        found[start : start + _SLICE] = (lower + (1 - uniform[start : start + _SLICE]) * same) / total
        counts = counts + np.bincount(own, minlength=len(counts))
    return found, counts


def log_bets(p_values: np.ndarray) -> np.ndarray:
    """Return the logarithms of the bets on p-values [n]: [n, K]; each bet has mean 1 if they are uniform."""
    p = np.clip(p_values, _SMALLEST, 1 - _SMALLEST)[:, None]
    linear = np.log1p(LINEAR * (1 - 2 * p))
    low = np.log(POWERS) + (POWERS - 1) * np.log(p)
    high = np.log(POWERS) + (POWERS - 1) * np.log1p(-p)
    return np.concatenate([linear, low, high], axis=1)
