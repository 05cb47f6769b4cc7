"""One picture file as an array: every mode that Pillow reads comes out right, or is refused in words."""

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from failpred_jax.data.other_pictures import unread_kind
from failpred_jax.errors import UserError

_GRAY = ('1', 'L', 'LA', 'La', 'I', 'I;16', 'I;16B', 'I;16L', 'I;16N', 'F')
# As many as Pillow takes without a warning.
MOST_PIXELS = 89_478_485
_HEAD_BYTES = 64
_SIXTEEN_BITS = ('I', 'I;16', 'I;16B', 'I;16L', 'I;16N')


_MODES = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}


def read_picture(source: Path | bytes, channels: int = 3, name: str = '', turn: bool = True) -> np.ndarray:
    """Return a picture, turned as its EXIF orientation says; of an animation the first one.

    Args:
      source: a file, or the content of one.
      channels: 3 for RGB, 1 for gray, 4 and 2 for these with transparency.
      name: of the picture, for messages; '' is that of the file.
      turn: whether it is turned.

    Returns:
      [H, W, channels] uint8. Palettes are looked up, transparency that is not asked for is dropped, CMYK becomes RGB,
      and 16 bits become 8.

    Raises:
      UserError: it is no picture, is damaged, or holds other numbers than these.
    """
    with _opened(source, name) as image:
        image = _upright(image) if turn else image
        if image.mode in _SIXTEEN_BITS:
            return _from_sixteen_bits(np.asarray(image), channels, name or str(source))
        if image.mode == 'F':
            raise UserError(
                f"'{name or source}' holds floating-point pixels, whose range is not said; save it with 8 or 16 bits"
            )
        if image.mode == 'P' and 'transparency' in image.info:
            image = image.convert('RGBA')
        wanted = _MODES[channels]
        pixels = np.asarray(image if image.mode == wanted else image.convert(wanted))
    return pixels.reshape(*pixels.shape[:2], channels)


def is_stored_as_gray(source: Path | bytes) -> bool:
    """Return whether a picture has no colors by the way it is stored; also True if it cannot be read at all."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return image.mode in _GRAY
    except _broken():
        return True


class Size(NamedTuple):
    """Of a picture as `read_picture` gives it; `turned`, whether its EXIF orientation is another than upright."""

    height: int
    width: int
    turned: bool


def size_of(source: Path | bytes, name: str = '', turn: bool = True) -> Size:
    """Return the size of a picture, from its header; the arguments are those of `read_picture`."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            orientation = image.getexif().get(0x0112, 1) if turn else 1
            sides = (image.width, image.height) if orientation in (5, 6, 7, 8) else (image.height, image.width)
            return Size(*sides, orientation in range(2, 9))
    except _broken() as error:
        raise _unreadable(source, name, error) from error


def read_label_map(source: Path | bytes, name: str = '') -> np.ndarray:
    """Return the numbers that a label map stores, a palette's own included: [H, W] integers.

    A map whose colors are all gray, as programs write that know no other, holds its numbers three times.

    Raises:
      UserError: it is no picture, is damaged, is a JPEG, holds colors or fractions.
    """
    with _opened(source, name) as image:
        is_jpeg, mode, label = image.format in ('JPEG', 'MPO'), image.mode, np.asarray(image)
    named = f"the label map '{name or source}'"
    if is_jpeg:
        raise UserError(
            f'{named} is a JPEG, whose compression changes the numbers at every edge; make the label maps again, as PNG'
        )
    if label.ndim == 3:
        colors = label[..., :1] if mode in ('LA', 'La') else label[..., :3]
        is_opaque = mode not in ('LA', 'RGBA') or (label[..., -1] == 255).all()
        if mode not in ('LA', 'RGB', 'RGBA') or not is_opaque or not (colors == colors[..., :1]).all():
            raise UserError(
                f'{named} has {label.shape[-1]} channels; it must have one, the class number of every pixel: turn '
                'colors into class numbers first'
            )
        label = label[..., 0]
    if label.dtype.kind == 'f':
        if not (np.isfinite(label).all() and (label == np.round(label)).all() and np.abs(label).max(initial=0) < 2**31):
            raise UserError(f'{named} holds fractions or no numbers at all (NaN); it must hold class numbers')
        return label.astype(np.int32)
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
                raise UserError(
                    f"'{shown}' has {image.width} x {image.height} pixels, more than the {MOST_PIXELS:,} that are read "
                    'here; make it smaller, or cut it into several'
                )
            if image.format == 'TIFF' and (pages := getattr(image, 'n_frames', 1)) > 1:
                raise UserError(
                    f"'{shown}' holds {pages} pictures (pages of a TIFF); save those that are meant one by one"
                )
            image.load()
            yield image
    except _broken() as error:
        raise _unreadable(source, name, error) from error


def _unreadable(source: Path | bytes, name: str, error: Exception) -> UserError:
    """Return what is said of a picture that cannot be read: what the file is instead, or else what Pillow says."""
    shown = name or (source if isinstance(source, Path) else 'a picture')
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open('rb') as file:
            head = file.read(_HEAD_BYTES)
    except OSError as reason:
        return UserError(f"'{shown}' cannot be read as an image ({reason.strerror or reason}); restore it from a copy")
    if 'decompression bomb' in str(error):
        return UserError(f"'{shown}' has more than the {MOST_PIXELS:,} pixels that are read here; make it smaller")
    if not head:
        return UserError(f"'{shown}' cannot be read as an image (it is empty); restore it from a copy")
    if head.startswith(b'version https://git-lfs'):
        return UserError(f"'{shown}' is no image but a pointer of Git LFS; fetch the files it stands for: git lfs pull")
    if head.lstrip().lower().startswith((b'<!doctype', b'<html')):
        return UserError(f"'{shown}' is no image but a web page, as when a download failed; fetch it again")
    if kind := unread_kind(head):
        return UserError(f"'{shown}' is a picture of a kind that is not read here ({kind}); save it as PNG or JPEG")
    reason = 'it is none' if 'BytesIO' in str(error) else error  # Of a buffer Pillow says the address.
    return UserError(f"'{shown}' cannot be read as an image ({reason}); restore it from a copy")


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
    colors = np.repeat(gray, 3 if channels > 2 else 1, axis=-1)
    return colors if channels in (1, 3) else np.concatenate([colors, np.full_like(gray, 255)], axis=-1)
