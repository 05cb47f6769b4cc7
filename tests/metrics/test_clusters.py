"""Resampling of whole clusters: what it must equal where it is known, and that clusters matter."""

import numpy as np
import pytest

from failpred_jax.errors import UserError
from failpred_jax.metrics import (
    ClusterCounts,
    bootstrap,
    bootstrap_clusters,
    coarse_edges,
    coarsen,
    compute_streamed,
    failure_metrics,
    init_counts,
    interval_warning,
    intervals,
    levels_from,
    merge_counts,
    update_counts,
)
from failpred_jax.metrics.clusters import cluster_weights


def counted(confidence, correct):
    """Return the ClusterCounts of [G, N] units at each of their distinct confidences, and their metrics."""
    levels = levels_from(confidence)
    each = [update_counts(init_counts(levels), levels, *row) for row in zip(confidence, correct, strict=True)]
    total = each[0]
    for more in each[1:]:
        total = merge_counts(total, more)
    clusters = ClusterCounts(
        *(np.stack([np.asarray(getattr(c, name)) for c in each]) for name in ('correct', 'errors'))
    )
    return clusters, compute_streamed(total).values, total


def test_clusters_of_one_unit_are_the_plain_bootstrap(rng):
    confidence = rng.integers(0, 40, (120, 1)).astype(np.float32) / 40
    correct = rng.random((120, 1)) < confidence
    clusters, values, _ = counted(confidence, correct)
    drawn = bootstrap_clusters({'a': clusters}, {'a': values}, num_resamples=400)
    plain = bootstrap({'a': confidence.ravel()}, correct.ravel(), num_resamples=400, num_places=0)
    for metric in ('auroc', 'aurc', 'aupr_error'):
        m, p = drawn.metrics.index(metric), plain.metrics.index(metric)
        assert drawn.values[m, 0] == pytest.approx(plain.values[p, 0], abs=1e-6)
        # The same distribution, from other random numbers.
        for quantile in (0.1, 0.5, 0.9):
            found, expected = (np.quantile(x, quantile) for x in (drawn.samples[m, 0], plain.samples[p, 0]))
            assert found == pytest.approx(expected, abs=0.35 * float(plain.samples[p, 0].std())), (metric, quantile)


def test_units_that_err_together_have_wider_intervals(rng):
    good = rng.random(12) < 0.5
    confidence = rng.random((12, 200)).astype(np.float32)
    correct = rng.random((12, 200)) < np.where(good[:, None], 0.5 + confidence / 2, 0.5)
    clusters, values, _ = counted(confidence, correct)
    low, high = intervals(bootstrap_clusters({'a': clusters}, {'a': values}, num_resamples=300))['a']['auroc']
    single = intervals(bootstrap({'a': confidence}, correct, num_resamples=300))['a']['auroc']
    assert high - low > 1.3 * (single[1] - single[0])


def test_a_resample_that_draws_all_once_is_the_data(rng, monkeypatch):
    confidence = rng.random((5, 50)).astype(np.float32)
    correct = rng.random((5, 50)) < confidence
    clusters, values, _ = counted(confidence, correct)

    class AllOnce:
        def multinomial(self, count, chances, size):
            return np.ones((size, count), np.int64)

    monkeypatch.setattr(np.random, 'default_rng', lambda seed: AllOnce())
    drawn = bootstrap_clusters({'a': clusters}, {'a': values}, num_resamples=2)
    expected = failure_metrics(confidence, correct)
    for m, metric in enumerate(drawn.metrics):
        if metric in expected:
            assert drawn.samples[m, 0] == pytest.approx(expected[metric], abs=1e-6), metric


def test_coarse_levels_hold_every_unit_and_split_both_units_and_errors(rng):
    confidence = rng.random((4, 2000)).astype(np.float32)
    correct = rng.random((4, 2000)) < confidence
    clusters, _, total = counted(confidence, correct)
    edges = coarse_edges(total, 64)
    assert edges[0] == 0
    assert len(edges) <= 64
    coarse = coarsen(clusters.errors, edges)
    assert np.array_equal(coarse.sum(axis=-1), clusters.errors.sum(axis=-1))
    assert coarse.sum(axis=0).max() <= np.ceil(clusters.errors.sum() / 31) + 1


def test_blocks_draw_neighbors_together():
    weights = cluster_weights(12, 4, 500, seed=0)
    assert weights.shape == (500, 12)
    assert (weights.sum(axis=1) == 12).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(12), abs=0.15)
    # Circular: the last and the first follow each other. Neighbors share 3 of 4 blocks, frames 4 apart none.
    related = np.corrcoef(weights.T)
    assert related[0, 1] == pytest.approx(related[0, 11], abs=0.15)
    assert related[0, 1] > 0.5
    assert related[0, 6] < 0.1
    np.testing.assert_array_equal(cluster_weights(9, 1, 3, 0).sum(axis=1), 9)


def test_neighbors_that_err_together_need_blocks(rng):
    # Eight scenes of ten frames each: the frames of a scene are equally hard.
    hard = np.repeat(rng.random(8), 10)[:, None]
    confidence = rng.random((80, 60)).astype(np.float32)
    correct = rng.random((80, 60)) < 1 - 0.5 * hard * (1 - confidence / 2)
    clusters, values, _ = counted(confidence, correct)
    ends = {}
    for length in (1, 10):
        drawn = bootstrap_clusters({'a': clusters}, {'a': values}, num_resamples=200, block_length=length)
        assert drawn.support == 80 // length
        ends[length] = intervals(drawn)['a']['accuracy']
        assert interval_warning(drawn).startswith('intervals rest on 8 blocks of 10 images') == (length == 10)
    assert ends[10][1] - ends[10][0] > 1.5 * (ends[1][1] - ends[1][0])
    with pytest.raises(UserError, match='80 image to resample in blocks of 50'):
        bootstrap_clusters({'a': clusters}, {'a': values}, block_length=50)


def test_the_same_seed_draws_the_same_images_for_every_score(rng):
    confidence = rng.random((6, 40)).astype(np.float32)
    correct = rng.random((6, 40)) < confidence
    a, values, _ = counted(confidence, correct)
    drawn = bootstrap_clusters({'a': a, 'b': a}, {'a': values, 'b': values}, num_resamples=70)
    assert np.array_equal(drawn.samples[:, 0], drawn.samples[:, 1], equal_nan=True)
    alone = bootstrap_clusters({'b': a}, {'b': values}, num_resamples=70)
    assert np.array_equal(drawn.samples[:, 1], alone.samples[:, 0], equal_nan=True)


def test_one_image_cannot_be_resampled(rng):
    clusters, values, _ = counted(rng.random((1, 30)).astype(np.float32), rng.random((1, 30)) < 0.5)
    with pytest.raises(UserError, match='there is 1 image to resample; intervals need 2 or more'):
        bootstrap_clusters({'a': clusters}, {'a': values})
