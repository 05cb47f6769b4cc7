"""From a path (or a pipe) to named arrays, whatever the format; nothing is ever unpickled."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.registry import Registry

FORMATS = Registry('file format', 'failpred_jax.readers')
PIPE = '-'
# The first bytes by which formats know their files.
HEAD_BYTES = 4096


class Arrays(dict[str, np.ndarray]):
    """Named arrays as a file holds them.

    Attributes:
      notes: sentences on what was read otherwise than it is stored.
      rewritten: names of columns of text -> (those of them whose words a number or truth value would lose, [N] words
        each; notes for all columns); None for formats that store types.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        notes: tuple[str, ...] = (),
        rewritten: Callable[[Collection[str]], tuple[dict[str, np.ndarray], tuple[str, ...]]] | None = None,
    ):
        super().__init__(arrays)
        self.notes, self.rewritten = notes, rewritten

    def as_written(self, names: Collection[str]) -> 'Arrays':
        """Return the arrays with some columns as they are written, where what was read of them would lose that.

        As numbers, the firmware 1.10 is that of 1.1, and the code 0123 is 123. What is written as numbers are written,
        and is there in no two forms, stays numbers.
        """
        if self.rewritten is None or not names:
            return self
        words, notes = self.rewritten(names)
        return Arrays({**self, **words}, notes)


@dataclass(frozen=True)
class Format:
    """One format of files.

    Attributes:
      name: as people call it, with its usual suffixes.
      suffixes: of file names, with the dot and in lower case; they decide only where content does not.
      matches: (path, first bytes) -> whether the content is of this format. A folder has no first bytes.
      read: path -> Arrays. Raises UserError, which names what was found and what to do.
      is_last_resort: tried after all others, as text is that has no mark of its own.
      is_table: whether it holds columns of equal length, in which a column `part` says of which part a row is.
      map: as `read`, but arrays stay in the file where they can (np.memmap); None for formats that have none such.
    """

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[Path, bytes], bool]
    read: Callable[[Path], Arrays]
    is_last_resort: bool = False
    is_table: bool = False
    map: Callable[[Path], Arrays] | None = None


def read_file(path: Path, in_place: bool = False) -> Arrays:
    """Return the named arrays of a file in any registered format.

    Args:
      path: a file, a folder of .npy files, or '-' for standard input.
      in_place: whether arrays stay in the file where they can, which must then not be changed while they are used.

    Raises:
      UserError: it is missing, empty, damaged, or of no format that is read here.
    """
    if str(path) == PIPE:
        with spooled_input() as file:
            try:
                return read_file(file)
            except UserError as error:
                # The file is ours, and gone.
                raise type(error)(str(error).replace(f"'{file}'", 'standard input')) from error
    if not path.exists():
        raise UserError(f"there is no file '{path}'; give one of: {_known()}")
    head = b''
    if path.is_file():
        try:
            with path.open('rb') as file:
                head = file.read(HEAD_BYTES)
        except OSError as error:
            raise UserError(f"'{path}' cannot be read: {error.strerror or error}") from error
        if not head:
            raise UserError(f"'{path}' is empty; give one of: {_known()}")
    chosen = _format_of(path, head)
    if chosen is None:
        raise UserError(f"'{path}' is of no format that can be read here; give one of: {_known()}")
    return (chosen.map or chosen.read)(path) if in_place else chosen.read(path)


def is_table(path: Path) -> bool:
    """Return whether a file that was read is a table, of one of the formats that are."""
    head = b''
    if path.is_file():
        with path.open('rb') as file:
            head = file.read(HEAD_BYTES)
    chosen = _format_of(path, head)
    return chosen is not None and chosen.is_table


def _format_of(path: Path, head: bytes) -> Format | None:
    formats = sorted((FORMATS[name] for name in FORMATS), key=lambda f: f.is_last_resort)
    return next((f for f in formats if f.matches(path, head)), None)


def _known() -> str:
    return ', '.join(f'{FORMATS[name].name} ({" ".join(FORMATS[name].suffixes)})' for name in sorted(FORMATS))


@contextlib.contextmanager
def spooled_input() -> Iterator[Path]:
    """Yield a file with all of standard input, since formats need to seek; it is gone afterwards."""
    with tempfile.NamedTemporaryFile(prefix='piped_', suffix='.piped') as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield Path(file.name)
