"""A contact sheet: the images of the first rows, numbered, with a line or two below each."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from failpred_jax.terminal import in_ascii

_TILE, _GAP, _LINE, _COLUMNS = 112, 8, 13, 8


def make_sheet(images: np.ndarray, captions: Sequence[Sequence[str]]) -> bytes:
    """Return a PNG of images [R, H, W, channels] uint8 in rows of eight, each with its lines of text below."""
    lines = max((len(caption) for caption in captions), default=0)
    height = _TILE + lines * _LINE + 2 * _GAP
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    sheet = Image.new('RGB', (columns * (_TILE + _GAP) + _GAP, rows * height + _GAP), 'white')
    draw = ImageDraw.Draw(sheet)
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(number, columns)
        left, top = _GAP + column * (_TILE + _GAP), _GAP + row * height
        pixels = np.repeat(image[..., :1], 3, axis=-1) if image.shape[-1] < 3 else np.ascontiguousarray(image[..., :3])
        tile = Image.fromarray(pixels)
        scale = _TILE / max(tile.size)
        size = (max(1, round(tile.width * scale)), max(1, round(tile.height * scale)))
        sheet.paste(
            tile.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR), (left, top)
        )
        for place, text in enumerate(caption):
            words = in_ascii(text)[: _TILE // 6]
            draw.text((left, top + _TILE + 2 + place * _LINE), words, 'black')
    stream = io.BytesIO()
    sheet.save(stream, 'PNG', optimize=True)
    return stream.getvalue()
