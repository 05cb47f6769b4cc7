"""Laws that every registered corruption must hold. A corruption is tested by being registered."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits

from failpred_jax import threads
from failpred_jax.errors import UserError
from failpred_jax.registry import CORRUPTIONS
from failpred_jax.shift.corruption import SEVERITIES, corrupt

ALL = sorted(CORRUPTIONS)
PINNED = {
    'gaussian_noise': [123, 102, 77, 92, 170, 95, 99, 102],
    'impulse_noise': [128, 0, 255, 128, 255, 128, 255, 255],
}
MOVING = [name for name in ALL if CORRUPTIONS[name].moves]


def _smooth_colors(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(count, *shape))
    return np.clip(127 + 800 * ndimage.gaussian_filter(noise, (0, 2, 2, 0)), 0, 255).astype(np.uint8)


def _digits(count: int) -> np.ndarray:
    return (load_digits().images[:count, :, :, None] * 255 / 16).astype(np.uint8)


SETS = {
    'digits': _digits(48),
    # Smoothed, since pixels that are blocks already stay what they are when they are made blocks.
    'large digits': ndimage.uniform_filter(_digits(48).repeat(4, axis=1).repeat(4, axis=2), (1, 3, 3, 1))[
        :, 2:30, 2:30
    ],
    'colors': _smooth_colors(24, (32, 40, 3)),
    'two channels, flat': _smooth_colors(24, (9, 33, 2)),
}


@pytest.mark.parametrize('images', SETS.values(), ids=list(SETS))
@pytest.mark.parametrize('name', ALL)
def test_severity_0_is_the_image_and_every_step_leads_further_away(name, images):
    distances = []
    for severity in (0, *SEVERITIES):
        corrupted, _ = corrupt(images, name, severity)
        assert corrupted.dtype == np.uint8
        assert corrupted.shape == images.shape
        distances.append(np.abs(corrupted.astype(int) - images).mean())
    assert distances[0] == 0
    assert (np.diff(distances) > 0).all(), distances


@pytest.mark.parametrize('shape', [(1, 1, 1), (1, 7, 3), (3, 5, 4), (33, 70, 1)])
@pytest.mark.parametrize('name', ALL)
def test_images_of_any_size_and_content(name, shape):
    drawn = np.random.default_rng(2).integers(0, 256, shape)
    images = np.stack([drawn, np.zeros(shape), np.full(shape, 255)]).astype(np.uint8)
    for severity in (1, 5):
        assert corrupt(images, name, severity)[0].shape == images.shape


@pytest.mark.parametrize('name', ALL)
def test_an_example_is_corrupted_the_same_wherever_it_stands(name, monkeypatch):
    images = SETS['large digits']
    whole, _ = corrupt(images, name, 3, seed=5)
    rows = np.array([40, 3, 17])
    few, _ = corrupt(images[rows], name, 3, seed=5, numbers=rows)
    np.testing.assert_array_equal(few, whole[rows])
    monkeypatch.setattr(threads, 'num_cores', lambda: 1)
    np.testing.assert_array_equal(corrupt(images, name, 3, seed=5)[0], whole)


@pytest.mark.parametrize('name', ALL)
def test_what_is_random_differs_between_examples_and_seeds(name):
    same = np.repeat(SETS['large digits'][:1], 8, axis=0)
    corrupted, _ = corrupt(same, name, 4)
    is_random = name not in ('blur', 'brightness', 'contrast', 'jpeg', 'pixelate')
    assert (len(np.unique(corrupted, axis=0)) > 1) == is_random
    assert (not np.array_equal(corrupted, corrupt(same, name, 4, seed=1)[0])) == is_random


def test_the_noise_is_the_same_on_every_machine():
    """Philox draws integers; these numbers were written down on an AMD EPYC and must come out anywhere."""
    gray = np.full((2, 2, 2, 1), 128, np.uint8)
    assert corrupt(gray, 'gaussian_noise', 3, seed=7)[0].ravel().tolist() == PINNED['gaussian_noise']
    assert corrupt(gray, 'impulse_noise', 5, seed=7)[0].ravel().tolist() == PINNED['impulse_noise']


@pytest.mark.parametrize('name', MOVING)
def test_label_maps_move_with_the_pixels(name):
    """A picture of its own labels, in large patches, is after the movement still that of its labels."""
    labels = np.repeat(np.repeat(np.random.default_rng(1).integers(0, 5, (6, 3, 4)), 12, 1), 12, 2).astype(np.uint8)
    images = (labels[..., None] * 50).astype(np.uint8)
    moved_images, moved = corrupt(images, name, 2, labels=labels)
    assert moved.dtype == labels.dtype
    assert moved.shape == labels.shape
    assert np.mean(moved != labels) > 0.02
    # Interpolation mixes the two sides of an edge; elsewhere the picture says the label.
    edges = ndimage.maximum_filter(moved, (1, 3, 3)) != ndimage.minimum_filter(moved, (1, 3, 3))
    assert edges.mean() < 0.5
    np.testing.assert_array_equal(moved_images[..., 0][~edges], moved[~edges] * 50)


@pytest.mark.parametrize('name', [n for n in ALL if n not in MOVING])
def test_label_maps_stay_where_pixels_stay(name):
    labels = np.zeros((24, 32, 40), np.uint8)
    assert corrupt(SETS['colors'], name, 3, labels=labels)[1] is labels


def test_a_turn_takes_the_center_along_and_mirrors_at_the_border():
    images = np.zeros((1, 31, 31, 1), np.uint8)
    images[0, 15, 15], images[0, 15, 16:] = 255, 100
    turned = corrupt(images, 'rotation', 5)[0][0, ..., 0]
    assert turned[15, 15] == 255
    # A bar to the right points along a diagonal after 45 degrees.
    assert max(turned[15 + 6, 15 + 6], turned[15 - 6, 15 + 6]) > 60
    assert turned[15, 25] == 0


@pytest.mark.parametrize(
    ('name', 'severity', 'message'),
    [
        ('gausian_noise', 1, "unknown corruption 'gausian_noise'; did you mean 'gaussian_noise'"),
        ('blur', 6, "the severity of 'blur' is 6; it must be a whole number from 1"),
        ('blur', -1, "the severity of 'blur' is -1"),
        ('blur', 2.5, "the severity of 'blur' is 2.5"),
    ],
)
def test_what_is_not_there_is_refused(name, severity, message):
    with pytest.raises(UserError, match=message):
        corrupt(SETS['digits'], name, severity)


@pytest.mark.parametrize(
    'images', [np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 1)), np.zeros((0, 8, 8, 1), np.uint8)]
)
def test_images_of_another_form_are_refused(images):
    with pytest.raises(UserError, match='they must be uint8'):
        corrupt(images, 'blur', 1)
