"""Laws of augmentation and normalization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from failpred_jax.config import AugmentConfig
from failpred_jax.data.augment import PADDING_LABEL, make_augment_fn, normalize
from failpred_jax.data.augmented import draw_augmented
from failpred_jax.errors import UserError
from failpred_jax.train.step import unit_mask
from failpred_jax.types import DatasetInfo, Examples

SHAPE = (12, 17, 3)
VOID = 3
BATCH = 6
CLASSES = ('a', 'b', 'c', 'void')
SEGMENTATION = DatasetInfo('made up', 'segmentation', SHAPE, CLASSES, ignore_label=VOID)
CLASSIFICATION = DatasetInfo('made up', 'classification', SHAPE, CLASSES)
KEYS = jax.random.split(jax.random.key(0), BATCH)

GEOMETRIC = {
    'flip': AugmentConfig(flip=True),
    'rotate': AugmentConfig(rotate_degrees=30.0),
    'crop': AugmentConfig(crop_padding=3),
    'all': AugmentConfig(flip=True, rotate_degrees=15.0, crop_padding=2),
}
COLOR = {
    'brightness': AugmentConfig(brightness=0.5),
    'contrast': AugmentConfig(contrast=0.5),
    'saturation': AugmentConfig(saturation=0.5),
}


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, size=(BATCH, *SHAPE), dtype=np.uint8)


@pytest.fixture
def maps(rng):
    return rng.integers(0, 3, size=(BATCH, *SHAPE[:2])).astype(np.int32)


def run(config, info, images, labels, keys=KEYS):
    return jax.jit(make_augment_fn(config, info))(keys, images, labels)


def test_zero_strength_is_the_identity(images, maps):
    out, labels = run(AugmentConfig(), SEGMENTATION, images, maps)
    assert out.dtype == jnp.float32
    np.testing.assert_array_equal(np.round(np.asarray(out) * 255), images)
    np.testing.assert_array_equal(labels, maps)


@pytest.mark.parametrize('name', [*GEOMETRIC, *COLOR])
def test_results_depend_on_the_key_alone(name, images, maps):
    config = (GEOMETRIC | COLOR)[name]
    out, labels = run(config, SEGMENTATION, images, maps)
    again, _ = run(config, SEGMENTATION, images, maps)
    np.testing.assert_array_equal(out, again)
    assert float(jnp.abs(out - images / 255).max()) > 1e-3
    # Half the batch, in another order: what another number of devices would see.
    part = np.array([4, 0, 3])
    part_out, part_labels = run(config, SEGMENTATION, images[part], maps[part], KEYS[part])
    np.testing.assert_allclose(part_out, out[part], atol=1e-6)
    np.testing.assert_array_equal(part_labels, labels[part])
    assert out.dtype == jnp.float32
    assert 0 <= float(out.min()) <= float(out.max()) <= 1


@pytest.mark.parametrize('name', GEOMETRIC)
def test_label_maps_keep_their_labels_and_fill_with_void(name, images, maps):
    _, labels = run(GEOMETRIC[name], SEGMENTATION, images, maps)
    assert labels.shape == maps.shape
    assert labels.dtype == jnp.int32
    assert set(np.unique(labels)) <= {0, 1, 2, VOID}
    # Without an ignored label, beyond the border is no class either, and is where it would be ignored.
    _, others = run(GEOMETRIC[name], DatasetInfo('x', 'segmentation', SHAPE, CLASSES), images, maps)
    np.testing.assert_array_equal(others, np.where(labels == VOID, PADDING_LABEL, labels))
    counted = unit_mask(np.ones(BATCH, bool), others, None)
    np.testing.assert_array_equal(counted, unit_mask(np.ones(BATCH, bool), labels, VOID))
    np.testing.assert_array_equal(counted, labels != VOID)


@pytest.mark.parametrize('name', GEOMETRIC)
def test_image_and_map_move_together(name):
    """A marked square in the image is where the map's is, up to the half pixel by which they interpolate."""
    size = (40, 60)
    info = DatasetInfo('made up', 'segmentation', (*size, 3), CLASSES)
    images, maps = np.zeros((BATCH, *size, 3), np.uint8), np.zeros((BATCH, *size), np.int32)
    images[:, 12:19, 33:40] = 255
    maps[:, 12:19, 33:40] = 1
    out, labels = run(GEOMETRIC[name], info, images, maps)
    differ = (np.asarray(out[..., 0]) > 0.5) != (np.asarray(labels) == 1)
    assert (np.asarray(labels) == 1).sum(axis=(1, 2)).min() > 30
    assert differ.sum(axis=(1, 2)).max() <= 14
    middle = [np.argwhere(m).mean(0) for m in np.asarray(labels) == 1]
    assert np.ptp(np.array(middle), axis=0).max() > 2


@pytest.mark.parametrize('name', COLOR)
def test_color_leaves_maps_alone(name, images, maps):
    _, labels = run(COLOR[name], SEGMENTATION, images, maps)
    np.testing.assert_array_equal(labels, maps)


def test_class_labels_pass_through(images):
    labels = np.arange(BATCH, dtype=np.int32)
    _, out = run(GEOMETRIC['all'], CLASSIFICATION, images, labels)
    np.testing.assert_array_equal(out, labels)


def test_flip_mirrors_or_does_not(images, maps):
    out, labels = run(GEOMETRIC['flip'], SEGMENTATION, images, maps)
    flipped = [np.array_equal(m, np.asarray(n)[:, ::-1]) for m, n in zip(maps, labels, strict=True)]
    for i, is_flipped in enumerate(flipped):
        expected = images[i][:, ::-1] if is_flipped else images[i]
        np.testing.assert_array_equal(np.round(np.asarray(out[i]) * 255), expected)
        assert is_flipped or np.array_equal(maps[i], labels[i])
    assert 0 < sum(flipped) < BATCH


def test_crop_is_a_shift_filled_with_zeros(images, maps):
    padding = 3
    out, labels = run(GEOMETRIC['crop'], SEGMENTATION, images, maps)
    sides = (padding, padding)
    padded = np.pad(images, ((0, 0), sides, sides, (0, 0)))
    padded_maps = np.pad(maps, ((0, 0), sides, sides), constant_values=VOID)
    shifts = set()
    for i in range(BATCH):
        got = np.round(np.asarray(out[i]) * 255)
        found = [
            (y, x)
            for y in range(2 * padding + 1)
            for x in range(2 * padding + 1)
            if np.array_equal(got, padded[i, y : y + SHAPE[0], x : x + SHAPE[1]])
        ]
        assert len(found) == 1
        ((y, x),) = found
        np.testing.assert_array_equal(labels[i], padded_maps[i, y : y + SHAPE[0], x : x + SHAPE[1]])
        shifts.add((y, x))
    assert len(shifts) > 1


def test_rotation_is_bilinear_about_the_center(images, maps):
    scipy_ndimage = pytest.importorskip('scipy.ndimage')
    out, labels = run(GEOMETRIC['rotate'], SEGMENTATION, images, maps)
    draws = jax.vmap(lambda key: jax.random.uniform(key, (7,)))(KEYS)
    degrees = (2 * np.asarray(draws[:, 1]) - 1) * 30.0
    assert np.ptp(degrees) > 10
    for i, angle in enumerate(np.deg2rad(degrees)):
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        center = (np.array(SHAPE[:2]) - 1) / 2
        offset = center - matrix @ center
        for c in range(3):
            expected = scipy_ndimage.affine_transform(
                images[i, ..., c] / 255, matrix, offset, order=1, mode='grid-constant'
            )
            np.testing.assert_allclose(out[i, ..., c], expected, atol=1e-4)
        expected = scipy_ndimage.affine_transform(maps[i], matrix, offset, order=0, mode='constant', cval=VOID)
        inside = (expected != VOID) & (np.asarray(labels[i]) != VOID)
        np.testing.assert_array_equal(np.asarray(labels[i])[inside], expected[inside])


def test_brightness_scales_each_image(images, maps):
    out, _ = run(AugmentConfig(brightness=0.3), SEGMENTATION, images // 2, maps)
    for i in range(BATCH):
        dark = images[i] // 2
        ratio = np.asarray(out[i])[dark > 10] / (dark[dark > 10] / 255)
        assert ratio.std() < 1e-5
        assert 0.7 <= ratio.mean() <= 1.3


def test_saturation_does_nothing_to_gray_images(images, maps):
    gray = np.repeat(images[..., :1], 3, axis=-1)
    out, _ = run(COLOR['saturation'], SEGMENTATION, gray, maps)
    np.testing.assert_allclose(out, gray / 255, atol=1e-6)


@pytest.mark.parametrize('channels', [1, 3, 5])
def test_any_number_of_channels(channels, rng):
    info = DatasetInfo('made up', 'classification', (8, 8, channels), CLASSES)
    images = rng.integers(0, 256, size=(BATCH, 8, 8, channels), dtype=np.uint8)
    config = AugmentConfig(True, 10.0, 1, 0.1, 0.1, 0.1)
    out, _ = run(config, info, images, np.zeros(BATCH, np.int32))
    assert out.shape == images.shape


def test_padding_by_the_whole_image_is_refused():
    with pytest.raises(UserError, match='crop_padding is 12, but the images are 12 x 17'):
        make_augment_fn(AugmentConfig(crop_padding=12), SEGMENTATION)


@pytest.mark.parametrize(
    ('mean', 'std'), [((0.25,), (0.5,)), ((0.1, 0.2, 0.3), (0.5, 1.0, 2.0)), ((0.1,), (1.0, 2.0, 3.0))]
)
def test_normalize(mean, std, images):
    expected = (images / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(normalize(images, mean, std), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(normalize((images / 255).astype(np.float32), mean, std), expected, rtol=1e-5, atol=1e-5)
    assert normalize(images, mean, std).dtype == jnp.float32


def test_normalize_refuses_other_numbers_of_values(images):
    with pytest.raises(UserError, match='config.data.std has 2 values, but the images have 3'):
        normalize(images, (0.0,), (1.0, 1.0))


@pytest.mark.parametrize('task', ['classification', 'segmentation'])
def test_a_few_images_are_drawn_for_people_to_look_at(task, rng):
    info = DatasetInfo('made up', task, (6, 6, 3), ('a', 'b'), ignore_label=7)
    images = rng.integers(0, 256, (9, 6, 6, 3)).astype(np.uint8)
    labels = np.where(images[..., 0] > 200, 7, images[..., 0] % 2) if task == 'segmentation' else images[:, 0, 0, 0] % 2
    examples = Examples(images, labels.astype(np.uint8))
    drawn = draw_augmented(AugmentConfig(flip=True), info, examples, seed=3)
    assert drawn['image'].shape == (4, 6, 6, 6, 3)
    assert drawn['image'].dtype == np.uint8
    assert np.array_equal(drawn['image'][:, 0], images[drawn['index']])
    flipped = images[drawn['index']][:, None, :, ::-1]
    is_flipped = (drawn['image'] == flipped).all(axis=(2, 3, 4))
    assert (is_flipped | (drawn['image'] == images[drawn['index']][:, None]).all(axis=(2, 3, 4))).all()
    assert is_flipped.any() and not is_flipped[:, 0].any()
    if task == 'segmentation':
        maps = np.where(labels == 7, -1, labels.astype(np.int32))[drawn['index'], None]
        assert np.array_equal(drawn['label'], np.where(is_flipped[..., None, None], maps[..., ::-1], maps))
    else:
        assert set(drawn) == {'image', 'index'}
    assert draw_augmented(AugmentConfig(), info, examples, seed=3) is None
