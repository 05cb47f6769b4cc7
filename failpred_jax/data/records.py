"""The records of a set that tfds prepared, by number and without tensorflow, however it was prepared.

array_record is read through tfds's own source of records. TFRecord has no index: where each record begins is found
once, by going from length to length, and the records come in the order in which tfds gives them without shuffling, so
that a split means the same examples.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.data.decoding import in_threads
from failpred_jax.errors import UserError

# tfds reads so many files at a time, and so many records of each in turn (tfds.ReadConfig).
_FILES, _RECORDS = 16, 16
_HEADER, _FOOTER = 12, 4
# CRC-32C, reflected, and what TFRecord adds to a sum.
_POLYNOMIAL, _MASK = 0x82F63B78, 0xA282EAD8


@dataclass(frozen=True)
class Records:
    """Serialized tf.train.Example messages.

    Attributes:
      count: N of them.
      read: number -> one of them. Raises whatever reading damaged or missing files raises.
      file_of: number -> the file that it is in.
    """

    count: int
    read: Callable[[int], bytes]
    file_of: Callable[[int], Path]


def open_records(builder: Any, split: str, what: str) -> Records:
    """Return the records of a split, in tfds's order.

    Args:
      builder: a builder of tfds whose set is prepared.
      split: in tfds's language, such as 'train[:90%]'.
      what: what they are, for messages and progress.

    Raises:
      UserError: the set was prepared in a format that has no records to be taken by number, or files are damaged.
    """
    import tensorflow_datasets as tfds

    instructions = builder.info.splits[split].file_instructions
    files, takes = [Path(part.filename) for part in instructions], [part.take for part in instructions]
    starts = np.cumsum([0, *takes])
    formats = {found.value for found in builder.info.available_file_formats()}
    if 'tfrecord' in formats and 'array_record' not in formats:
        sizes = [part.examples_in_shard for part in instructions]
        offsets = _offsets(files, sizes, what)
        skips = np.array([part.skip for part in instructions], np.int64)
        order = np.arange(starts[-1]) if builder.info.disable_shuffling else interleaved(takes)
        which = np.searchsorted(starts, order, side='right') - 1
        place = order - starts[which] + skips[which]

        def read(i: int) -> bytes:
            return _read_at(files[which[i]], offsets[which[i]], int(place[i]))

        return Records(len(order), read, lambda i: files[which[i]])
    try:
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        source = builder.as_data_source(split=split, deserialize_method=raw)
    except NotImplementedError as error:
        raise UserError(
            f'{what} in {builder.data_dir} was prepared as {", ".join(sorted(formats))}, which is not read here; '
            'prepare it again elsewhere, as array_record: --config.data.tfds.data_dir=DIR'
        ) from error
    return Records(len(source), lambda i: source[i], lambda i: files[np.searchsorted(starts, i, side='right') - 1])


def interleaved(lengths: Sequence[int], files: int = _FILES, records: int = _RECORDS) -> np.ndarray:
    """Return the order in which tf.data interleaves files of such lengths: places [N] int64 in them end to end.

    Some of each of the first files are taken in turn; one that is found to have no more makes room for the next.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    left = list(zip(ends - lengths, ends, strict=True))[::-1]
    slots: list[tuple[int, int] | None] = [None] * files
    found = []
    while left or any(slots):
        for i in range(files):
            if slots[i] is None and left:
                slots[i] = left.pop()
            here = slots[i]
            if here is None:
                continue
            start, end = here
            stop = min(start + records, end)
            found.append(np.arange(start, stop))
            slots[i] = (stop, end) if stop - start == records else None
    return np.concatenate([np.zeros(0, np.int64), *found])


def _read_at(file: Path, offsets: np.ndarray, number: int) -> bytes:
    """Return a record's message; the file is opened each time, since a set may have more files than can stay open."""
    start, end = int(offsets[number]) + _HEADER, int(offsets[number + 1]) - _FOOTER
    with file.open('rb', buffering=0) as stream:
        stream.seek(start)
        found = stream.read(end - start)
    if len(found) != end - start:
        raise EOFError(f'it ends after {start + len(found):,} bytes')
    return found


def _offsets(files: Sequence[Path], counts: Sequence[int], what: str) -> list[np.ndarray]:
    """Return where the records of each TFRecord file begin, and the last one ends: [records + 1] int64 each."""
    total, each = sum(counts), max(1, sum(counts) // max(1, len(files)))
    found = in_threads(
        lambda i: record_offsets(files[i], counts[i]), range(len(files)), total, each, f'the index of {what}'
    )
    return list(found)


def record_offsets(file: Path, count: int) -> np.ndarray:
    """Return where the records of a TFRecord file begin, and where the last one ends: [count + 1] int64.

    A record is its length (8 bytes) with a checksum (4), the message, and its checksum (4).

    Raises:
      UserError: the file is not there, is damaged or cut off, or holds another number of records.
    """
    found = [0]
    try:
        size = file.stat().st_size
        with file.open('rb') as stream:
            while found[-1] < size:
                stream.seek(found[-1])
                header = stream.read(_HEADER)
                if len(header) < _HEADER or _checksum(header[:8]) != struct.unpack('<I', header[8:])[0]:
                    raise ValueError(f'there is no record at byte {found[-1]:,}')
                found.append(found[-1] + _HEADER + struct.unpack('<Q', header[:8])[0] + _FOOTER)
        if found[-1] != size or len(found) - 1 != count:
            raise ValueError(f'it holds {len(found) - 1:,} records in {size:,} bytes, of which {count:,} are expected')
    except (OSError, ValueError) as error:
        raise UserError(
            f"'{file}' cannot be read as TFRecord ({error}); restore it from a copy, or prepare the set again "
            'elsewhere: --config.data.tfds.data_dir=DIR'
        ) from error
    return np.array(found, np.int64)


def _checksum(data: bytes) -> int:
    """Return the masked CRC-32C of a few bytes."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + _MASK) & 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        found.append(value)
    return tuple(found)


_TABLE = _table()
