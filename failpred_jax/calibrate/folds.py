"""Folds for cross-fitting: what is fitted on some units is judged, or stacked, on others."""

import numpy as np

from failpred_jax.metrics.checking import checked


@checked
def draw_folds(correct: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Return the fold of each unit, errors and successes spread evenly over the folds.

    Args:
      correct: [N] bool.
      num_folds: 2 or greater.
      seed: of the draw.

    Returns:
      [N] int in [0, num_folds). With fewer units than folds some folds are empty.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(correct))
    # Errors first: they are dealt out before the successes, one to each fold in turn.
    order = order[np.argsort(correct[order], kind='stable')]
    folds = np.empty(len(correct), int)
    folds[order] = np.arange(len(correct)) % num_folds
    return folds
