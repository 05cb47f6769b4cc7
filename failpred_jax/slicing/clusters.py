"""Clusters of features: units that are alike to the network, or to whatever the features are of."""

from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from failpred_jax.console import phase

# Clusters have about so many units, and there are as many as this.
UNITS_PER_CLUSTER, FEWEST, MOST = 150, 5, 50
# More than this is fitted on a part of the units, and in fewer dimensions.
MOST_FITTED, MOST_DIMENSIONS = 20_000, 32


class Clusters(NamedTuple):
    """Clusters.

    Attributes:
      mean: [D], taken off the features.
      axes: [E, D], on which they are projected.
      centers: [K, E].
    """

    mean: np.ndarray
    axes: np.ndarray
    centers: np.ndarray

    def of(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the cluster [N] int of each unit, and its distance [N] float64 to the center."""
        cluster, distance = np.empty(len(features), np.int64), np.empty(len(features))
        own = np.einsum('ke,ke->k', self.centers, self.centers)
        for start in range(0, len(features), 50_000):
            rows = slice(start, start + 50_000)
            low = (features[rows].astype(np.float64) - self.mean) @ self.axes.T
            squared = np.einsum('ne,ne->n', low, low)[:, None] + own[None] - 2 * low @ self.centers.T
            cluster[rows] = squared.argmin(axis=1)
            distance[rows] = np.sqrt(np.maximum(squared.min(axis=1), 0))
        return cluster, distance


def fit_clusters(features: np.ndarray, seed: int) -> Clusters:
    """Return clusters of features [N, D] by k-means, fitted on at most 20,000 of the units in at most 32 dimensions."""
    rng = np.random.default_rng([seed, 0x636C7573])
    rows = np.arange(len(features))
    if len(rows) > MOST_FITTED:
        rows = np.sort(rng.choice(len(rows), MOST_FITTED, replace=False))
    some = features[rows].astype(np.float64)
    mean = some.mean(axis=0)
    axes = np.eye(some.shape[1])
    if some.shape[1] > MOST_DIMENSIONS and len(some) > MOST_DIMENSIONS:
        axes = np.asarray(PCA(MOST_DIMENSIONS, random_state=seed % 2**32).fit(some).components_)
    low = (some - mean) @ axes.T
    count = int(np.clip(len(features) // UNITS_PER_CLUSTER, FEWEST, MOST))
    count = min(count, len(np.unique(low, axis=0)))
    # Its threads wait for one another by spinning, which on a busy machine takes longer than the work.
    with phase('clustering the features'), threadpool_limits(1):
        found = KMeans(count, n_init='auto', random_state=seed % 2**32).fit(low)
    return Clusters(mean, axes, found.cluster_centers_)
