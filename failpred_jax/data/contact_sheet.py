"""A picture of some examples of each class and part, to be looked at before anything is trained."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from failpred_jax.data.sources import images_of
from failpred_jax.terminal import in_ascii
from failpred_jax.types import DatasetInfo, Examples

MOST_CLASSES = 20
PER_PART = 5
_TILE, _GAP, _NAME, _TEXT = 72, 4, 150, 16


def make_sheet(parts: Mapping[str, Examples], info: DatasetInfo) -> Any:
    """Return a Pillow image: a row for each class (of a segmentation: image and label map side by side), by parts.

    The first examples of each class are shown, of at most 20 classes spread over all, channels beyond three left out.
    """
    from PIL import Image, ImageDraw

    rows = _rows_of(parts, info)
    width = _NAME + len(parts) * (PER_PART * (_TILE + _GAP) + 2 * _GAP)
    sheet = Image.new('RGB', (width, _TEXT + 2 * _GAP + max(len(rows), 1) * (_TILE + _GAP)), 'white')
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(parts):
        draw.text((_NAME + column * (PER_PART * (_TILE + _GAP) + 2 * _GAP), _GAP), name, 'black')
    for row, (title, tiles) in enumerate(rows):
        top = _TEXT + 2 * _GAP + row * (_TILE + _GAP)
        draw.text((_GAP, top + _TILE // 2 - 6), in_ascii(title)[:22], 'black')
        for column, name in enumerate(parts):
            left = _NAME + column * (PER_PART * (_TILE + _GAP) + 2 * _GAP)
            for place, pixels in enumerate(tiles[name][:PER_PART]):
                tile = Image.fromarray(pixels)
                scale = _TILE / max(tile.size)
                size = (max(1, round(tile.width * scale)), max(1, round(tile.height * scale)))
                how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
                sheet.paste(tile.resize(size, how), (left + place * (_TILE + _GAP), top))
    return sheet


def _rows_of(parts: Mapping[str, Examples], info: DatasetInfo) -> list[tuple[str, dict[str, list[np.ndarray]]]]:
    """Return (title, part -> pictures [H, W, 3] uint8) of each row."""
    if info.task == 'segmentation':
        shown = {name: _image_and_map(examples, info) for name, examples in parts.items()}
        return [
            (f'example {i + 1}', {name: tiles[2 * i : 2 * i + 2] for name, tiles in shown.items()}) for i in range(6)
        ]  # fmt: skip
    step = -(-info.num_classes // MOST_CLASSES)
    rows = []
    for number in range(0, info.num_classes, step):
        tiles = {}
        for name, examples in parts.items():
            first = np.flatnonzero(examples.labels == number)[:PER_PART]
            tiles[name] = [drawable(images_of(examples)[i]) for i in first]
        rows.append((info.class_names[number], tiles))
    return rows


def _image_and_map(examples: Examples, info: DatasetInfo) -> list[np.ndarray]:
    tiles = []
    for i in range(min(6, len(examples.labels))):
        tiles += [drawable(images_of(examples)[i]), _painted(examples.labels[i], info)]
    return tiles


def _painted(label: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Return a label map in colors: neighboring numbers far apart, what counts nowhere gray."""
    hue = (np.arange(info.num_classes) * 0.61803398875 % 1.0)[:, None] + np.array([0.0, 1 / 3, 2 / 3])
    colors = (127.5 + 127.5 * np.cos(2 * np.pi * hue)).astype(np.uint8)
    known = label < info.num_classes
    if info.ignore_label is not None:
        known &= label != info.ignore_label
    return np.where(known[..., None], colors[np.where(known, label, 0)], np.uint8(128))


def drawable(image: np.ndarray) -> np.ndarray:
    """Return an image [H, W, channels] uint8 as RGB [H, W, 3]: gray three times, channels beyond three left out."""
    if image.shape[-1] < 3:
        return np.repeat(image[..., :1], 3, axis=-1)
    return np.ascontiguousarray(image[..., :3])
