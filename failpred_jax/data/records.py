"""The records of a set that tfds prepared, by number and without tensorflow, however it was prepared.

array_record is read through tfds's own source of records, which compares them with their checksums. The records of
TFRecord files (`tfrecord.py`) come in the order in which tfds gives them without shuffling, so that a split means the
same examples. That all files of a split are there and hold as many records as the set says is found out first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from failpred_jax.data.decoding import in_threads
from failpred_jax.data.parts import some
from failpred_jax.data.tfrecord import read_record, record_offsets
from failpred_jax.errors import UserError

# tfds reads so many files at a time, and so many records of each in turn (tfds.ReadConfig).
_FILES, _RECORDS = 16, 16
_NAMED = 3
T = TypeVar('T')


@dataclass(frozen=True)
class Records:
    """Serialized tf.train.Example messages.

    Attributes:
      count: N of them.
      read: number -> one of them. Raises whatever reading damaged or missing files raises.
      place_of: number -> (the file that it is in, its number there, from 0).
    """

    count: int
    read: Callable[[int], bytes]
    place_of: Callable[[int], tuple[Path, int]]


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
    sizes, starts = [part.examples_in_shard for part in instructions], np.cumsum([0, *takes])
    skips = np.array([part.skip for part in instructions], np.int64)
    formats = {found.value for found in builder.info.available_file_formats()}
    is_tfrecord = 'tfrecord' in formats and 'array_record' not in formats
    order = interleaved(takes) if is_tfrecord and not builder.info.disable_shuffling else np.arange(starts[-1])
    which = np.searchsorted(starts, order, side='right') - 1
    numbers = order - starts[which] + skips[which]

    def place_of(i: int) -> tuple[Path, int]:
        return files[which[i]], int(numbers[i])

    if is_tfrecord:
        offsets = _of_each(record_offsets, files, sizes, what)
        return Records(len(order), lambda i: read_record(files[which[i]], offsets[which[i]], int(numbers[i])), place_of)
    try:
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        source = builder.as_data_source(split=split, deserialize_method=raw)
    except NotImplementedError as error:
        raise UserError(
            f'{what} in {builder.data_dir} was prepared as {", ".join(sorted(formats))}, which is not read here; '
            'prepare it again elsewhere, as array_record: --config.data.tfds.data_dir=DIR'
        ) from error
    _of_each(_check_array_record, files, sizes, what)
    return Records(len(source), lambda i: source[i], place_of)


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


def _of_each(function: Callable[[Path, int], T], files: Sequence[Path], counts: Sequence[int], what: str) -> list[T]:
    """Return `function(file, how many records it should hold)` of each file.

    Raises:
      UserError: it raised an OSError or a ValueError; the files are named together.
    """

    def found_or_error(i: int) -> T | Exception:
        try:
            return function(files[i], counts[i])
        except (OSError, ValueError) as error:
            return error

    total, each = sum(counts), max(1, sum(counts) // max(1, len(files)))
    found = list(in_threads(found_or_error, range(len(files)), total, each, f'the index of {what}'))
    broken = [
        (file, getattr(error, 'strerror', None) or error)
        for file, error in zip(files, found, strict=True)
        if isinstance(error, Exception)
    ]
    again = 'from a copy, or prepare the set again elsewhere: --config.data.tfds.data_dir=DIR'
    if len(broken) == 1:
        raise UserError(f"'{broken[0][0]}', a file of {what}, cannot be read: {broken[0][1]}; restore it {again}")
    if broken:
        named = some([f"'{file}': {reason}" for file, reason in broken], _NAMED)
        raise UserError(
            f'{len(broken):,} of the {len(files):,} files of {what} cannot be read ({named}); restore them {again}'
        )
    return [one for one in found if not isinstance(one, Exception)]


def _check_array_record(file: Path, count: int) -> None:
    """Raise an OSError or a ValueError if a file of array_record cannot be read or holds another number of records."""
    from array_record.python.array_record_module import ArrayRecordReader

    if not file.is_file():
        raise FileNotFoundError('there is no such file')
    # What would be read ahead is not wanted. A file that cannot be read holds nothing, and says why when it is closed.
    reader = ArrayRecordReader(str(file), 'readahead_buffer_size:0')
    found = reader.num_records()
    try:
        reader.close()
    except RuntimeError as error:
        reason = str(error).partition('\n')[0][:200] or 'its index cannot be read'
        raise ValueError(f'it is damaged or cut off, or is no array_record: {reason}') from error
    if found != count:
        raise ValueError(f'it holds {found:,} records, but its dataset_info.json says {count:,}')
