"""Pictures with a label map each, in files of their own: in memory, or read when they are needed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from failpred_jax.console import say_once
from failpred_jax.data.decoding import decode
from failpred_jax.data.lazy import lazy_pictures
from failpred_jax.data.lazy_maps import lazy_maps
from failpred_jax.data.pictures import read_label_map, size_of
from failpred_jax.errors import UserError
from failpred_jax.types import Examples


class Pair(NamedTuple):
    """The files of one example."""

    image: Path
    label: Path


class PairForm(NamedTuple):
    """How all pairs of a set are read.

    Attributes:
      read_image: file -> [h, w, channels] uint8. Raises a UserError for one that cannot be read.
      apply_rule: (numbers [h, w] of a label map, its file) -> classes [H, W] of `dtype`, brought to the set's size.
        Raises a UserError for a number that is no class.
      shape: (H, W, channels) of the images.
      resize: whether images of another size are brought to it; else they are an error.
      dtype: of the label maps.
      is_lazy: whether they are read only when they are needed.
    """

    read_image: Callable[[Path], np.ndarray]
    apply_rule: Callable[[np.ndarray, Path], np.ndarray]
    shape: tuple[int, int, int]
    resize: bool
    dtype: type
    is_lazy: bool


def num_bytes_of_pairs(count: int, shape: tuple[int, int, int], dtype: type) -> int:
    """Return what so many images and label maps take in memory."""
    height, width, channels = shape
    return count * height * width * (channels + np.dtype(dtype).itemsize)


def read_pairs(pairs: Sequence[Pair], form: PairForm, what: str) -> Examples:
    """Return images [N, H, W, channels] uint8 and label maps [N, H, W].

    Args:
      pairs: N of them.
      form: how they are read.
      what: what they are, for messages and progress, such as 'the train part'.

    Raises:
      UserError: files cannot be read, an image and its label map differ in size, or images do among themselves. What
        is only read when it is needed says so when it is looked through.
    """

    def image(i: int) -> np.ndarray:
        return form.read_image(pairs[i].image)

    def label(i: int) -> np.ndarray:
        file, of_map = pairs[i]
        numbers = read_label_map(of_map)
        height, width, turned = size_of(file)
        if turned and not size_of(of_map).turned:
            say_once(
                f'note: {what} holds pictures that are turned as their EXIF orientation says, whose label maps are '
                'not; if the maps were drawn on the pictures as they are stored, take the orientation away'
            )
        if numbers.shape != (height, width):
            raise UserError(
                f"'{file}' is {height} x {width} pixels, but its label map '{of_map}' is {numbers.shape[0]} x "
                f'{numbers.shape[1]}; they must be of one size'
            )
        return form.apply_rule(numbers, of_map)

    count, size, maps = len(pairs), form.shape[:2], f'the label maps of {what}'
    if form.is_lazy:
        images = lazy_pictures(count, image, form.shape, form.resize, what, lambda i: pairs[i].image)
        return Examples(images, lazy_maps(count, label, size, form.dtype, maps, lambda i: pairs[i].label))
    images = decode(count, image, form.shape, form.resize, what, lambda i: pairs[i].image)
    labels = decode(count, lambda i: label(i)[..., None], (*size, 1), False, maps, lambda i: pairs[i].label, form.dtype)
    return Examples(images, labels[..., 0])
