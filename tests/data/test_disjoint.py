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
    assert [(first[i] == second[j]).all() for i, j in found] == [True] * len(found)
    found = found[:, 0]
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
    assert shared_rows(rows[3:9], rows, (row_hashes(rows[3:9]), row_hashes(rows))).tolist() == [
        [i, i + 3] for i in range(6)
    ]


def test_duplicates_are_counted_and_named_and_identical_parts_refused(rng):
    images = rng.integers(0, 256, (60, 4, 4, 1)).astype(np.uint8)
    train, val, test = images[:40], images[40:50], images[50:].copy()
    labels = {'training': np.arange(40) % 4, 'validation': np.zeros(10, int), 'test': np.full(10, 2)}
    assert check_disjoint({'training': train, 'validation': val, 'test': test}, labels) == ()
    test[[2, 5]] = train[[30, 34]]
    (text,) = check_disjoint({'training': train, 'validation': val, 'test': test}, labels, tuple('abcd'))
    assert text.endswith('what is measured there may be too good')
    assert text.startswith('2 of the 10 images of the test part (numbers 2, 5) also stand in the training part')
    with pytest.raises(UserError, match='all 10 images of the validation part also stand in the test part'):
        check_disjoint({'training': train, 'validation': test[::-1], 'test': test}, labels)
    with pytest.raises(UserError, match='all 10 images of the test part also stand in the training part'):
        check_disjoint({'training': images, 'test': images[10:20]}, labels)


@pytest.mark.parametrize('task', ['classification', 'segmentation'])
def test_an_image_with_other_labels_in_another_part_is_told_so(task, rng):
    images = rng.integers(0, 256, (30, 4, 4, 1)).astype(np.uint8)
    parts = {'training': images[:20], 'test': images[20:].copy()}
    labels = {'training': np.arange(20) % 3, 'test': np.arange(10) % 3}
    parts['test'][[4, 7]] = images[[10, 11]]  # of the classes 1 and 2; those of the test part are 1 and 1
    names = ('cat', 'dog', 'emu')
    if task == 'segmentation':
        names, labels = (), {part: np.broadcast_to(of[:, None, None], (len(of), 4, 4)) for part, of in labels.items()}
    (text,) = check_disjoint(parts, labels, names)
    such_as = "'dog' here and 'emu' there" if names else 'another map'
    assert text.endswith(f'. 1 of them have other labels there (number 7: {such_as}), of which one is wrong')
