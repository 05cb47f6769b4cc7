"""Which training units stay when there are more than a bank of features may hold: stated, and drawn with a key."""

import jax
import numpy as np

from failpred_jax.types import Array

# MNIST, CIFAR and SVHN stay whole; the pixels of a segmentation do not.
MAX_POINTS = 100_000


def keep_uniform(num_points: int, key: Array, max_points: int = MAX_POINTS) -> np.ndarray:
    """Return the ascending indices of `max_points` units drawn uniformly without replacement, or of all if fewer."""
    if num_points <= max_points:
        return np.arange(num_points)
    return np.sort(np.asarray(jax.random.permutation(key, num_points)[:max_points]))


def keep_per_class(labels: Array, key: Array, max_points: int = MAX_POINTS) -> np.ndarray:
    """Return ascending indices of at most `max_points` units, no class keeping more than one common cap.

    Classes below the cap stay whole, since a rare class has no points to spare; the others keep a uniform draw of as
    many units as the cap allows. The cap is the largest that fits.

    Args:
      labels: [N] int32.
      key: PRNG key of the draw.
      max_points: the size to keep to; all units are kept where they fit.
    """
    labels = np.asarray(labels)
    if len(labels) <= max_points:
        return np.arange(len(labels))
    shuffled = np.asarray(jax.random.permutation(key, len(labels)))
    # Each class in the order of the draw, from one sort: looking for each class anew would take as many passes.
    ranked = shuffled[np.argsort(labels[shuffled], kind='stable')]
    _, sizes = np.unique(labels, return_counts=True)
    by_class = np.split(ranked, np.cumsum(sizes)[:-1])
    cap = _common_cap(sorted(len(members) for members in by_class), max_points)
    return np.sort(np.concatenate([members[:cap] for members in by_class]))


def describe(num_kept: int, num_points: int) -> tuple[str, ...]:
    """Return the note for the reader of the table, if anything was left out."""
    if num_kept == num_points:
        return ()
    return (f'reads {num_kept} of {num_points} training units, drawn with the seed of the run',)


def _common_cap(sizes: list[int], budget: int) -> int:
    """Return the largest cap for which the sum of min(size, cap) keeps within the budget; `sizes` ascend."""
    for i, size in enumerate(sizes):
        share = budget // (len(sizes) - i)
        if size > share:
            return max(share, 1)
        budget -= size
    return sizes[-1]
