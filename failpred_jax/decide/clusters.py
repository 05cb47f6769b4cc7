"""Classes that behave alike, for sets that keep their promise in each cluster of classes."""

import math

import numpy as np

# Where the strangeness of a class is described.
QUANTILES = (0.5, 0.6, 0.7, 0.8, 0.9)
NUM_RESTARTS = 10
NUM_ROUNDS = 50


def cluster_classes(strange: np.ndarray, labels: np.ndarray, num_classes: int, alpha: float, seed: int) -> np.ndarray:
    """Return the cluster of each class by the quantiles of how strange its units are.

    Args:
      strange: [N] float64, of the true labels of validation units.
      labels: [N] int in [0, C).
      num_classes: C.
      alpha: the share of units whose set may miss the true class.
      seed: of the clusters' starts.

    Returns:
      [C] int, -1 for classes with too few units to be described.

    Reference: Ding et al., "Class-conditional conformal prediction with many classes", NeurIPS 2023, section 2.2.
    """
    levels = np.array(sorted({*QUANTILES, 1 - alpha}))
    fewest = math.ceil(1 / min(alpha, 0.1) - 1e-9) - 1
    count = np.bincount(labels, minlength=num_classes)
    is_known = count >= fewest
    clusters = np.full(num_classes, -1)
    # So many units should be in a cluster that its limit is no noise.
    num_clusters = min(int(is_known.sum()) // 2, int(count[is_known].sum()) // (5 * fewest))
    if num_clusters < 2:
        return clusters
    points = np.stack([np.quantile(strange[labels == c], levels) for c in np.flatnonzero(is_known)])
    clusters[is_known] = _k_means(points, np.sqrt(count[is_known]), num_clusters, np.random.default_rng(seed))
    return clusters


def _k_means(points: np.ndarray, weights: np.ndarray, num_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Return the cluster of each of points [M, D] with the least weighted squared distance of several restarts: [M]."""
    best, least = np.zeros(len(points), np.int64), math.inf
    for _ in range(NUM_RESTARTS):
        centers = points[rng.choice(len(points), num_clusters, replace=False)]
        of, distance = _nearest(points, centers)
        for _ in range(NUM_ROUNDS):
            total = np.bincount(of, weights, num_clusters)
            sums = np.stack([np.bincount(of, weights * column, num_clusters) for column in points.T], axis=1)
            moved = np.where(total[:, None] > 0, sums / np.maximum(total, 1e-300)[:, None], centers)
            if np.array_equal(moved, centers):
                break
            centers = moved
            of, distance = _nearest(points, centers)
        cost = float((weights * distance.min(axis=1)).sum())
        if cost < least:
            best, least = of, cost
    return best


def _nearest(points: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest of the centers to each point, and the squared distances to all: [M], [M, K]."""
    distance = ((points[:, None] - centers) ** 2).sum(axis=2)
    return distance.argmin(axis=1), distance
