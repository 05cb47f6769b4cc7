"""What a finished run takes of images, and what is said of others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from failpred_jax.data.resize import resize_images
from failpred_jax.errors import UserError
from failpred_jax.types import Array


def checked_images(images: Any, image_shape: tuple[int, int, int], resizes: bool) -> np.ndarray:
    """Return images [N, H, W, channels] uint8 as the network takes them.

    Args:
      images: as a user gives them.
      image_shape: (H, W, channels).
      resizes: whether those of other sizes are brought to it.

    Raises:
      UserError: they are something else; it says what to do.
    """
    height, width, channels = image_shape
    form = f'(N, {height}, {width}, {channels})' + (f' or (N, {height}, {width})' if channels == 1 else '')
    try:
        pixels = np.asarray(images)
    except ValueError as error:
        raise UserError(f'the images are not one array ({error}); this run takes {form} uint8') from error
    if pixels.dtype != np.uint8:
        raise UserError(
            f'the images are of type {pixels.dtype}; this run takes uint8, 0 to 255, as its own images are stored'
            f'{_as_bytes(pixels)}'
        )
    if pixels.ndim == 3 and channels == 1:
        pixels = pixels[..., None]
    if pixels.ndim == 4 and len(pixels) == 0:
        raise UserError('there are no images: the array is empty')
    if pixels.ndim != 4 or pixels.shape[-1] != channels or (pixels.shape[1:3] != (height, width)):
        if pixels.ndim == 4 and pixels.shape[-1] == channels and resizes:
            return resize_images(pixels, (height, width))
        raise UserError(
            f'the images have shape {np.shape(images)}; this run takes {form}{_hint(np.shape(images), image_shape)}'
        )
    return pixels


def _as_bytes(pixels: np.ndarray) -> str:
    """Return how to make bytes of images of another type, as far as their values say it."""
    if pixels.dtype == bool:
        return '; these become images.astype("uint8") * 255'
    if pixels.dtype.kind not in 'iuf' or pixels.size == 0:
        return ''
    low, high = pixels.min(), pixels.max()
    if not (0 <= low <= high <= 255):
        return f', and these reach from {low:.5g} to {high:.5g}; undo what was done to them, and bring them to 0 to 255'
    if pixels.dtype.kind in 'iu':
        return '; these fit as they are: images.astype("uint8")'
    if high > 1:
        return f', and these reach {high:.5g}: images.round().astype("uint8")'
    return '; these lie within [0, 1]: (images * 255).round().astype("uint8")'


def _hint(shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> str:
    """Return what to do about images of a wrong shape."""
    height, width, channels = image_shape
    if shape in ((height, width), image_shape):
        return ': one image alone is image[None]'
    if len(shape) == 4 and shape[1] == channels and shape[-1] != channels:
        return ', with the channels last: images.transpose(0, 2, 3, 1)'
    if len(shape) == 4 and shape[-1] != channels:
        return f': images of {channels} channel{"s" if channels > 1 else ""}'
    return '; bring them to this size as those that it was trained on were'


def checked_ids(ids: Sequence[Any] | np.ndarray | None, count: int) -> np.ndarray:
    """Return N ids as words; None stands for the numbers from 0."""
    found = np.arange(count) if ids is None else np.asarray(ids)
    if found.shape != (count,):
        raise UserError(f'ids has shape {found.shape}, but there are {count:,} images; give one for each')
    return found.astype(str)


def checked_numbers(numbers: Array | None, count: int) -> np.ndarray:
    """Return N whole numbers from 0; None stands for the places."""
    found = np.arange(count) if numbers is None else np.asarray(numbers)
    if found.shape != (count,) or found.dtype.kind not in 'iu' or (found < 0).any() or (found >= 2**31).any():
        raise UserError(
            f'numbers has type {found.dtype} and shape {found.shape}; give one whole number from 0 for each of the '
            f'{count:,} images'
        )
    return found
