"""The density filter of Trust Score: which points of a class lie where the class is dense."""

import math

import numpy as np

from failpred_jax.scores.neighbors import make_banks, own_radii
from failpred_jax.types import Array

# The paper's k, and its "(negative) powers of 2" for alpha (section 5); 0 is no filter.
NUM_NEIGHBORS = 10
ALPHAS = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)


def filter_by_density(
    features: Array, labels: Array, num_classes: int, alphas: tuple[float, ...], k: int = NUM_NEIGHBORS
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return each class's points, densest first, and how many of them each alpha keeps.

    A point's radius is the distance to its k-th nearest point of the class, itself counted. For a given alpha the class
    keeps the points of radius at most epsilon, the smallest for which no more than a fraction alpha lies outside.

    Args:
      features: [N, D] float32.
      labels: [N] int32.
      num_classes: C.
      alphas: fractions in [0, 1).
      k: 1 or greater.

    Returns:
      C arrays [N_c, D], and counts [C, len(alphas)] of int.

    Reference: Jiang et al., "To trust or not to trust a classifier", NeurIPS 2018, algorithm 1.
    """
    features = np.asarray(features, np.float32)
    members, counts = _ranked(features, np.asarray(labels), num_classes, alphas, k)
    return [features[rows] for rows in members], counts


def filter_levels(
    features: Array, labels: Array, num_classes: int, alphas: tuple[float, ...], k: int = NUM_NEIGHBORS
) -> np.ndarray:
    """Return how many of the alphas, which rise, keep each point, less one: [N] int; see `filter_by_density`."""
    features = np.asarray(features, np.float32)
    members, counts = _ranked(features, np.asarray(labels), num_classes, alphas, k)
    levels = np.zeros(len(features), int)
    for rows, kept in zip(members, counts, strict=True):
        # What a larger alpha keeps, every smaller one keeps.
        levels[rows] = (np.arange(len(rows))[:, None] < kept).sum(axis=1) - 1
    return levels


def _ranked(
    features: np.ndarray, labels: np.ndarray, num_classes: int, alphas: tuple[float, ...], k: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the rows of each class, densest first, and how many of them each alpha keeps."""
    order = np.argsort(labels, kind='stable')
    bounds = np.searchsorted(labels[order], np.arange(num_classes + 1))
    members = [order[start:stop] for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]
    counts = np.zeros((num_classes, len(alphas)), int)
    radii = own_radii(make_banks([features[rows] for rows in members]), k) if any(alphas) else {}
    for c, rows in enumerate(members):
        if not len(rows):
            continue
        own = radii.get(c, np.zeros(len(rows)))
        ranks = np.argsort(own, kind='stable')
        members[c], in_order = rows[ranks], own[ranks]
        for i, alpha in enumerate(alphas):
            epsilon = in_order[len(rows) - 1 - math.floor(alpha * len(rows))]
            counts[c, i] = np.searchsorted(in_order, epsilon, side='right')
    return members, counts
