"""Batches without near-duplicates: of units that are almost the same, one label says it all."""

from collections.abc import Callable

import numpy as np

from failpred_jax.console import phase

# Units nearer than this share of the typical distance between two units are near-duplicates.
NEAR = 0.05
# So many candidates are looked at for each unit of the budget before near-duplicates are taken after all.
MOST_CANDIDATES = 20
_PAIRS = 2_000


def near_distance(features: np.ndarray) -> float:
    """Return the distance under which two of the units [N, D] are near-duplicates: a share of the median of pairs."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, len(features), (2, _PAIRS))
    pairs = features[first].astype(np.float64) - features[second]
    return NEAR * float(np.median(np.linalg.norm(pairs, axis=1)))


def first_of_each(
    order: Callable[[int], np.ndarray], budget: int, features: np.ndarray | None, exact: np.ndarray | None
) -> tuple[np.ndarray, int]:
    """Return the first units in an order that are no near-duplicates of one another, and how many were passed over.

    Args:
      order: M -> the first M places, the best first.
      budget: how many to return.
      features: [N, D], by whose distance units are near; None where there are none.
      exact: [N, ...], whose equal rows are duplicates, where there are no features; None where nothing tells.

    Returns:
      [budget] int64, in order. Where the candidates (20 for each that is wanted) do not hold so many, near-duplicates
      fill up the rest.
    """
    candidates = order(MOST_CANDIDATES * budget)
    rows = features if features is not None else exact
    if rows is None:
        return candidates[:budget], 0
    near = near_distance(rows) if features is not None else 0.0
    taken, passed = _walk(rows[candidates].reshape(len(candidates), -1), budget, near)
    fill = passed[: max(0, budget - len(taken))]
    return candidates[np.concatenate([taken, fill])], len(passed) - len(fill)


def _walk(rows: np.ndarray, budget: int, near: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of rows [M, D] that are taken, [budget] or fewer, and of those that were passed over."""
    if near == 0.0:
        _, first = np.unique(rows, axis=0, return_index=True)
        taken = np.sort(first)[:budget]
        last = taken[-1] if len(taken) == budget else len(rows) - 1
        return taken, np.setdiff1d(np.arange(last + 1), taken)
    wide = rows.astype(np.float32)
    norms = np.einsum('ij,ij->i', wide, wide)
    # Where the norms are large, the difference of near rows drowns in rounding: look again at those in float64.
    is_free, taken, passed = np.ones(len(rows), bool), [], []
    with phase('leaving out near-duplicates', budget, 'units') as done:
        for place in range(len(rows)):
            if not is_free[place]:
                passed.append(place)
                continue
            taken.append(place)
            done.add()
            if len(taken) == budget:
                break
            squared = norms[place:] + norms[place] - 2 * (wide[place:] @ wide[place])
            close = place + np.flatnonzero(squared <= near**2 + 1e-5 * (norms[place:] + norms[place]))
            exact = np.linalg.norm(rows[close].astype(np.float64) - rows[place], axis=1) <= near
            is_free[close[exact]] = False
    return np.array(taken, np.int64), np.array(passed, np.int64)
