"""Tables: csv, tsv and their relatives, parquet, Arrow and feather, JSON lines, all read by Arrow."""

import bz2
import gzip
import io
import json
import lzma
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet

from failpred_jax.errors import NoRowsError, UserError
from failpred_jax.files import DAMAGE, decode_text
from failpred_jax.readers.columns import to_arrays
from failpred_jax.readers.reading import FORMATS, Arrays, Format

_COMPRESSED: dict[bytes, Callable[[Any], Any]] = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ\x00': lzma.open}
_ZSTD = b'\x28\xb5\x2f\xfd'
_DELIMITERS = (',', ';', '\t', '|')
# Excel's own first line, which says what separates the cells.
_SEP_LINE = re.compile(rb'\s*"?sep=(?P<sep>[,;\t|])"?[ \t]*\r?\n', re.IGNORECASE)
# Arrow guesses types from the first block; a table this size is one block, so that all of it is looked at.
_BLOCK_BYTES = 2**30


def _content(path: Path) -> bytes:
    """Return the content of a text file, decompressed, as UTF-8 without a byte order mark."""
    data = path.read_bytes()
    try:
        for magic, opener in _COMPRESSED.items():
            if data.startswith(magic):
                with opener(io.BytesIO(data)) as file:
                    data = file.read()
        if data.startswith(_ZSTD):
            data = pa.CompressedInputStream(pa.BufferReader(data), 'zstd').read()
    except DAMAGE as error:
        raise UserError(f"'{path}' is a damaged compressed file: {error}") from error
    return decode_text(data).encode()


def _read_csv(path: Path) -> Arrays:
    data = _content(path)
    if b'\x00' in data[:4096]:
        raise UserError(f"'{path}' is binary and of no format that is read here")
    return parse_csv(data, f"'{path}'")


def parse_csv(data: bytes, where: str, as_text: Collection[str] = (), can_be_one: bool = False) -> Arrays:
    """Return the arrays of a table of text.

    Args:
      data: UTF-8 with a header line.
      where: the name of the file, for messages.
      as_text: columns whose cells stay words, whatever they look like.
      can_be_one: whether a table of one column makes sense.
    """
    told = _SEP_LINE.match(data)
    data = data[told.end() :] if told else data
    first = data.lstrip().split(b'\n', 1)[0].decode()
    delimiter = told['sep'].decode() if told else max(_DELIMITERS, key=first.count)
    comma = delimiter != ',' and _has_decimal_commas(data, delimiter)
    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(data.lstrip(b'\r\n')),
            read_options=pyarrow.csv.ReadOptions(block_size=min(max(len(data), 1) + 1, _BLOCK_BYTES)),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in data),
            convert_options=pyarrow.csv.ConvertOptions(
                decimal_point=',' if comma else '.', column_types=dict.fromkeys(as_text, pa.string())
            ),
        )
    except pa.ArrowInvalid as error:
        raise UserError(f'{where} cannot be read as a table: {_plain(error)}') from error
    if table.num_rows == 0:
        raise NoRowsError(f'{where} has a header and no rows')
    if table.num_columns == 1 and not can_be_one and not any(d in first for d in _DELIMITERS):
        raise UserError(
            f"{where} has one column, '{first.strip()[:60]}'; give a table with a header and columns labels, "
            'logits_0, logits_1, ... separated by commas, semicolons, tabs or |'
        )
    return to_arrays(table, where, as_text)


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
            options = pyarrow.json.ReadOptions(block_size=min(max(len(data), 1) + 1, _BLOCK_BYTES))
            table = pyarrow.json.read_json(io.BytesIO(data), read_options=options)
    except (pa.ArrowException, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f'{where} cannot be read as JSON lines, one object per line such as '
            f'{{"labels": 3, "logits": [0.1, 2.0]}}: {_plain(error)}'
        ) from error
    return to_arrays(table, where)


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
    return start in (b'{', b'[') or _suffix(path) in ('.jsonl', '.ndjson', '.json')


def _suffix(path: Path) -> str:
    """Return the suffix of the content: '.csv' of 'x.csv.gz'."""
    kept = [s.lower() for s in path.suffixes if s.lower() not in ('.gz', '.bz2', '.xz', '.zst', '.piped')]
    return kept[-1] if kept else ''


FORMATS.register('parquet')(
    Format('parquet', ('.parquet',), lambda path, head: head.startswith(b'PAR1'), _read_parquet)
)
FORMATS.register('arrow')(
    Format(
        'Arrow or feather',
        ('.arrow', '.feather'),
        lambda path, head: head.startswith((b'ARROW1', b'FEA1', b'\xff\xff\xff\xff')),
        _read_arrow,
    )
)
FORMATS.register('json')(Format('JSON lines', ('.jsonl', '.json'), _starts_with_json, _read_json))
FORMATS.register('csv')(
    Format('table', ('.csv', '.tsv', '.txt', '.csv.gz'), lambda path, head: path.is_file(), _read_csv, True)
)
