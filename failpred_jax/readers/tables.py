"""Tables: csv, tsv and their relatives, parquet, Arrow and feather, JSON lines, all read by Arrow."""

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet

from failpred_jax.errors import NoRowsError, UserError, numbered
from failpred_jax.files import DAMAGE, decode_text
from failpred_jax.readers.columns import to_arrays
from failpred_jax.readers.numpy_files import ZIP, zipped_table
from failpred_jax.readers.reading import FORMATS, Arrays, Format
from failpred_jax.readers.written import words_of

_COMPRESSED: dict[bytes, Callable[[Any], Any]] = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ\x00': lzma.open}
_ZSTD = b'\x28\xb5\x2f\xfd'
_DELIMITERS = (',', ';', '\t', '|')
# Excel's own first line, which says what separates the cells.
_SEP_LINE = re.compile(rb'\s*"?sep=(?P<sep>[,;\t|])"?[ \t]*\r?\n', re.IGNORECASE)
# What is named so is no quantity: 007 and 18446744073709551615 are kept as they are written.
_IDENTITY = re.compile(r'(.*[_ .-])?(id|ids|group|groups)', re.IGNORECASE)
_WHOLE = '^(0|-?[1-9][0-9]{0,18})$'
# Arrow guesses types from the first block; a table this size is one block, so that all of it is looked at.
_BLOCK_BYTES = 2**30


def _content(path: Path) -> bytes:
    """Return the content of a text file, decompressed, as UTF-8 without a byte order mark."""
    data = path.read_bytes()
    try:
        if data.startswith(ZIP):
            data = _zipped(data, path)
        for magic, opener in _COMPRESSED.items():
            if data.startswith(magic):
                with opener(io.BytesIO(data)) as file:
                    data = file.read()
        if data.startswith(_ZSTD):
            data = pa.CompressedInputStream(pa.BufferReader(data), 'zstd').read()
    except DAMAGE as error:
        raise UserError(f"'{path}' is a damaged compressed file: {error}") from error
    return decode_text(data).encode()


def _zipped(data: bytes, path: Path) -> bytes:
    """Return the one table of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if not name.endswith('/') and not name.startswith('__MACOSX')]
        if len(names) == 1:
            return archive.read(names[0])
    raise UserError(f"'{path}' is a zip archive of {len(names)} files, such as '{names[0]}'; unpack it, and name one")


def _read_csv(path: Path) -> Arrays:
    data = _content(path)
    if b'\x00' in data[:4096]:
        with path.open('rb') as file:
            packed = file.read(8).startswith((*_COMPRESSED, _ZSTD, ZIP))
        hint = f'; only tables are read compressed: unpack it first (gunzip {path.name})' if packed else ''
        raise UserError(f"'{path}' is binary and of no format that is read here{hint}")
    return parse_csv(data, f"'{path}'")


def parse_csv(data: bytes, where: str, as_text: Collection[str] = (), is_part: bool = False) -> Arrays:
    """Return the arrays of a table of text.

    Args:
      data: UTF-8 with a header line.
      where: the name of the file, for messages.
      as_text: columns whose cells stay words, whatever they look like.
      is_part: whether these are some rows of a stream, of which every one counts.
    """
    given, told = data, _SEP_LINE.match(data)
    data, notes = _without_comments((data[told.end() :] if told else data).lstrip(b'\r\n'))
    first = data.lstrip().split(b'\n', 1)[0].decode()
    delimiter = told['sep'].decode() if told else max(_DELIMITERS, key=first.count)
    comma = delimiter != ',' and _has_decimal_commas(data, delimiter)
    header = _header(data, delimiter)
    identity = [name for name in header if _IDENTITY.fullmatch(name.strip()) and name.strip() not in as_text]
    texts = [name for name in header if name.strip() in as_text]
    if not is_part:
        notes += _cut_off(data, delimiter)

    def read(words: Collection[str], only: Collection[str] = ()) -> pa.Table:
        return pyarrow.csv.read_csv(
            io.BytesIO(data),
            read_options=pyarrow.csv.ReadOptions(block_size=min(max(len(data), 1) + 1, _BLOCK_BYTES)),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in data),
            convert_options=pyarrow.csv.ConvertOptions(
                decimal_point=',' if comma else '.',
                column_types=dict.fromkeys(words, pa.string()),
                include_columns=list(only),
            ),
        )

    try:
        table = read((*texts, *identity))
    except pa.ArrowInvalid as error:
        if (without := _without_blanks(given)) != given:
            return parse_csv(without, where, as_text, is_part)
        short = '' if data.endswith((b'\n', b'\r')) else '; the last line has no newline: was the file cut off?'
        reason = _plain(error) if is_part else _with_row(error, data, delimiter)
        raise UserError(f'{where} cannot be read as a table: {reason}{short}') from error
    if not is_part:
        table = _without_empty_end(table, notes)
    if table.num_rows == 0:
        raise NoRowsError(f'{where} has a header and no rows')
    table = _with_whole_numbers(table, identity)
    arrays = to_arrays(table, where, as_text)
    notes = [*notes, *arrays.notes]

    def rewritten(names: Collection[str]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        return words_of(table, arrays, names, notes, lambda columns: read(columns, columns))

    return Arrays(arrays, tuple(notes), rewritten)


def _without_blanks(data: bytes) -> bytes:
    """Return a table without lines of blanks, which are as empty as those that Arrow skips; in quotes a line may be."""
    return re.sub(rb' +\s*\Z', b'', data) if b'"' in data else re.sub(rb'(?m)^ +\r?(\n|\Z)', b'', data)


def _with_row(error: pa.ArrowInvalid, data: bytes, delimiter: str) -> str:
    """Return what Arrow says of a table that it cannot read, with the number of the row, known to one thread alone."""
    try:
        pyarrow.csv.read_csv(
            io.BytesIO(data),
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in data),
        )
    except pa.ArrowInvalid as again:
        # Arrow counts the header.
        return re.sub('Row #([0-9]+)', lambda found: f'row {int(found[1]) - 1}', _plain(again))
    return _plain(error)


def _header(data: bytes, delimiter: str) -> list[str]:
    """Return the names of the columns as Arrow will have them."""
    with contextlib.suppress(csv.Error):
        return next(csv.reader(io.StringIO(data[: 2**20].decode(errors='replace'), None), delimiter=delimiter), [])
    return []


def _without_empty_end(table: pa.Table, notes: list[str]) -> pa.Table:
    """Return a table without the rows at its end in which every cell is empty, as Excel leaves them."""
    rows = table.num_rows
    while rows and all(column[rows - 1].as_py() in (None, '') for column in table.columns):
        rows -= 1
    if 0 < rows < table.num_rows:
        left = table.num_rows - rows
        notes.append(f'{numbered(left, "row")} at the end without any value {"is" if left == 1 else "are"} left out')
        return table.slice(0, rows)
    return table


def _with_whole_numbers(table: pa.Table, names: Collection[str]) -> pa.Table:
    """Return a table with columns of words as int64 where each word is how such a number is written."""
    for name in names:
        place = table.column_names.index(name)
        words = pc.call_function('utf8_trim_whitespace', [table.column(place)])
        is_whole = pc.call_function('match_substring_regex', [words], pc.MatchSubstringOptions(_WHOLE))
        with contextlib.suppress(pa.ArrowInvalid):  # beyond int64
            if pc.call_function('all', [is_whole]).as_py() and not words.null_count:
                table = table.set_column(place, name, words.cast(pa.int64()))
    return table


def _without_comments(data: bytes) -> tuple[bytes, list[str]]:
    """Return a table without the lines before its header that begin with '#', and notes; '# a,b' may be the header."""
    notes = []
    while data.startswith(b'#') and b'\n' in data:
        line, rest = data.split(b'\n', 1)
        following = rest.split(b'\n', 1)[0]
        cells = {line.count(d.encode()) for d in _DELIMITERS if line.count(d.encode()) == following.count(d.encode())}
        if max(cells, default=0) > 0:
            # As numpy.savetxt writes a header.
            return data.lstrip(b'# '), notes
        notes.append(f"the line '{line.decode().strip()[:60]}' is left out: it is a comment")
        data = rest
    return data, notes


def _cut_off(data: bytes, delimiter: str) -> list[str]:
    """Return a sentence if a table seems to end within a number: without a newline, and in a shorter cell than any."""
    rows = data[-(2**16) :].split(b'\n')[1:]
    if len(rows) < 3 or not rows[-1].strip():
        return []
    *lengths, last = (len(row.strip().rpartition(delimiter.encode())[2]) for row in rows if row.strip())
    if last >= min(lengths):
        return []
    return [
        f"the last line, '{rows[-1].decode(errors='replace').strip()[-60:]}', does not end with a newline, and its "
        'last cell is shorter than any other: was the file cut off?'
    ]


def _has_decimal_commas(data: bytes, delimiter: str) -> bool:
    """Return whether the cells of the first rows write numbers as 0,5."""
    rows = data[: 2**16].decode(errors='replace').splitlines()[1:50]
    cells = [cell.strip().strip('"') for row in rows for cell in row.split(delimiter)]
    return any(c.count(',') == 1 and c.replace(',', '', 1).lstrip('+-').isdecimal() for c in cells)


def _plain(error: Exception) -> str:
    return (str(error).splitlines() or [''])[0][:300]


def _read_json(path: Path) -> Arrays:
    return parse_json(_content(path), f"'{path}'")


def parse_json(data: bytes, where: str) -> Arrays:
    """Return the arrays of JSON lines, or of one JSON array of objects; `where` names the file in messages."""
    try:
        if data.lstrip()[:1] == b'[':
            table = pa.Table.from_pylist(json.loads(data))
        else:
            table = _parse_lines(data)
    except (pa.ArrowException, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise UserError(
            f'{where} cannot be read as JSON lines, one object per line such as '
            f'{{"labels": 3, "logits": [0.1, 2.0]}}: {_plain(error)}'
        ) from error
    return to_arrays(table, where)


def _parse_lines(data: bytes) -> pa.Table:
    """Return JSON lines as a table, words as words: JSON has no times, but Arrow makes some of what looks like one."""
    options = pyarrow.json.ReadOptions(block_size=min(max(len(data), 1) + 1, _BLOCK_BYTES))
    table = pyarrow.json.read_json(io.BytesIO(data), read_options=options)
    words = [(field.name, pa.string()) for field in table.schema if pa.types.is_temporal(field.type)]
    if not words:
        return table
    known = pyarrow.json.ParseOptions(explicit_schema=pa.schema(words))
    parsed = pyarrow.json.read_json(io.BytesIO(data), read_options=options, parse_options=known)
    return parsed.select(table.column_names)


def _read_parquet(path: Path) -> Arrays:
    return _read_with(pyarrow.parquet.read_table, path)


def _read_arrow(path: Path) -> Arrays:
    def read(file: Path) -> pa.Table:
        try:
            return pyarrow.feather.read_table(file)
        except pa.ArrowInvalid:
            # A stream, as datasets.Dataset writes it.
            with pa.memory_map(str(file)) as source:
                return pa.ipc.open_stream(source).read_all()

    return _read_with(read, path)


def _read_with(read: Callable[[Path], pa.Table], path: Path) -> Arrays:
    try:
        table = read(path)
        # Arrow trusts what it reads: an offset that was damaged would lead anywhere.
        table.validate(full=True)
        return to_arrays(table, f"'{path}'")
    except (pa.ArrowException, *DAMAGE) as error:
        raise UserError(f"'{path}' is damaged or cannot be read: {_plain(error)}") from error


def _starts_with_json(path: Path, head: bytes) -> bool:
    start = head.removeprefix(b'\xef\xbb\xbf').lstrip()[:1]
    return start in (b'{', b'[') or _suffix(Path(zipped_table(head)) if head.startswith(ZIP) else path) in (
        '.jsonl',
        '.ndjson',
        '.json',
    )


def _suffix(path: Path) -> str:
    """Return the suffix of the content: '.csv' of 'x.csv.gz'."""
    kept = [s.lower() for s in path.suffixes if s.lower() not in ('.gz', '.bz2', '.xz', '.zst', '.zip', '.piped')]
    return kept[-1] if kept else ''


FORMATS.register('parquet')(
    Format('parquet', ('.parquet',), lambda path, head: head.startswith(b'PAR1'), _read_parquet, is_table=True)
)
FORMATS.register('arrow')(
    Format(
        'Arrow or feather',
        ('.arrow', '.feather'),
        lambda path, head: head.startswith((b'ARROW1', b'FEA1', b'\xff\xff\xff\xff')),
        _read_arrow,
        is_table=True,
    )
)
FORMATS.register('json')(Format('JSON lines', ('.jsonl', '.json'), _starts_with_json, _read_json, is_table=True))
FORMATS.register('csv')(
    Format('table', ('.csv', '.tsv', '.txt', '.csv.gz'), lambda path, head: path.is_file(), _read_csv, True, True)
)
