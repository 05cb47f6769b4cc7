"""The streaming accumulator: exact merges, exact metrics on levels, and limits that hold between them."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from failpred_jax.errors import UserError
from failpred_jax.metrics import (
    LevelCounts,
    bfloat16_levels,
    compute_streamed,
    confusion_matrix,
    init_counts,
    levels_from,
    merge_counts,
    probability_levels,
    score_metrics,
    streamed_values,
    update_counts,
)

_update = jax.jit(update_counts)


def stream(levels, confidence, correct, mask=None, batch: int = 128) -> LevelCounts:
    mask = np.ones(correct.shape, bool) if mask is None else mask
    counts = init_counts(levels)
    for first in range(0, correct.size, batch):
        part = slice(first, first + batch)
        counts = _update(counts, levels, confidence[part], correct[part], mask[part])
    return counts


def assert_between(streamed, exact):
    for name, value in exact.items():
        assert np.isnan(value) == np.isnan(streamed.values[name]), name
        if not np.isnan(value):
            slack = 1e-12 * max(1, abs(value))
            assert streamed.low[name] - slack <= value <= streamed.high[name] + slack, name
            assert streamed.low[name] - slack <= streamed.values[name] <= streamed.high[name] + slack, name


def test_exact_on_levels_it_knows(rng):
    levels = levels_from(rng.standard_normal(400))
    confidence = rng.choice(levels, 1280)
    correct, mask = rng.random(1280) < 0.7, rng.random(1280) < 0.9
    streamed = compute_streamed(stream(levels, confidence, correct, mask))
    exact = score_metrics(confidence, correct, mask)
    assert streamed.is_exact
    assert streamed.low == streamed.high == streamed.values
    assert list(streamed.values) == list(exact)
    assert streamed.values == pytest.approx(exact, rel=1e-14, abs=1e-14)


def test_exact_on_every_bfloat16(rng):
    confidence = np.array(jax.numpy.asarray(rng.standard_normal(512) * 10.0 ** rng.integers(-38, 38, 512), 'bfloat16'))
    correct = rng.random(512) < 0.7
    confidence[:4] = [np.inf, -np.inf, 0.0, -0.0]
    levels = bfloat16_levels()
    assert levels.size <= 2**16
    assert (np.diff(levels[np.isfinite(levels)]) > 0).all()
    streamed = compute_streamed(stream(levels, confidence, correct))
    assert streamed.is_exact
    assert streamed.values == pytest.approx(score_metrics(confidence, correct), rel=1e-14, abs=1e-14)


@pytest.mark.parametrize('num_levels', [4, 400])
def test_limits_hold_between_levels(num_levels, rng):
    confidence, correct = rng.random(1280).astype(np.float32), rng.random(1280) < 0.9
    correct &= rng.random(1280) < 0.5 + confidence
    exact = score_metrics(confidence, correct)
    levels = levels_from(confidence[:640], num_levels)
    streamed = compute_streamed(stream(levels, confidence, correct))
    assert not streamed.is_exact
    assert_between(streamed, exact)
    if num_levels == 400:
        assert streamed.high['auroc'] - streamed.low['auroc'] < 4e-3
        assert streamed.high['augrc'] - streamed.low['augrc'] < 1e-3


LEVELS = np.array([0.0, 0.25, 0.5, 0.75], np.float32)
_units = st.lists(
    st.tuples(st.sampled_from(np.linspace(0, 0.96875, 32).tolist()), st.booleans()), min_size=1, max_size=40
)


@hypothesis.settings(max_examples=80, deadline=None, derandomize=True, database=None)
@hypothesis.given(_units)
def test_limits_hold_for_any_units(units):
    confidence, correct = (np.array(x) for x in zip(*units, strict=True))
    padded = np.zeros(128, np.float32)
    padded[: len(units)] = confidence
    counts = stream(LEVELS, padded, np.pad(correct, (0, 128 - len(units))), np.arange(128) < len(units))
    assert_between(compute_streamed(counts), score_metrics(padded[: len(units)], correct))


def test_probability_levels_are_fine_where_confidences_crowd():
    levels = probability_levels()
    assert levels.size <= 2**16
    assert (levels[0], levels[-1]) == (0, 1)
    assert (np.diff(levels) > 0).all()
    exact = levels.astype(np.float64)
    inside = exact[(exact > 2.0**-26) & (exact < 1 - 2.0**-23)]
    to_end = np.minimum(inside, 1 - inside)[:-1]
    # float32 itself is no finer than 2^-24 near 1.
    assert (np.diff(inside) <= to_end / 1200 + 2.0**-24).all()


def test_one_host_and_eight_devices_agree_exactly(rng):
    confidence, correct = rng.random(1024).astype(np.float32), rng.random(1024) < 0.8
    levels = levels_from(confidence, 400)
    mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(spec('data'), spec('data')), out_specs=spec())
    def on_devices(confidence, correct):
        own = update_counts(init_counts(levels), levels, confidence, correct)
        return jax.lax.psum(own, 'data')

    counts = jax.jit(on_devices)(confidence, correct)
    alone = stream(levels, confidence, correct)
    jax.tree.map(np.testing.assert_array_equal, counts, alone)
    assert compute_streamed(counts) == compute_streamed(alone)
    assert counts.correct.dtype == np.int32
    halves = [stream(levels, confidence[half], correct[half]) for half in (slice(512), slice(512, None))]
    jax.tree.map(np.testing.assert_array_equal, merge_counts(*halves), alone)


def test_jitted_values_are_those_of_the_host(rng):
    counts = stream(LEVELS, rng.random(256).astype(np.float32), rng.random(256) < 0.8)
    found = jax.jit(streamed_values)(counts)
    expected = compute_streamed(counts).values
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_too_many_units_are_refused():
    half = np.array([2**30, 0, 0, 0], np.int32)
    with pytest.raises(UserError, match=r'2\^31 units or more'):
        compute_streamed(LevelCounts(half, half, np.zeros(4, np.int32)))


def test_confusion_matrices_of_parts_add_up(rng):
    predicted, labels, mask = rng.integers(0, 5, 200), rng.integers(0, 5, 200), rng.random(200) < 0.9
    whole = confusion_matrix(predicted, labels, mask, num_classes=5)
    parts = [confusion_matrix(predicted[p], labels[p], mask[p], num_classes=5) for p in (slice(100), slice(100, 200))]
    np.testing.assert_array_equal(parts[0] + parts[1], whole)
    assert int(whole.sum()) == mask.sum()
