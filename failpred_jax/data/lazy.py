"""Images that stay in their files until their rows are asked for: data sets larger than memory.

The order of training, the split and the resuming of a run know nothing of it: they ask for rows by number, and get the
bits that a set in memory has. What needs every image once (whether all can be read, whether two are the same, what the
set is) is found in one pass and kept by the cache, so that the next start needs no pass.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np

from failpred_jax.data.decoding import BLOCK, as_one_size, each_picture, num_threads
from failpred_jax.errors import UserError

# Of a row's content; two rows with one digest are taken for the same image only after they have been compared.
DIGEST_BYTES = 16
# Held at a time where all rows are passed.
_PASS_BYTES = 2**26
T = TypeVar('T')
ReadRows = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Stored:
    """Images where they are stored.

    Attributes:
      shape: (N, H, W, channels).
      read: numbers [M] -> [M, H, W, channels] uint8. Raises a UserError for images that cannot be read.
      look_through: () -> digests [N, DIGEST_BYTES] uint8 of all images. Raises a UserError that names all that cannot
        be read.
    """

    shape: tuple[int, int, int, int]
    read: ReadRows
    look_through: Callable[[], np.ndarray]


class LazyImages:
    """Images [N, H, W, channels] uint8 that are read when rows of them are taken, as those of an array are.

    Args:
      stored: where they are.
      places: [N] which of the stored ones, in which order; None for all.
      digests: [N, DIGEST_BYTES] of these, once the stored ones were looked through.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, stored: Stored, places: np.ndarray | None = None, digests: np.ndarray | None = None):
        self.stored, self.digests = stored, digests
        self._places = places

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, channels)."""
        return (self.stored.shape[0] if self._places is None else len(self._places), *self.stored.shape[1:])

    @property
    def size(self) -> int:
        """How many numbers they hold."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """What they would take in memory."""
        return self.size

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Read some rows: a number, a slice, or an array of numbers or of truth values, of any shape."""
        if isinstance(rows, int | np.integer):
            return self[np.array([range(len(self))[rows]])][0]
        numbers = np.arange(len(self))[rows]
        if not isinstance(rows, slice | np.ndarray | list):
            raise TypeError(f'images are taken by rows, not by {rows!r}')
        places = numbers.reshape(-1) if self._places is None else self._places[numbers.reshape(-1)]
        return self.stored.read(places).reshape(*numbers.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of them, for whoever has room for that."""
        del copy
        return self[:].astype(dtype or np.uint8, copy=False)

    def part(self, rows: np.ndarray) -> 'LazyImages':
        """Return some of them, as numbers [M] or truth values [N], which are read no sooner than these."""
        numbers = np.arange(len(self))[rows]
        places = numbers if self._places is None else self._places[numbers]
        return LazyImages(self.stored, places, None if self.digests is None else self.digests[numbers])

    def looked_through(self, digests: np.ndarray | None = None) -> 'LazyImages':
        """Return them with the digests of all rows: those that are given, or else found by reading every image once."""
        return LazyImages(self.stored, self._places, self.stored.look_through() if digests is None else digests)


def part_of(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some images, without reading any that stay where they are."""
    return cast(np.ndarray, images.part(rows)) if isinstance(images, LazyImages) else images[rows]


def lazy_pictures(
    count: int,
    read: Callable[[int], np.ndarray],
    shape: tuple[int, int, int],
    resize: bool,
    what: str,
    str_of: Callable[[int], object],
) -> np.ndarray:
    """Return pictures that are decoded when they are taken; the arguments are those of `decoding.decode`."""

    def read_rows(places: np.ndarray) -> np.ndarray:
        images = np.empty((len(places), *shape), np.uint8)

        def fill(start: int) -> None:
            for i in range(start, min(start + BLOCK, len(places))):
                number = int(places[i])
                images[i] = as_one_size(read(number), shape, resize, str_of(number))

        _on_all_cores(fill, range(0, len(places), BLOCK))
        return images

    def look_through() -> np.ndarray:
        digests = np.empty((count, DIGEST_BYTES), np.uint8)

        def keep(i: int, picture: np.ndarray) -> None:
            digests[i] = _digest_of(picture)

        each_picture(count, read, shape, resize, what, str_of, keep)
        return digests

    return cast(np.ndarray, LazyImages(Stored((count, *shape), read_rows, look_through)))


def lazy_array(array: np.ndarray) -> np.ndarray:
    """Return images [N, H, W, channels] that are mapped from a file, of which rows are copied when they are taken."""

    def look_through() -> np.ndarray:
        return row_digests(array)

    shape = cast(tuple[int, int, int, int], array.shape)
    return cast(np.ndarray, LazyImages(Stored(shape, lambda places: np.asarray(array[places]), look_through)))


def row_digests(images: np.ndarray) -> np.ndarray:
    """Return the digests of images: [N, DIGEST_BYTES] uint8, the same whether they are in memory or not."""
    if isinstance(images, LazyImages) and images.digests is not None:
        return images.digests
    found = [_digest_of(row) for block in blocks(images) for row in block]
    return np.stack(found) if found else np.zeros((0, DIGEST_BYTES), np.uint8)


def blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield images some at a time, in order."""
    step = max(1, _PASS_BYTES // max(1, int(np.prod(images.shape[1:], dtype=np.int64)) * images.dtype.itemsize))
    for start in range(0, len(images), step):
        yield images[start : start + step]


def is_lazy(images: np.ndarray | None) -> bool:
    """Return whether images are read when they are taken."""
    return isinstance(images, LazyImages)


class ReadAhead:
    """Reads the images that will probably be wanted next in a thread, while the devices work on those before.

    Args:
      images: of which rows are taken.
    """

    def __init__(self, images: np.ndarray):
        self._images = images
        self._pool = ThreadPoolExecutor(1, 'reading ahead')
        self._begun: tuple[np.ndarray, Future[np.ndarray]] | None = None

    def begin(self, rows: np.ndarray) -> None:
        """Begin to read the images of some rows [M]."""
        self._begun = rows, self._pool.submit(self._images.__getitem__, rows)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the images of some rows [M], those that were not begun by reading them now."""
        begun, self._begun = self._begun, None
        if begun is None:
            return self._images[rows]
        common = min(len(rows), len(begun[0]))
        if not np.array_equal(rows[:common], begun[0][:common]):
            begun[1].cancel()
            return self._images[rows]
        found = begun[1].result()[:common]
        return found if common == len(rows) else np.concatenate([found, self._images[rows[common:]]])


def _digest_of(row: np.ndarray) -> np.ndarray:
    found = hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=DIGEST_BYTES)
    return np.frombuffer(found.digest(), np.uint8)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_threads(), 'decoding')


def _on_all_cores(function: Callable[[int], T], starts: range) -> None:
    """Call a function of each start, on threads that stay; the first error is raised."""
    if len(starts) < 2:
        for start in starts:
            function(start)
        return
    waiting = [_pool().submit(function, start) for start in starts]
    try:
        for future in waiting:
            future.result()
    except UserError:
        for future in waiting:
            future.cancel()
        raise
