"""Small sets of pictures on disk, whose content says what they are."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, size: tuple[int, int] = (6, 5), mode: str = 'RGB') -> Image.Image:
    """Return a picture (width, height) of its own, whose first pixel's red is `number`."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    pixels[0, 0] = number
    return Image.fromarray(pixels).convert(mode)


def save(path: Path, image: Image.Image, **how: object) -> Path:
    """Write it, folders and all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return path
