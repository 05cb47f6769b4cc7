"""Splits: disjoint, seeded, remembered; and what is refused."""

import dataclasses
import hashlib

import numpy as np
import pytest

from failpred_jax.config import DataConfig
from failpred_jax.data.arrays import ArraysOptions
from failpred_jax.data.sources import RawData, check_examples
from failpred_jax.data.splits import Data, draw_split, load_data, split_validation
from failpred_jax.errors import UserError
from failpred_jax.files import read_npz, write_npz
from failpred_jax.types import DatasetInfo, Examples

DIGITS = DataConfig(source='digits', num_train=200)
INFO = DatasetInfo('things', 'classification', (2, 2, 1), ('a', 'b', 'c'))


def raw(count, **parts):
    own = Examples(np.zeros((count, 2, 2, 1), np.uint8), np.zeros(count, np.int32))
    return RawData(INFO, own, parts.get('validation'), parts.get('test'))


def test_parts_share_nothing_and_have_the_sizes_asked_for():
    split = draw_split(dataclasses.replace(DIGITS, num_train=0, test_fraction=0.5, validation_fraction=0.1), raw(1000))
    assert {name: len(indices) for name, indices in split.items()} == {'test': 500, 'validation': 50, 'train': 450}
    assert len(np.unique(np.concatenate(list(split.values())))) == 1000


def test_fewer_training_examples_leave_the_other_parts_alone():
    whole, part = (draw_split(dataclasses.replace(DIGITS, num_train=n), raw(1000)) for n in (0, 60))
    assert len(part['train']) == 60
    assert set(part['train']) <= set(whole['train'])
    assert np.array_equal(part['test'], whole['test'])
    assert np.array_equal(part['validation'], whole['validation'])


def test_a_calibration_part_is_taken_from_training_and_moves_no_other():
    def digest(split):
        return hashlib.blake2b(b''.join(split[name].tobytes() for name in sorted(split)), digest_size=8).hexdigest()

    # As it was drawn before there were calibration parts.
    assert digest(draw_split(DIGITS, raw(1000))) == '8664ce24454ad54a'
    without = dataclasses.replace(DIGITS, num_train=0, validation_fraction=0.2)
    with_some = dataclasses.replace(without, calibration_fraction=0.3)
    for source in (raw(1000), raw(1000, test=raw(5).train), raw(1000, test=raw(5).train, validation=raw(5).train)):
        before, after = draw_split(without, source), draw_split(with_some, source)
        assert 'calibration' not in before
        assert {name: after[name].tolist() for name in before if name != 'train'} == {
            name: indices.tolist() for name, indices in before.items() if name != 'train'
        }
        assert sorted([*after['train'], *after['calibration']]) == before['train'].tolist()
        not_tested = 1000 if source.test else 500
        assert len(after['calibration']) == 0.3 * not_tested
        few = draw_split(dataclasses.replace(with_some, num_train=60), source)
        assert few['calibration'].tolist() == after['calibration'].tolist()
    with pytest.raises(UserError, match=r'the calibration part of the 40 .* or calibration_fraction'):
        draw_split(dataclasses.replace(with_some, calibration_fraction=0.01), raw(40))


def test_a_calibration_part_is_remembered_and_shares_nothing(tmp_path, rng):
    file = tmp_path / 'split.npz'
    some = dataclasses.replace(DIGITS, calibration_fraction=0.25)
    first = load_data(some, file)
    assert first.calibration is not None
    assert list(first.parts) == ['training', 'validation', 'calibration', 'test']
    assert len(first.calibration.labels) == 225
    assert np.array_equal(load_data(some, file).calibration.images, first.calibration.images)
    with pytest.raises(UserError, match='split.npz has a calibration part, but .*fraction is 0.0'):
        load_data(DIGITS, file)
    assert load_data(DIGITS).calibration is None
    with pytest.raises(UserError, match='lacks a calibration part, but .*fraction is 0.25'):
        load_data(some, split=load_data(DIGITS).split)
    images = rng.integers(0, 256, (40, 2, 2, 1)).astype(np.uint8)
    images[::5] = 7  # Eight times the same one, which then stands in two parts.
    np.savez(tmp_path / 'mine.npz', images_train=images, labels_train=np.arange(40) % 3, images_test=255 - images[1:3],
             labels_test=np.zeros(2, int))  # fmt: skip
    arrays = DataConfig(
        source='arrays', owned={'arrays': ArraysOptions(str(tmp_path / 'mine.npz'))}, calibration_fraction=0.4
    )
    assert any('calibration part' in text for text in load_data(arrays).warnings)


def test_a_split_is_drawn_once_and_read_back(tmp_path):
    file = tmp_path / 'split.npz'
    first = load_data(DIGITS, file)
    again = load_data(dataclasses.replace(DIGITS, split_seed=7), file)
    assert np.array_equal(first.train.images, again.train.images)
    assert first.info.num_classes == 10
    assert (len(first.train.images), len(first.val.images), len(first.test.images)) == (200, 90, 898)
    assert first.train.images.dtype == np.uint8
    assert first.train.images.max() == 255


def test_images_that_stand_in_two_parts_are_told(tmp_path, rng):
    images = rng.integers(0, 256, (80, 2, 2, 1)).astype(np.uint8)
    images[60:] = images[:20]
    labels = np.arange(80) % 3
    np.savez(tmp_path / 'mine.npz', images_train=images[:60], labels_train=labels[:60], images_test=images[50:],
             labels_test=labels[50:])  # fmt: skip
    arrays = DataConfig(source='arrays', owned={'arrays': ArraysOptions(str(tmp_path / 'mine.npz'))})
    with pytest.raises(UserError, match='test part also stand in the training part'):
        load_data(dataclasses.replace(arrays, validation_fraction=0.02))
    data = load_data(dataclasses.replace(arrays, validation_fraction=0.5))
    assert len(data.warnings) == 2
    assert all('pixel by pixel' in text for text in data.warnings)
    assert load_data(DIGITS).warnings == ()


def test_a_split_of_other_data_is_refused(tmp_path):
    file = tmp_path / 'split.npz'
    write_npz(file, {'train': np.array([0, 1]), 'validation': np.array([5000]), 'test': np.array([3])})
    with pytest.raises(UserError, match='validation does not fit a training part of 1797 examples'):
        load_data(DIGITS, file)
    write_npz(file, {'train': np.array([0, 1]), 'validation': np.array([1]), 'test': np.array([3])})
    with pytest.raises(UserError, match='an example stands in two parts'):
        load_data(DIGITS, file)
    assert set(read_npz(file)) == {'train', 'validation', 'test'}


@pytest.mark.parametrize(
    ('images', 'labels', 'words'),
    [
        (np.zeros((3, 2, 2, 1), np.float32), np.zeros(3, int), 'images of type float32; they must be uint8'),
        (
            np.zeros((3, 4, 2, 1), np.uint8),
            np.zeros(3, int),
            r'images of shape \(3, 4, 2, 1\); it must be \(N, 2, 2, 1\)',
        ),
        (np.zeros((3, 2, 2, 1), np.uint8), np.zeros(2, int), r'labels of shape \(2,\)'),
        (np.zeros((3, 2, 2, 1), np.uint8), np.zeros(3), 'labels of type float64; they must be integers'),
        (np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 3, -1]), '2 labels out of range, such as 3 in example 1'),
        (np.zeros((0, 2, 2, 1), np.uint8), np.zeros(0, int), 'holds no examples'),
    ],
)
def test_what_is_wrong_with_the_data_is_said(images, labels, words):
    with pytest.raises(UserError, match=words):
        check_examples(Examples(images, labels), INFO, "the data set 'things' (train)")


def test_an_empty_part_is_refused():
    with pytest.raises(UserError, match='the validation part of the 4 training examples is empty'):
        draw_split(dataclasses.replace(DIGITS, num_train=0, validation_fraction=0.01), raw(4))


def test_a_half_of_the_validation_split_is_drawn_by_the_seed_and_nothing_is_in_both():
    own = raw(100)
    data = Data(INFO, own.train, own.train, own.train, {})
    labeled = data.val._replace(labels=np.arange(len(data.val.labels), dtype=np.int32))
    data = dataclasses.replace(data, val=labeled)
    half, rest = split_validation(data, 3)
    assert len(half.labels) == 50
    assert sorted([*half.labels, *rest.val.labels]) == list(range(100))
    assert np.array_equal(half.labels, split_validation(data, 3)[0].labels)
    assert not np.array_equal(half.labels, split_validation(data, 4)[0].labels)
    assert rest.train is data.train and rest.test is data.test
    with pytest.raises(UserError, match='the validation split has 1 example'):
        split_validation(dataclasses.replace(data, val=Examples(labeled.images[:1], labeled.labels[:1])), 3)
