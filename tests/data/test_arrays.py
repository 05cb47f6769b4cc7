"""The user's own npz, and images of another size."""

import numpy as np
import pytest

from failpred_jax.config import DataConfig
from failpred_jax.data.arrays import ArraysOptions
from failpred_jax.data.resize import resize_images, resize_picture
from failpred_jax.data.splits import load_data
from failpred_jax.errors import UserError


@pytest.fixture
def arrays(rng):
    return {
        'images_train': rng.integers(0, 256, (40, 6, 6, 3)).astype(np.uint8),
        'labels_train': np.arange(40) % 4,
    }


def config_for(folder, **options):
    return DataConfig(source='arrays', owned={'arrays': ArraysOptions(str(folder / 'mine.npz'))}, **options)


def load(arrays, tmp_path, **options):
    np.savez(tmp_path / 'mine.npz', **arrays)
    return load_data(config_for(tmp_path, **options))


def test_parts_that_are_there_are_used_and_others_split_off(arrays, tmp_path):
    data = load(arrays, tmp_path, test_fraction=0.25, validation_fraction=0.1)
    assert (len(data.train.images), len(data.val.images), len(data.test.images)) == (27, 3, 10)
    assert data.info.class_names == ('0', '1', '2', '3')
    own = {'images_test': 255 - arrays['images_train'][:7], 'labels_test': arrays['labels_train'][:7]}
    data = load({**arrays, **own, 'class_names': np.array(['a', 'b', 'c', 'd', 'e'])}, tmp_path)
    assert np.array_equal(data.test.images, own['images_test'])
    assert data.info.num_classes == 5


def test_gray_images_may_lack_the_channel_axis(arrays, tmp_path):
    data = load({**arrays, 'images_train': arrays['images_train'][..., 0]}, tmp_path)
    assert data.info.image_shape == (6, 6, 1)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'labels_train': None}, "'images_train' and 'labels_train' must both be there"),
        ({'images_tset': np.zeros(3)}, "unknown array 'images_tset'; did you mean 'images_test'"),
        ({'images_train': np.zeros(40, np.uint8)}, r"'images_train' has shape \(40,\)"),
        ({'images_train': np.zeros((40, 6, 6, 3))}, 'images of type float64; they must be uint8'),
        (
            {'labels_train': np.full(40, -1)},
            r"such as -1 in example 0; .*where it means 'no label', leave these images out",
        ),
        ({'class_names': np.array(['a'])}, 'labels must be 0 to 0'),
        ({'labels_train': np.array([object()] * 40)}, 'never unpickled'),
        ({'images_train': np.zeros((40, 3, 6, 6), np.uint8)}, 'channels seem to come first'),
        ({'labels_train': np.arange(40) % 4 + 1}, 'subtract 1'),
        ({'labels_train': np.full(40, 2**40)}, 'which would make'),
        ({'labels_train': np.array(['ant', 'bee'] * 20), 'class_names': np.array(['ant'])}, "the words 'bee'"),
    ],
)
def test_what_is_refused(arrays, change, words, tmp_path):
    with pytest.raises(UserError, match=words):
        load({k: v for k, v in {**arrays, **change}.items() if v is not None}, tmp_path)


@pytest.mark.parametrize('kind', ['U3', 'S3'])
def test_words_are_labels_and_bytes_are_text(arrays, kind, tmp_path):
    names = np.array(['owl', 'ant', 'cat', 'bee']).astype(kind)
    data = load({**arrays, 'labels_train': names[arrays['labels_train']]}, tmp_path)
    assert data.info.class_names == ('ant', 'bee', 'cat', 'owl')
    named = load({**arrays, 'class_names': names}, tmp_path)
    assert named.info.class_names == ('owl', 'ant', 'cat', 'bee')
    first = data.split['train']
    words = np.array(data.info.class_names)[data.train.labels]
    assert np.array_equal(words, np.array(named.info.class_names)[arrays['labels_train'][first]])


def test_images_of_many_bands_are_images(arrays, tmp_path):
    bands = {**arrays, 'images_train': np.arange(40 * 468).astype(np.uint8).reshape(40, 6, 6, 13)}
    assert load(bands, tmp_path).info.image_shape == (6, 6, 13)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / 'mine.npz').write_bytes(b'PK\x03\x04 nothing')
    with pytest.raises(UserError, match=r"mine\.npz' is no npz archive"):
        load_data(config_for(tmp_path))


def test_images_are_resized_once_and_the_network_sees_the_new_size(arrays, tmp_path):
    data = load(arrays, tmp_path, image_size=(12, 9))
    assert data.info.image_shape == (12, 9, 3)
    assert data.train.images.shape[1:] == data.test.images.shape[1:] == (12, 9, 3)
    assert data.train.images.dtype == np.uint8


def test_resizing_keeps_what_is_constant_and_what_has_the_size():
    flat = np.full((2, 6, 4, 3), 77, np.uint8)
    assert np.array_equal(resize_images(flat, (3, 8)), np.full((2, 3, 8, 3), 77, np.uint8))
    assert resize_images(flat, (6, 4)) is flat


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('size', [(5, 9), (30, 21), (40, 11), (1, 1)])
def test_an_image_is_resized_alike_alone_among_others_and_for_predict(rng, size, channels):
    images = rng.integers(0, 256, (3, 20, 30, channels), np.uint8)
    resized = resize_images(images, size)
    for i, image in enumerate(images):
        assert np.array_equal(resized[i], resize_picture(image, size))
        assert np.array_equal(resized[i], resize_images(image[None], size)[0])
    # To within the rounding of two passes, one over the columns and one over the rows.
    slow = [_bilinear(_bilinear(image.astype(float), size[0]).swapaxes(0, 1), size[1]) for image in images]
    np.testing.assert_allclose(resized, np.stack(slow).swapaxes(1, 2), atol=1.001)


def _bilinear(pixels: np.ndarray, new: int) -> np.ndarray:
    """Return [old, ...] as [new, ...]: each a mean, by a triangle as wide as a new pixel."""
    old = len(pixels)
    width = max(1.0, old / new)
    centers = (np.arange(new) + 0.5) * old / new
    weights = np.maximum(0, 1 - abs(np.arange(old) + 0.5 - centers[:, None]) / width)
    return np.tensordot(weights / weights.sum(1, keepdims=True), pixels, 1)
