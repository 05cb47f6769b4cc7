"""A stream in parts, so that memory does not grow with it: text as it comes, parquet by its batches."""

import contextlib
import json
import os
import select
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import NoRowsError, UserError
from failpred_jax.prediction_file.class_words import classes_as_written
from failpred_jax.prediction_file.names import meaning_of, stem_of
from failpred_jax.readers.columns import to_arrays
from failpred_jax.readers.reading import HEAD_BYTES, PIPE, read_file
from failpred_jax.readers.tables import parse_csv, parse_json

# At most so many bytes of text are parsed at once.
BLOCK_BYTES = 2**22
_BATCH_ROWS = 50_000
# A name that is a number stays as it is written, in whichever part of the stream.
_NAMES = ('id', 'ids', 'group', 'groups', 'time', 'timestamp', 'date')
_AS_TEXT = tuple(change(name) for name in _NAMES for change in (str.lower, str.capitalize, str.upper))
_COMPRESSED = (b'\x1f\x8b', b'BZh', b'\xfd7zXZ\x00', b'\x28\xb5\x2f\xfd')
_BINARY = (b'PK\x03\x04', b'ARROW1', b'FEA1', b'\xff\xff\xff\xff', b'\x93NUMPY')

Arrays = Mapping[str, np.ndarray]


def read_chunks(
    stream: Path,
    waiting: Callable[[], Any] = contextlib.nullcontext,
    left: list[str] | None = None,
    as_text: Sequence[str] = (),
) -> Iterator[tuple[Arrays, str]]:
    """Yield parts of a stream, (name -> [n] or [n, C], where it is for messages), in order.

    The last line of a file of text that does not end with a newline may still be being written: half a number is a
    number. Unless it is a whole JSON object, it is not read.

    Args:
      stream: a file of any format of readers/, or '-' for standard input.
      waiting: makes a context in which input of a pipe is waited for, and nothing else is done.
      left: receives the line that is not read.
      as_text: further columns of text whose cells stay as they are written.

    Raises:
      NoRowsError: it has a header and no rows.
      UserError: it is missing, empty, or cannot be read.
    """
    if str(stream) == PIPE:
        yield from _of_pipe(sys.stdin.buffer, waiting, as_text)
        return
    head = b''
    if stream.is_file():
        with stream.open('rb') as file:
            head = file.read(HEAD_BYTES)
    if not head or _is_whole(head) or stream.suffix in ('.safetensors', '.pt', '.pth'):
        # read_file says what is wrong with what is missing or empty.
        stored = read_file(stream)
        yield classes_as_written(stored, _classes(stored), as_text), f"'{stream}'"
    elif head.startswith(b'PAR1'):
        yield from _of_parquet(stream)
    else:
        with stream.open('rb') as file:
            yield from _of_text(lambda: file.read(BLOCK_BYTES), f"'{stream}'", [] if left is None else left, as_text)


def _is_whole(head: bytes) -> bool:
    """Return whether what begins so is read as a whole: what needs seeking, compressed text, UTF-16, one JSON array."""
    return head.startswith((*_BINARY, *_COMPRESSED, b'\xff\xfe', b'\xfe\xff')) or head.lstrip()[:1] == b'['


def _of_pipe(pipe: Any, waiting: Callable[[], Any], as_text: Sequence[str]) -> Iterator[tuple[Arrays, str]]:
    def read() -> bytes:
        try:
            number = pipe.fileno()
        except OSError:
            return pipe.read(BLOCK_BYTES)
        with waiting():
            # Nothing is taken out of the pipe where a signal may interrupt.
            select.select([number], [], [])
        return os.read(number, BLOCK_BYTES)

    first = b''
    # Enough to know the format by.
    while len(first) < 8 and (more := read()):
        first += more
    if not first.strip():
        raise UserError('standard input is empty; pipe rows with a header into it')
    if first.startswith(b'PAR1') or _is_whole(first):
        with tempfile.TemporaryDirectory(prefix='piped_') as folder:
            path = Path(folder) / 'stream.piped'
            with path.open('wb') as file:
                file.write(first)
                shutil.copyfileobj(pipe, file)
            yield from ((arrays, 'standard input') for arrays, _ in read_chunks(path, as_text=as_text))
        return
    blocks = iter([first])
    yield from _of_text(lambda: next(blocks, None) or read(), 'standard input', None, as_text)


def _of_parquet(path: Path) -> Iterator[tuple[Arrays, str]]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if not file.metadata.num_rows:
                raise NoRowsError(f"'{path}' holds no rows")
            for batch in file.iter_batches(_BATCH_ROWS):
                table = pa.Table.from_batches([batch])
                table.validate(full=True)
                yield to_arrays(table, f"'{path}'"), f"'{path}'"
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"'{path}' is damaged or cannot be read: {str(error).splitlines()[0][:300]}") from error


def _of_text(
    read: Callable[[], bytes], where: str, left: list[str] | None, as_text: Sequence[str]
) -> Iterator[tuple[Arrays, str]]:
    """Yield the parts of a csv table or of JSON lines, each of whole rows, as they can be read.

    Where `left` is given, a last line that may still be being written goes there; else it is a row.
    """
    kept, header, has_rows, is_json = b'', None, False, False
    while True:
        block = read()
        kept += block
        cut = _end_of_rows(kept) if block or left is not None else len(kept)
        if not block and _is_object(kept[cut:]):
            cut = len(kept)
        rows, kept = kept[:cut], kept[cut:]
        if header is None and rows.strip():
            rows = rows.removeprefix(b'\xef\xbb\xbf').lstrip()
            is_json = rows[:1] == b'{'
            header, rows = (b'', rows) if is_json else _header(rows)
            _check_text(header + rows, where)
        if rows.strip():
            has_rows = True
            yield _parse(is_json, header or b'', rows, where, as_text), where
        if not block:
            break
    if left is not None and kept.strip():
        left.append(kept.decode(errors='replace').strip())
    if header is None and kept.strip():
        raise NoRowsError(f'{where} has no line that ends with a newline')
    if header is None:
        raise UserError(f'{where} is empty; give rows with a header')
    if not has_rows:
        raise NoRowsError(f'{where} has a header and no rows')


def _is_object(line: bytes) -> bool:
    """Return whether a line is JSON, which half of an object never is."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _check_text(data: bytes, where: str) -> None:
    if b'\x00' in data:
        raise UserError(f'{where} is binary and of no format that is read here')


def _header(rows: bytes) -> tuple[bytes, bytes]:
    line, _, rest = rows.partition(b'\n')
    return line + b'\n', rest


def _end_of_rows(data: bytes) -> int:
    """Return where the last whole row ends: at a line's end that is within no quotes."""
    end = data.rfind(b'\n') + 1
    while end and data.count(b'"', 0, end) % 2:
        end = data.rfind(b'\n', 0, end - 1) + 1
    return end


def _parse(is_json: bool, header: bytes, rows: bytes, where: str, as_text: Sequence[str]) -> Arrays:
    # What is not UTF-8 is most often Windows' western code page.
    data = header + rows
    try:
        data.decode('utf-8')
    except UnicodeDecodeError:
        data = data.decode('cp1252', errors='replace').encode()
    if is_json:
        return parse_json(data, where)
    stored = parse_csv(data, where, as_text=(*_AS_TEXT, *as_text), is_part=True)
    return classes_as_written(stored, _classes(stored))


def _classes(stored: Arrays) -> list[str]:
    return [name for name in stored if stem_of(meaning_of(name), stored[name]) in ('labels', 'predicted')]
