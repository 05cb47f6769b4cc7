"""One picture file as an array: every mode that Pillow reads comes out right, or is refused in words."""

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import UserError

_GRAY = ('1', 'L', 'LA', 'La', 'I', 'I;16', 'I;16B', 'I;16L', 'I;16N', 'F')
# As many as Pillow takes without a warning.
MOST_PIXELS = 89_478_485
_SIXTEEN_BITS = ('I', 'I;16', 'I;16B', 'I;16L', 'I;16N')


def read_picture(source: Path | bytes, channels: int = 3, name: str = '') -> np.ndarray:
    """Return a picture, turned as its EXIF orientation says.

    Args:
      source: a file, or the content of one.
      channels: 3 for RGB, 1 for gray.
      name: of the picture, for messages; '' is that of the file.

    Returns:
      [H, W, channels] uint8. Palettes are looked up, transparency is dropped, CMYK becomes RGB, and 16 bits become 8.

    Raises:
      UserError: it is no picture, is damaged, or holds other numbers than these.
    """
    with _opened(source, name) as image:
        image = _upright(image)
        if image.mode in _SIXTEEN_BITS:
            return _from_sixteen_bits(np.asarray(image), channels, name or str(source))
        if image.mode == 'F':
            raise UserError(
                f"'{name or source}' holds floating-point pixels, whose range is not said; save it with 8 or 16 bits"
            )
        if image.mode == 'P' and 'transparency' in image.info:
            image = image.convert('RGBA')
        pixels = np.asarray(image.convert('RGB' if channels == 3 else 'L'))
    return pixels.reshape(*pixels.shape[:2], channels)


def is_stored_as_gray(source: Path | bytes) -> bool:
    """Return whether a picture has no colors by the way it is stored; also True if it cannot be read at all."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return image.mode in _GRAY
    except _broken():
        return True


def size_of(source: Path) -> tuple[int, int]:
    """Return (height, width) of a picture as `read_picture` would give it, from its header."""
    from PIL import Image

    try:
        with Image.open(source) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (image.width, image.height) if turned else (image.height, image.width)
    except _broken() as error:
        raise UserError(f"'{source}' cannot be read as an image ({error}); restore it from a copy") from error


def read_label_map(source: Path) -> np.ndarray:
    """Return the numbers that a label map stores, a palette's own included: [H, W] integers.

    Raises:
      UserError: it is no picture, is damaged, or has several channels.
    """
    with _opened(source, '') as image:
        label = np.asarray(image)
    if label.ndim != 2:
        raise UserError(
            f"the label map '{source}' has {label.shape[-1]} channels; it must have one, the class number of every "
            'pixel: turn colors into class numbers first'
        )
    return label.astype(np.uint8) if label.dtype == bool else label


@contextlib.contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[Any]:
    """Yield a Pillow image; whatever decoding it raises is a UserError."""
    # Imported late: a run without image files need not load it.
    from PIL import Image

    shown = name or (source if isinstance(source, Path) else 'a picture')
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            # Refused like a broken one, rather than filling the memory. Pillow only warns, and turning its warning into
            # an error would be a switch of the whole process, where threads decode at once.
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f'{image.width} x {image.height} pixels are more than {MOST_PIXELS:,}')
            if image.format == 'TIFF' and (pages := getattr(image, 'n_frames', 1)) > 1:
                raise UserError(
                    f"'{shown}' holds {pages} pictures (pages of a TIFF); save those that are meant one by one"
                )
            image.load()
            yield image
    except _broken() as error:
        raise UserError(f"'{shown}' cannot be read as an image ({error}); restore it from a copy") from error


def _broken() -> tuple[type[Exception], ...]:
    """Return what Pillow raises for a picture that is broken, absurdly large, or none."""
    from PIL import Image

    return (
        OSError, ValueError, SyntaxError, EOFError, TypeError, OverflowError, struct.error, zlib.error,
        Image.DecompressionBombError, Image.DecompressionBombWarning,
    )  # fmt: skip


def _upright(image: Any) -> Any:
    """Return an image turned as its EXIF orientation says; as it is where its EXIF data are broken, as viewers do."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except _broken():
        return image


def _from_sixteen_bits(pixels: np.ndarray, channels: int, name: str) -> np.ndarray:
    if pixels.min(initial=0) < 0 or pixels.max(initial=0) > 65535:
        raise UserError(f"'{name}' holds pixels from {pixels.min()} to {pixels.max()}; save it with 8 or 16 bits")
    # 65535 is white, as 255 is.
    gray = np.round(pixels.astype(np.float32) / 257).astype(np.uint8)[..., None]
    return np.repeat(gray, channels, axis=-1)
