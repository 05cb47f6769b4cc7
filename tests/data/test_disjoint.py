"""Parts that share images are found by content: counted, named, and refused where nothing else is left."""

import numpy as np
import pytest

from failpred_jax.data.disjoint import check_disjoint, row_hashes, shared_rows
from failpred_jax.errors import UserError


@pytest.mark.parametrize('shape', [(3,), (5, 7, 1), (4, 4, 3)])
def test_shared_rows_are_those_of_a_slow_search(shape, rng):
    first = rng.integers(0, 256, (1500, *shape)).astype(np.uint8)
    second = rng.integers(0, 256, (300, *shape)).astype(np.uint8)
    second[[5, 6, 299]] = first[[7, 7, 1400]]
    found = shared_rows(first, second, (row_hashes(first), row_hashes(second)))
    assert found.tolist() == [i for i in range(1500) if any((first[i] == row).all() for row in second)]
    assert {7, 1400} <= set(found.tolist())


def test_one_changed_bit_changes_the_hash_and_equal_hashes_are_compared(rng):
    rows = np.tile(rng.integers(0, 256, 784).astype(np.uint8), (784 * 8 + 1, 1))
    bits = np.arange(784 * 8)
    rows[bits, bits // 8] ^= (1 << bits % 8).astype(np.uint8)
    assert len(np.unique(row_hashes(rows))) == len(rows)
    same = np.zeros(4, np.int64)
    assert shared_rows(rows[:4], rows[4:8], (same, same)).size == 0


def test_rows_of_any_type_are_compared_by_content(rng):
    rows = rng.standard_normal((20, 3)).astype(np.float32)
    assert shared_rows(rows[3:9], rows, (row_hashes(rows[3:9]), row_hashes(rows))).tolist() == list(range(6))


def test_duplicates_are_counted_and_named_and_identical_parts_refused(rng):
    images = rng.integers(0, 256, (60, 4, 4, 1)).astype(np.uint8)
    train, val, test = images[:40], images[40:50], images[50:].copy()
    assert check_disjoint({'training': train, 'validation': val, 'test': test}) == ()
    test[[2, 5]] = train[[30, 31]]
    (text,) = check_disjoint({'training': train, 'validation': val, 'test': test})
    assert text.startswith('2 of the 10 images of the test part (numbers 2, 5) also stand in the training part')
    with pytest.raises(UserError, match='all 10 images of the validation part also stand in the test part'):
        check_disjoint({'training': train, 'validation': test[::-1], 'test': test})
    with pytest.raises(UserError, match='all 10 images of the test part also stand in the training part'):
        check_disjoint({'training': images, 'test': images[10:20]})
