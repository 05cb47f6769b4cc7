"""The ranking loss against its definition: a maximum over all orders of the batch."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from failpred_jax.losses import ranking
from failpred_jax.losses.ranking import average_precision_hinge
from failpred_jax.types import Outputs


def by_definition(scores, positive):
    """Return the maximum over all orders of 1 - AP + F(order) - F(right order).

    Within positives, and within negatives, the best order is that of their scores: what is left to choose is which
    places the positives take.
    """
    positives, negatives = np.sort(scores[positive])[::-1], np.sort(scores[~positive])[::-1]
    p, n = len(positives), len(negatives)
    if not p or not n:
        return 0.0
    right = (positives[:, None] - negatives[None, :]).mean()
    best = -np.inf
    for places in combinations(range(p + n), p):
        precision = np.mean([(k + 1) / (place + 1) for k, place in enumerate(places)])
        above = np.array([place - k for k, place in enumerate(places)])
        sign = np.where(np.arange(n)[None, :] < above[:, None], -1, 1)
        margin = (sign * (positives[:, None] - negatives[None, :])).mean()
        best = max(best, 1 - precision + margin - right)
    return best


def setup(rng, count, spread=1.0):
    scores = (spread * rng.normal(size=count)).astype(np.float32)
    positive = rng.random(count) < 0.6
    return scores, positive


@pytest.mark.parametrize('spread', [0.05, 1.0, 4.0])
def test_equals_the_maximum_over_all_orders(spread, rng):
    hinge = jax.jit(average_precision_hinge)
    for _ in range(12):
        scores, positive = setup(rng, 9, spread)
        expected = by_definition(scores.astype(np.float64), positive)
        np.testing.assert_allclose(hinge(scores, positive, ~positive), expected, rtol=1e-5, atol=1e-6)


def test_is_zero_for_a_single_class_and_for_a_wide_margin():
    scores = jnp.array([3.0, 1.0, 2.0, 0.5])
    everything, nothing = jnp.ones(4, bool), jnp.zeros(4, bool)
    assert average_precision_hinge(scores, everything, nothing) == 0
    assert average_precision_hinge(scores, nothing, everything) == 0
    positive = jnp.array([True, False, True, False])
    assert average_precision_hinge(10 * scores, positive, ~positive) == 0
    assert average_precision_hinge(-scores, positive, ~positive) > 1


def test_gradient_is_the_slope(rng):
    scores, positive = setup(rng, 12)
    gradient = jax.grad(average_precision_hinge)(scores, positive, ~positive)
    assert np.abs(np.asarray(gradient).sum()) < 1e-6
    assert (np.asarray(gradient)[positive] <= 1e-7).all()
    assert (np.asarray(gradient)[~positive] >= -1e-7).all()
    for i in range(12):
        step = np.zeros(12)
        step[i] = 1e-4
        up, down = (by_definition(scores + sign * step, positive) for sign in (1, -1))
        np.testing.assert_allclose(gradient[i], (up - down) / 2e-4, atol=1e-3)


def test_large_batches_are_ranked_in_blocks(rng, monkeypatch):
    monkeypatch.setattr('failpred_jax.losses.ranking.BLOCK', 8)
    logits = jnp.asarray(rng.normal(size=(3, 7, 2)), jnp.float32)
    outputs = Outputs(logits, None, jnp.asarray(rng.normal(size=(3, 7)), jnp.float32))
    labels = jnp.asarray(rng.integers(0, 2, size=(3, 7)), jnp.int32)
    mask = jnp.asarray(rng.random((3, 7)) < 0.8)
    losses = np.asarray(ranking.ranking(outputs, labels, mask, error_weight=1.0, temperature=1.0)).reshape(-1)
    scores, valid = np.asarray(outputs.confidence_logit).reshape(-1), np.asarray(mask).reshape(-1)
    correct = np.asarray(jnp.argmax(logits, -1) == labels).reshape(-1)
    for block in range(3):
        chosen = np.arange(21) % 3 == block
        expected = by_definition(scores[chosen & valid], correct[chosen & valid])
        np.testing.assert_allclose(losses[chosen], expected, rtol=1e-4, atol=1e-5)
