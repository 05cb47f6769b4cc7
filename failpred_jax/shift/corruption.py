"""What a corruption is, the decorators that register one, and how images are corrupted: on the host, keyed per example.

A corruption draws from a generator of its own for every example, keyed by (seed, corruption, number of the example):
the same picture comes out in any batch, in any thread and on any machine, and at every severity the same draw is made
stronger. What is left to the machine is the last bit of a sum before it is rounded to uint8, and libjpeg.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.registry import CORRUPTIONS
from failpred_jax.threads import in_threads

SEVERITIES = (1, 2, 3, 4, 5)
# Strengths that are lengths are given for images of this side, and scaled.
SIDE = 32
_BLOCK = 64

# (pixels [H, W, channels] float64 in [0, 1], strength, generator) -> the same shape, any finite values.
PixelFn = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
# ((H, W), strength, generator) -> [2, H, W] float64: from which row and column each pixel comes.
PlacesFn = Callable[[tuple[int, int], float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """One way to spoil an image.

    Attributes:
      name: as configs call it.
      fn: a PixelFn, or a PlacesFn where it moves pixels.
      strengths: what it is given at the severities 1 to 5.
      moves: whether it moves pixels, so that a label map has to be moved along.
      description: one line for the report.
    """

    name: str
    fn: Callable[..., np.ndarray]
    strengths: tuple[float, float, float, float, float]
    description: str
    moves: bool = False


def corruption(
    name: str, strengths: tuple[float, float, float, float, float], description: str
) -> Callable[[PixelFn], PixelFn]:
    """Return a decorator that registers a corruption of the values of pixels; see `Corruption`."""

    def add(fn: PixelFn) -> PixelFn:
        CORRUPTIONS.register(name)(Corruption(name, fn, strengths, description))
        return fn

    return add


def movement(
    name: str, strengths: tuple[float, float, float, float, float], description: str
) -> Callable[[PlacesFn], PlacesFn]:
    """Return a decorator that registers a corruption that moves pixels; see `Corruption`."""

    def add(fn: PlacesFn) -> PlacesFn:
        CORRUPTIONS.register(name)(Corruption(name, fn, strengths, description, moves=True))
        return fn

    return add


def generator(seed: int, name: str, number: int) -> np.random.Generator:
    """Return the generator of one example: Philox, a counter-based generator, at a key of its own."""
    return np.random.Generator(np.random.Philox(key=[(seed << 32) | zlib.crc32(name.encode()), number]))


def corrupt(
    images: np.ndarray,
    name: str,
    severity: int,
    seed: int = 0,
    numbers: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images under a corruption, and label maps that were moved along with them.

    Args:
      images: [N, H, W, channels] uint8, any number of channels.
      name: of the corruption.
      severity: 1 to 5; 0 changes nothing.
      seed: of the draws, 0 to 2^31 - 1.
      numbers: [N] int from 0, by which an example is known wherever it stands; None for 0 to N - 1.
      labels: [N, H, W] label maps, or anything else, which is handed back.

    Returns:
      (images [N, H, W, channels] uint8, labels of the shape and type given).

    Raises:
      UserError: no such corruption or severity, or the images are not of that form.
    """
    found: Corruption = CORRUPTIONS[name]
    check_severity(name, severity)
    if images.ndim != 4 or images.dtype != np.uint8 or 0 in images.shape:
        raise UserError(
            f'the images to corrupt are {images.dtype} of shape {images.shape}; they must be uint8, (N, H, W, channels)'
        )
    if severity == 0:
        return images, labels
    numbers = np.arange(len(images)) if numbers is None else np.asarray(numbers)
    maps = labels if found.moves and labels is not None and labels.ndim == 3 else None
    corrupted, moved = np.empty_like(images), None if maps is None else np.empty_like(maps)
    strength = found.strengths[severity - 1]

    def change(rows: range) -> None:
        for row in rows:
            drawn = generator(seed, name, int(numbers[row]))
            if not found.moves:
                corrupted[row] = to_uint8(found.fn(images[row] / 255, strength, drawn))
                continue
            places = found.fn(images.shape[1:3], strength, drawn)
            corrupted[row] = to_uint8(_moved(images[row] / 255, places, 1))
            if maps is not None and moved is not None:
                moved[row] = _moved(maps[row][..., None], places, 0)[..., 0]

    in_threads(change, (range(i, min(i + _BLOCK, len(images))) for i in range(0, len(images), _BLOCK)))
    return corrupted, labels if moved is None else moved


def check_severity(name: str, severity: Any) -> None:
    """Raise a UserError unless a severity is a whole number from 0 to 5."""
    if isinstance(severity, bool) or not isinstance(severity, int | np.integer) or not 0 <= severity <= 5:
        raise UserError(
            f"the severity of '{name}' is {severity}; it must be a whole number from 1 (light) to 5 (strong)"
        )


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Return pixels in [0, 1] (what lies beyond is cut off) as uint8."""
    return np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)


def scale_of(shape: tuple[int, ...]) -> float:
    """Return by how much lengths given for a side of 32 grow for images of this shape, (H, W, ...); at least 1/2."""
    return max(min(shape[:2]) / SIDE, 0.5)


def _moved(pixels: np.ndarray, places: np.ndarray, order: int) -> np.ndarray:
    """Return pixels [H, W, channels] fetched from `places` [2, H, W]: linear (order 1) or nearest (0).

    Beyond the border the image is mirrored, so that neither a frame nor a void label gives the corruption away.
    """
    from scipy import ndimage

    channels = range(pixels.shape[-1])
    fetched = [ndimage.map_coordinates(pixels[..., c], places, order=order, mode='mirror') for c in channels]
    return np.stack(fetched, axis=-1)
