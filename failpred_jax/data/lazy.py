"""Images and label maps that stay in their files until their rows are asked for: data sets larger than memory.

The order of training, the split and the resuming of a run know nothing of it: they ask for rows by number, and get the
bits that a set in memory has. What needs every row once (whether all can be read, whether two are the same, which
classes there are, what the set is) is found in one pass and kept by the cache, so that the next start needs no pass.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from failpred_jax.data.decoding import BLOCK, as_one_size, each_picture, num_threads
from failpred_jax.errors import UserError

# Of a row's content; two rows with one digest are taken for the same image only after they have been compared.
DIGEST_BYTES = 16
# Held at a time where all rows are passed.
_PASS_BYTES = 2**26
T = TypeVar('T')
ReadRows = Callable[[np.ndarray], np.ndarray]


class Seen(NamedTuple):
    """What one pass over all stored rows finds.

    Attributes:
      digests: [N, DIGEST_BYTES] uint8, of images and of label maps.
      counts: [M, 3] int64, of label maps: (which of the N, a number, how many of its pixels have it), in order.
      classes: [N] int32, of labels that are one number each: all of them.
    """

    digests: np.ndarray | None = None
    counts: np.ndarray | None = None
    classes: np.ndarray | None = None


@dataclass(frozen=True)
class Stored:
    """Rows where they are stored.

    Attributes:
      shape: (N, H, W, channels) of images, (N, H, W) of label maps, (N,) of labels that come with images.
      read: numbers [M] -> their rows [M, ...] of `dtype`. Raises a UserError for what cannot be read.
      look_through: reads every row once. Raises a UserError that names all that cannot be read.
      dtype: of images uint8.
    """

    shape: tuple[int, ...]
    read: ReadRows
    look_through: Callable[[], Seen]
    dtype: np.dtype = np.dtype(np.uint8)


class LazyRows:
    """Images [N, H, W, channels] or label maps [N, H, W] that are read when rows are taken, as those of an array are.

    Args:
      stored: where they are.
      places: [N] which of the stored ones, in which order; None for all.
      seen: of all stored ones, once they were looked through.
      dtype: of the rows that are taken; None for that of the stored ones.
    """

    def __init__(self, stored: Stored, places: np.ndarray | None = None, seen: Seen | None = None, dtype: Any = None):
        self.stored, self.places, self.seen = stored, places, seen
        self.dtype = stored.dtype if dtype is None else np.dtype(dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, channels), or (N, H, W)."""
        return (self.stored.shape[0] if self.places is None else len(self.places), *self.stored.shape[1:])

    @property
    def ndim(self) -> int:
        """4 of images, 3 of label maps."""
        return len(self.stored.shape)

    @property
    def size(self) -> int:
        """How many numbers they hold."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """What they would take in memory."""
        return self.size * self.dtype.itemsize

    @property
    def digests(self) -> np.ndarray | None:
        """[N, DIGEST_BYTES] uint8 of these, once the stored ones were looked through."""
        if self.seen is None or self.seen.digests is None:
            return None
        return self.seen.digests if self.places is None else self.seen.digests[self.places]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Read some rows: a number, a slice, or an array of numbers or of truth values, of any shape."""
        if isinstance(rows, int | np.integer):
            return self[np.array([range(len(self))[rows]])][0]
        numbers = np.arange(len(self))[rows]
        if not isinstance(rows, slice | np.ndarray | list):
            raise TypeError(f'images are taken by rows, not by {rows!r}')
        places = numbers.reshape(-1) if self.places is None else self.places[numbers.reshape(-1)]
        found = self.stored.read(places).astype(self.dtype, copy=False)
        return found.reshape(*numbers.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of them, for whoever has room for that."""
        del copy
        return self[:].astype(dtype or self.dtype, copy=False)

    def part(self, rows: np.ndarray) -> 'LazyRows':
        """Return some of them, as numbers [M] or truth values [N], which are read no sooner than these."""
        numbers = np.arange(len(self))[rows]
        return LazyRows(self.stored, numbers if self.places is None else self.places[numbers], self.seen, self.dtype)

    def of_type(self, dtype: Any) -> 'LazyRows':
        """Return the same rows, which become of another type when they are taken."""
        return LazyRows(self.stored, self.places, self.seen, dtype)

    def looked_through(self, seen: Seen | None = None) -> 'LazyRows':
        """Return them with what is seen of all stored rows: what is given, or else by reading each once."""
        seen = self.stored.look_through() if seen is None else seen
        return LazyRows(self.stored, self.places, seen, self.dtype)


def part_of(rows_of: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some rows, without reading any that stay where they are."""
    return cast(np.ndarray, rows_of.part(rows)) if isinstance(rows_of, LazyRows) else rows_of[rows]


def lazy_pictures(
    count: int,
    read: Callable[[int], np.ndarray],
    shape: tuple[int, int, int],
    resize: bool,
    what: str,
    str_of: Callable[[int], object],
) -> np.ndarray:
    """Return pictures that are decoded when they are taken; the arguments are those of `decoding.decode`."""

    def row(number: int) -> np.ndarray:
        return as_one_size(read(number), shape, resize, str_of(number))

    def look_through() -> Seen:
        digests = np.empty((count, DIGEST_BYTES), np.uint8)

        def keep(i: int, picture: np.ndarray) -> None:
            digests[i] = digest_of_row(picture)

        each_picture(count, read, shape, resize, what, str_of, keep)
        return Seen(digests)

    return cast(np.ndarray, LazyRows(Stored((count, *shape), rows_by(row, shape, np.uint8), look_through)))


def rows_by(row: Callable[[int], np.ndarray], shape: tuple[int, ...], dtype: Any) -> ReadRows:
    """Return how to read rows on all cores where one is read by `row`: number -> a row of that shape."""

    def read_rows(places: np.ndarray) -> np.ndarray:
        found = np.empty((len(places), *shape), dtype)

        def fill(start: int) -> None:
            for i in range(start, min(start + BLOCK, len(places))):
                found[i] = row(int(places[i]))

        _on_all_cores(fill, range(0, len(places), BLOCK))
        return found

    return read_rows


def lazy_array(array: np.ndarray) -> np.ndarray:
    """Return images [N, H, W, channels] that are mapped from a file, of which rows are copied when they are taken."""

    def look_through() -> Seen:
        return Seen(row_digests(array))

    return cast(np.ndarray, LazyRows(Stored(array.shape, lambda places: np.asarray(array[places]), look_through)))


def row_digests(rows: np.ndarray) -> np.ndarray:
    """Return the digests of images or label maps: [N, DIGEST_BYTES] uint8, the same in memory and in any type."""
    if isinstance(rows, LazyRows) and (digests := rows.digests) is not None:
        return digests
    found = [digest_of_row(row) for block in blocks(rows) for row in block]
    return np.stack(found) if found else np.zeros((0, DIGEST_BYTES), np.uint8)


def blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rows some at a time, in order."""
    step = max(1, _PASS_BYTES // max(1, int(np.prod(rows.shape[1:], dtype=np.int64)) * rows.dtype.itemsize))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def is_lazy(rows: Any) -> bool:
    """Return whether images or label maps are read when they are taken."""
    return isinstance(rows, LazyRows)


class ReadAhead:
    """Reads the rows that will probably be wanted next in a thread, while the devices work on those before.

    Args:
      source: of which rows are taken.
    """

    def __init__(self, source: np.ndarray):
        self.source = source
        self._pool = ThreadPoolExecutor(1, 'reading ahead')
        self._begun: tuple[np.ndarray, Future[np.ndarray]] | None = None

    def begin(self, rows: np.ndarray) -> None:
        """Begin to read some rows [M]."""
        self._begun = rows, self._pool.submit(self.source.__getitem__, rows)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return some rows [M], those that were not begun by reading them now."""
        begun, self._begun = self._begun, None
        if begun is None:
            return self.source[rows]
        common = min(len(rows), len(begun[0]))
        if not np.array_equal(rows[:common], begun[0][:common]):
            begun[1].cancel()
            return self.source[rows]
        found = begun[1].result()[:common]
        return found if common == len(rows) else np.concatenate([found, self.source[rows[common:]]])


def readers_ahead(*sources: np.ndarray | None) -> list[ReadAhead]:
    """Return a reader for each of those that are read when they are taken."""
    return [ReadAhead(source) for source in sources if source is not None and is_lazy(source)]


def digest_of_row(row: np.ndarray) -> np.ndarray:
    """Return the digest of an image [H, W, channels] uint8 or a label map [H, W] of any type: [DIGEST_BYTES] uint8."""
    if row.ndim == 2:
        # As the smallest type that holds it: what its source stored it in is no part of what it is.
        is_small = not row.size or (row.min() >= 0 and row.max() <= 255)
        row = row.astype(np.uint8 if is_small else np.int64)
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
