"""Which rows of a file were counted before: a file that is fed again, or that grew, is not counted twice.

Of each file that was taken, digests are kept: of its first rows, and of all that were taken. Another file whose first
rows are the same must begin with all of them, and is gone on with after them. Digests are over what a monitor reads of
a row but for its label, in order, times as instants, so they depend neither on the format nor on how the file is cut
into parts.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.monitor.columns import Rows

# Files that are remembered.
MOST_FILES = 100
# First rows, by which a file is recognized; without ids and times, files of fewer are never taken for the same.
HEAD_ROWS = 20
UNKNOWN = -1
_WORDS = ('ids', 'times', 'group')
_NUMBERS = ('confidence', 'is_known', 'predicted', 'agreement')


class Taken(NamedTuple):
    """A file that was counted.

    Attributes:
      num_rows: rows that were taken.
      head: digest of its first rows: HEAD_ROWS, or all where there are fewer.
      digest: of all rows that were taken.
      is_named: whether they have ids or times.
      num_labeled: rows that had a label when they were counted; UNKNOWN where a state does not say.
    """

    num_rows: int
    head: str
    digest: str
    is_named: bool
    num_labeled: int = UNKNOWN


class Digest:
    """A digest of rows, the same however they are cut into parts."""

    def __init__(self) -> None:
        self.num_rows = 0
        self.is_named = False
        self.head = ''
        self._of = {name: hashlib.blake2b(digest_size=16) for name in (*_WORDS, *_NUMBERS)}

    def add(self, rows: Rows) -> None:
        """Take further rows."""
        missing = HEAD_ROWS - self.num_rows
        if 0 < missing < len(rows.code):
            self.add(rows.take(slice(None, missing)))
            rows = rows.take(slice(missing, None))
        for name in _NUMBERS:
            column = getattr(rows, name)
            if column.dtype.kind == 'f':
                # One NaN is as good as another, and so are the two zeros.
                column = np.where(np.isnan(column), np.nan, column + 0.0)
            self._of[name].update(np.ascontiguousarray(column).tobytes())
        for name in _WORDS:
            of_rows = getattr(rows, name).tolist()
            if name == 'times':
                of_rows = [instant(word) for word in of_rows]
            self._of[name].update(''.join(f'{len(word)}:{word}' for word in of_rows).encode())
        self.num_rows += len(rows.code)
        self.is_named |= bool((rows.ids != '').any() or (rows.times != '').any())
        if self.num_rows <= HEAD_ROWS:
            self.head = self.value()

    def value(self) -> str:
        """Return the digest of the rows so far."""
        whole = hashlib.blake2b(digest_size=16)
        for found in self._of.values():
            whole.update(found.digest())
        return whole.hexdigest()

    def taken(self, num_labeled: int) -> Taken:
        """Return what is kept of a file that ends here, of which so many rows were counted with a label."""
        return Taken(self.num_rows, self.head, self.value(), self.is_named, num_labeled)


def instant(word: str) -> str:
    """Return the same text for every way to write an instant, to the microsecond; other words stay as they are.

    What names no time zone is taken for UTC, which is how a table in binary holds every instant.
    """
    if word[4:5] != '-':
        return word
    try:
        found = datetime.fromisoformat(word)
        return (found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)).isoformat()
    except (ValueError, OverflowError):
        return word


def find_counted(parts: Iterable[Rows], files: Sequence[Taken], where: str) -> Taken | None:
    """Return the file, counted before, that another one repeats or goes on; None for rows that are new.

    Args:
      parts: of the other file, in order; they are read as far as is needed.
      files: those that were counted.
      where: what is read, for messages.

    Raises:
      UserError: it begins as one of them does and goes on otherwise, so that some rows would be counted twice.
    """
    alike = [file for file in files if file.is_named or file.num_rows >= HEAD_ROWS]
    places = {min(file.num_rows, HEAD_ROWS) for file in alike} | {file.num_rows for file in alike}
    digest, found = Digest(), None
    for rows in _cut(parts, places):
        digest.add(rows)
        num, value = digest.num_rows, digest.value()
        alike = [file for file in alike if min(file.num_rows, HEAD_ROWS) != num or file.head == value]
        found = next((file for file in alike if (file.num_rows, file.digest) == (num, value)), found)
        if all(file.num_rows <= num for file in alike):
            break
    num_found = found.num_rows if found else 0
    for file in alike:
        if file.is_named and file.num_rows > num_found and digest.num_rows >= min(file.num_rows, HEAD_ROWS):
            raise UserError(
                f'{where} begins with the same rows (ids, times and confidences) as a file that was counted before, '
                f'but not with all the {file.num_rows:,} rows that were counted of it: some are changed, gone or '
                'elsewhere, and would be counted twice. Give the rows that are new alone, or begin a new --state'
            )
    return found


def _cut(parts: Iterable[Rows], places: set[int]) -> Iterator[Rows]:
    """Yield the rows of parts, cut at some places (numbers of rows) besides."""
    start = 0
    for rows in parts:
        end = start + len(rows.code)
        at = [start, *sorted(place for place in places if start < place < end), end]
        for first, last in zip(at, at[1:], strict=False):
            yield rows.take(slice(first - start, last - start))
        start = end


def with_file(files: Sequence[Taken], new: Taken, grown: Taken | None) -> tuple[Taken, ...]:
    """Return the files that are remembered after a new one, which takes the place of the one that it goes on."""
    others = tuple(file for file in files if file not in (new, grown))
    return (*others, new)[-MOST_FILES:] if new.num_rows else tuple(files)


def files_from_json(content: Any) -> tuple[Taken, ...]:
    """Return the files of a state; one from before they were kept has none."""
    return tuple(
        # States from before labels were counted do not say how many there were.
        Taken(int(num), str(head), str(digest), bool(named), int(more[0]) if more else UNKNOWN)
        for num, head, digest, named, *more in content
    )
