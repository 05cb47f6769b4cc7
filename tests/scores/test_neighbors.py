"""The blocked nearest-neighbor search against loops and scikit-learn."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from failpred_jax.scores.neighbors import CHUNK, SPARE, make_banks, nearest_distances, nearest_in_each, own_radii


def brute(queries, points, k):
    return np.sort(cdist(queries.astype(np.float64), points.astype(np.float64)), axis=1)[:, :k]


@pytest.mark.parametrize('num_points', [3, 200, 4 * CHUNK * (SPARE + 5)])
@pytest.mark.parametrize('k', [1, 5])
def test_equals_brute_force(num_points, k, rng):
    points = rng.normal(size=(num_points, 7)).astype(np.float32)
    queries = rng.normal(size=(33, 7)).astype(np.float32)
    found = np.asarray(nearest_distances(queries, points, num_points, k))
    assert found.shape == (33, k)
    expected = brute(queries, points, k)
    np.testing.assert_allclose(found[:, : expected.shape[1]], expected, rtol=2e-6)
    assert np.isinf(found[:, expected.shape[1] :]).all()


def test_many_blocks_of_queries(rng, monkeypatch):
    monkeypatch.setattr('failpred_jax.scores.neighbors.BLOCK_ENTRIES', 1)
    monkeypatch.setattr('failpred_jax.scores.neighbors.MIN_BLOCK_ROWS', 4)
    points, queries = rng.normal(size=(61, 5)).astype(np.float32), rng.normal(size=(30, 5)).astype(np.float32)
    np.testing.assert_allclose(nearest_distances(queries, points, 61, 3), brute(queries, points, 3), rtol=2e-6)


def test_is_exact_where_the_matrix_product_is_not(rng):
    """Neighbors 1e-3 away, features of size 1,000: the expanded square is wrong in every digit."""
    points = (1000 + rng.normal(size=(300, 16))).astype(np.float32)
    queries = points[:100] + rng.normal(size=(100, 16)).astype(np.float32) * 1e-3
    found = np.asarray(nearest_distances(queries, points, 300, 1))
    np.testing.assert_allclose(found, brute(queries, points, 1), rtol=2e-6)
    naive = np.maximum((queries**2).sum(1)[:, None] + (points**2).sum(1)[None] - 2 * queries @ points.T, 0)
    assert np.abs(np.sqrt(naive.min(axis=1, keepdims=True)) / found - 1).max() > 1


def test_a_point_finds_itself_at_zero_and_its_duplicates(rng):
    points = np.repeat(rng.normal(size=(40, 6)).astype(np.float32), 30, axis=0)
    found = np.asarray(nearest_distances(points[::30], points, len(points), 31))
    assert np.all(found[:, :30] == 0)
    assert np.all(found[:, 30] > 0)


def test_padding_is_never_found(rng):
    points = np.zeros((50, 4), np.float32)
    points[:7] = 5 + rng.normal(size=(7, 4))
    queries = np.zeros((3, 4), np.float32)
    found = np.asarray(nearest_distances(queries, points, 7, 9))
    np.testing.assert_allclose(found[:, :7], brute(queries, points[:7], 7), rtol=2e-6)
    assert np.isinf(found[:, 7:]).all()


def test_sets_of_all_sizes_keep_their_numbers(rng):
    sizes = [5, 0, 700, 64, 6, 1, 650]
    sets = [rng.normal(size=(size, 3)).astype(np.float32) for size in sizes]
    queries = rng.normal(size=(20, 3)).astype(np.float32)
    banks = make_banks(sets)
    assert len(banks) < sum(size > 0 for size in sizes)
    for nth in (1, 2):
        found = np.asarray(nearest_in_each(queries, banks, len(sets), nth))
        for i, points in enumerate(sets):
            expected = brute(queries, points, nth)[:, nth - 1] if len(points) >= nth else np.full(20, np.inf)
            np.testing.assert_allclose(found[:, i], expected, rtol=2e-6)


def test_own_radii_count_the_point_itself(rng):
    sets = [rng.normal(size=(size, 4)).astype(np.float32) for size in (3, 120, 130)]
    radii = own_radii(make_banks(sets), 10)
    for i, points in enumerate(sets):
        k = min(10, len(points))
        expected = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(points)[0][:, -1]
        np.testing.assert_allclose(radii[i], expected, rtol=2e-6)
