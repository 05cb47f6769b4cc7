"""The sort, the counts of the walk, and the sums."""

from fractions import Fraction

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from failpred_jax.metrics import sorting
from failpred_jax.metrics.sorting import CORRECT, COUNTED, THRESHOLD, falling_keys, sort_order, sort_units
from failpred_jax.metrics.sums import compensated_sum
from failpred_jax.metrics.walk import at_least, at_most


def all_exponents(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return floats with random bits: every sign and exponent, subnormal numbers, both zeros, infinities."""
    bits = rng.integers(0, 2**32, size, dtype=np.uint64).astype(np.uint32)
    bits[:8] = [0, 1 << 31, 1, (1 << 31) + 1, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x00800000]
    values = bits.view(np.float32)
    return np.where(np.isnan(values), np.float32(0.5), values)


def test_keys_order_every_float(rng):
    values = all_exponents(rng, 3000)
    for given in (values, values.view(np.int32)):
        np.testing.assert_array_equal(sorting.falling_keys_on_host(given), falling_keys(given))
    keys = np.asarray(falling_keys(values)).astype(np.int64)
    np.testing.assert_array_equal(
        np.sign(np.diff(values[np.argsort(keys, kind='stable')].astype(np.float64))) > 0, False
    )
    np.testing.assert_array_equal(np.unique(keys).size, np.unique(values + np.float32(0)).size)


@pytest.mark.parametrize('buckets', ['few', 'all'])
def test_both_branches_of_the_sort(buckets, rng, monkeypatch):
    monkeypatch.setattr(sorting, '_CHUNK', 1024)  # The last of three chunks overlaps the second.
    # 'all' occupies more than 256 (sign, exponent) pairs, which leaves no spare bit for the packed sort.
    values = all_exponents(rng, 3000) if buckets == 'all' else rng.standard_normal(3000).round(2).astype(np.float32)
    correct, mask = rng.random(3000) < 0.5, rng.random(3000) < 0.9
    flags = np.asarray(jax.jit(sort_units)(values, correct, mask))
    on_host = sorting.sort_units_on_host(values, correct, mask)
    np.testing.assert_array_equal(on_host | CORRECT, flags | CORRECT)
    kept, right = values[mask].astype(np.float64), correct[mask]
    in_order = np.sort(kept)[::-1]
    assert (flags[: kept.size] & COUNTED).all()
    assert not flags[kept.size :].any()
    ends = np.flatnonzero(flags & THRESHOLD)
    np.testing.assert_array_equal(ends, np.flatnonzero(np.append(in_order[1:] != in_order[:-1], True)))
    above = np.cumsum(flags & CORRECT)[ends]
    # Ties stand in any order.
    np.testing.assert_array_equal(np.cumsum(on_host & CORRECT)[ends], above)
    np.testing.assert_array_equal(above, [right[kept >= threshold].sum() for threshold in in_order[ends]])
    order, order_flags = (np.asarray(x) for x in jax.jit(sort_order)(values, mask))
    np.testing.assert_array_equal(order_flags, flags & (THRESHOLD | COUNTED))
    np.testing.assert_array_equal(values[order[: kept.size]], in_order.astype(np.float32))
    np.testing.assert_array_equal(np.sort(order), np.arange(3000))


@hypothesis.settings(max_examples=200, deadline=None, derandomize=True, database=None)
@hypothesis.given(st.integers(1, 9_999), st.integers(0, 2**31 - 1))
def test_shares_of_counts_are_not_rounded(level, total):
    exact = Fraction(level, 10_000) * total
    assert int(at_least(level / 10_000, np.int32(total))) == -(-exact.numerator // exact.denominator)
    assert int(at_most(level / 10_000, np.int32(total))) == exact.numerator // exact.denominator


def test_sums_keep_what_float32_drops():
    values = np.zeros((200_000, 3), np.float32)
    values[:, 0] = 1
    values[0, 0] = 2.0**24
    values[:, 1] = np.resize(np.array([1e8, 1, -1e8], np.float32), 200_000)
    values[5, 2] = np.inf
    total = jax.jit(compensated_sum)(values)
    # 200,000 = 3 * 66,666 + 2: the last 1e8 and 1 stay.
    np.testing.assert_array_equal(total, [np.float32(2**24 + 199_999), np.float32(1e8 + 66_667), np.inf])
    assert float(compensated_sum(np.zeros(0))) == 0
