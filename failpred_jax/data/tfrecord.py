"""TFRecord files without tensorflow: where their records begin, and the records, compared with their checksums.

A record is its length (8 bytes) with a checksum (4), the message, and its checksum (4). There is no index, so the
places are found by going from length to length.
"""

import struct
from pathlib import Path

import google_crc32c
import numpy as np

_HEADER, _FOOTER = 12, 4
# What TFRecord adds to a CRC-32C that was turned by 15 bits.
_MASK = 0xA282EAD8
_GZIP = b'\x1f\x8b'


def record_offsets(file: Path, count: int) -> np.ndarray:
    """Return where the records of a file begin, and where the last one ends: [count + 1] int64.

    Raises:
      OSError: the file is not there, or cannot be read.
      ValueError: it is damaged, cut off or compressed, or holds another number of records.
    """
    found = [0]
    size = file.stat().st_size
    with file.open('rb') as stream:
        while found[-1] < size:
            stream.seek(found[-1])
            header = stream.read(_HEADER)
            if found[-1] == 0 and header.startswith(_GZIP):
                raise ValueError('it is compressed with gzip, which tfds does not write; decompress it')
            if len(header) < _HEADER or checksum(header[:8]) != header[8:]:
                raise ValueError(f'after {len(found) - 1:,} records, no record begins at byte {found[-1]:,}')
            found.append(found[-1] + _HEADER + struct.unpack('<Q', header[:8])[0] + _FOOTER)
    if found[-1] > size:
        raise ValueError(f'it ends at byte {size:,}, within record {len(found) - 2:,}')
    if len(found) - 1 != count:
        raise ValueError(
            f'it holds {len(found) - 1:,} records in {size:,} bytes, but its dataset_info.json says {count:,}'
        )
    return np.array(found, np.int64)


def read_record(file: Path, offsets: np.ndarray, number: int) -> bytes:
    """Return the message of a record; the file is opened each time, since a set may have more than can stay open.

    Args:
      file: of TFRecord.
      offsets: what `record_offsets` found.
      number: of the record in the file, from 0.

    Raises:
      OSError: the file is not there, or cannot be read.
      ValueError: it was cut off, or the record is not what was written.
    """
    start, end = int(offsets[number]) + _HEADER, int(offsets[number + 1])
    with file.open('rb', buffering=0) as stream:
        stream.seek(start)
        found = stream.read(end - start)
    if len(found) != end - start:
        raise ValueError(f'the file ends after {start + len(found):,} bytes')
    message, footer = found[:-_FOOTER], found[-_FOOTER:]
    if checksum(message) != footer:
        raise ValueError(f'its bytes from {start:,} on are not those that were written: the checksum is another')
    return message


def checksum(data: bytes) -> bytes:
    """Return the CRC-32C of some bytes as TFRecord stores it, masked: 4 bytes."""
    value = google_crc32c.value(data)
    return struct.pack('<I', (((value >> 15) | (value << 17)) + _MASK) & 0xFFFFFFFF)
