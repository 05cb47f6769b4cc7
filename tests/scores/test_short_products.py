"""Products in bfloat16 only propose: the answers are those of float32, to the bit, whatever the units look like."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from failpred_jax.scores import distances as room
from failpred_jax.scores import short_products
from failpred_jax.scores.bank import BY_CLASS, DENSITY, UNIFORM, make_bank
from failpred_jax.scores.distances import InClasses, Nearest, measure_distances
from failpred_jax.scores.score import ScoreInputs

ASKS = (InClasses(level=None), InClasses(level=1), InClasses(nth=2), Nearest(20))
NUM_CLASSES, NUM_FEATURES = 4, 24


def answers(monkeypatch, bank, inputs, is_short):
    monkeypatch.setattr(room, 'pays', lambda *sizes: is_short)
    return jax.tree.map(np.asarray, measure_distances(inputs, bank, ASKS))


@pytest.fixture
def told(monkeypatch):
    """Return the list of what each block was multiplied in."""
    blocks, block = [], room._block

    def counted(*args, **options):
        blocks.append('float32' if len(args) < 7 or args[6] is None else 'bfloat16')
        return block(*args, **options)

    monkeypatch.setattr(room, '_block', counted)
    monkeypatch.setattr(room, '_MAX_ROWS', 64)
    return blocks


def units(rng, num_units, spread, far):
    labels = rng.integers(NUM_CLASSES, size=num_units).astype(np.int32)
    centers = np.random.default_rng(0).normal(size=(NUM_CLASSES, NUM_FEATURES))
    features = far + centers[labels] + spread * rng.normal(size=(num_units, NUM_FEATURES))
    return features.astype(np.float32), labels


# Spread out; in classes as tight as bfloat16 is coarse; far from zero; of sizes near the ends of float32.
@pytest.mark.parametrize(
    ('spread', 'far', 'scale'), [(1, 0, 1), (0.003, 0, 1), (1, 100, 1), (1, 0, 1e16), (1, 0, 1e-16)]
)
def test_answers_are_those_of_float32(rng, monkeypatch, told, spread, far, scale):
    points, labels = units(rng, 900, spread, far)
    queries, predicted = units(rng, 200, spread, far)
    # Points that are given twice, units that are points, and features of zero.
    points[:5], queries[:5], queries[5] = points[5:10], points[5:10], 0
    inputs = ScoreInputs(np.eye(NUM_CLASSES, dtype=np.float32)[predicted], queries * np.float32(scale))
    holds = frozenset({BY_CLASS, DENSITY, UNIFORM})
    bank = make_bank(points * np.float32(scale), labels, NUM_CLASSES, jax.random.key(0), holds)
    expected = answers(monkeypatch, bank, inputs, False)
    assert set(told) == {'float32'}
    found = answers(monkeypatch, bank, inputs, True)
    assert 'bfloat16' in told
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_float32_takes_over_where_bfloat16_proves_nothing(rng, monkeypatch, told):
    points, labels = units(rng, 900, 1e-4, 0)
    queries, predicted = units(rng, 200, 1e-4, 0)
    inputs = ScoreInputs(np.eye(NUM_CLASSES, dtype=np.float32)[predicted], queries)
    bank = make_bank(points, labels, NUM_CLASSES, jax.random.key(0), frozenset({BY_CLASS, DENSITY, UNIFORM}))
    answers(monkeypatch, bank, inputs, True)
    # The second block was under way when the first was looked at.
    assert told.count('bfloat16') == 2 < len(told)


@pytest.mark.parametrize('scale', [1e-3, 1, 1e3])
def test_no_product_is_larger_than_is_said(rng, scale):
    """Also where each number is rounded as far as it can be, in the same direction."""
    worst = np.nextafter(np.float32(1 + 2**-8), np.float32(0)) * np.ones((3, 40), np.float32)
    rows = np.concatenate([rng.normal(size=(50, 40)).astype(np.float32), worst, -worst]) * np.float32(scale)
    most = short_products.largest_products(jnp.asarray(rows), short_products.shorten(jnp.asarray(rows)))
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    assert np.all(np.asarray(most) >= exact)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert np.all(np.asarray(most) - exact <= 4.1 * 2**-8 * lengths[:, None] * lengths)
