"""Label maps that stay in their files, and which numbers maps hold, told without holding all of them."""

from collections.abc import Callable
from typing import cast

import numpy as np

from failpred_jax.data.decoding import each_picture
from failpred_jax.data.lazy import DIGEST_BYTES, LazyRows, Seen, Stored, blocks, digest_of_row, rows_by


def lazy_maps(
    count: int,
    read: Callable[[int], np.ndarray],
    size: tuple[int, int],
    dtype: type,
    what: str,
    str_of: Callable[[int], object],
) -> np.ndarray:
    """Return label maps [N, H, W] that are decoded when they are taken.

    Args:
      count: N of them.
      read: number -> [H, W] of `dtype`, brought to its size. Raises a UserError for a map that cannot be read.
      size: (H, W).
      dtype: of the maps.
      what: what they are, for messages and progress.
      str_of: number -> what a map is called in messages.
    """

    def look_through() -> Seen:
        digests = np.empty((count, DIGEST_BYTES), np.uint8)
        counts: list[np.ndarray] = [_NONE] * count

        def keep(i: int, label: np.ndarray) -> None:
            digests[i], counts[i] = digest_of_row(label[..., 0]), _counts_of(i, label)

        each_picture(count, lambda i: read(i)[..., None], (*size, 1), False, what, str_of, keep)
        return Seen(digests, np.concatenate([_NONE, *counts]))

    stored = Stored((count, *size), rows_by(read, size, dtype), look_through, np.dtype(dtype))
    return cast(np.ndarray, LazyRows(stored))


def lazy_map_array(array: np.ndarray) -> np.ndarray:
    """Return label maps [N, H, W] that are mapped from a file, of which rows are copied when they are taken."""

    def look_through() -> Seen:
        digests, counts, row = np.empty((len(array), DIGEST_BYTES), np.uint8), [_NONE], 0
        for block in blocks(array):
            for label in block:
                digests[row] = digest_of_row(label)
                counts.append(_counts_of(row, label))
                row += 1
        return Seen(digests, np.concatenate(counts))

    stored = Stored(array.shape, lambda places: np.asarray(array[places]), look_through, array.dtype)
    return cast(np.ndarray, LazyRows(stored))


def counts_by_map(labels: np.ndarray) -> np.ndarray:
    """Return what numbers label maps hold: [M, 3] int64, (map, number, how many of its pixels), map by map.

    Of maps that were looked through nothing is read; others are read some at a time.
    """
    if not isinstance(labels, LazyRows) or labels.seen is None or labels.seen.counts is None:
        found, row = [_NONE], 0
        for block in blocks(labels):
            found += [_counts_of(row + i, label) for i, label in enumerate(block)]
            row += len(block)
        return np.concatenate(found)
    counts = labels.seen.counts
    if labels.places is None:
        return counts
    starts = np.searchsorted(counts[:, 0], labels.places)
    lengths = np.searchsorted(counts[:, 0], labels.places, side='right') - starts
    rows = np.repeat(np.arange(len(labels)), lengths)
    # The lines of each map, one map after the other.
    lines = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(starts, lengths)
    return np.column_stack([rows, counts[lines, 1:]])


def numbers_in(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers that label maps hold, rising, and how many pixels have each: int64 both."""
    counts = counts_by_map(labels)
    numbers, places = np.unique(counts[:, 1], return_inverse=True)
    pixels = np.zeros(len(numbers), np.int64)
    np.add.at(pixels, places.reshape(-1), counts[:, 2])
    return numbers, pixels


_NONE = np.zeros((0, 3), np.int64)


def _counts_of(row: int, label: np.ndarray) -> np.ndarray:
    """Return the lines of one label map in `counts_by_map`."""
    flat = label.reshape(-1)
    if flat.dtype in (np.uint8, np.uint16):
        found = np.bincount(flat)
        numbers, pixels = np.flatnonzero(found), found[found > 0]
    else:
        numbers, pixels = np.unique(flat, return_counts=True)
    return np.column_stack([np.full(len(numbers), row), numbers, pixels]).astype(np.int64)
