"""Parquet files with the pictures in them, as Hugging Face stores sets: image {bytes, path} and label, in shards."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from failpred_jax.config import DataConfig
from failpred_jax.data.cache import everything_below
from failpred_jax.data.decoding import channels_of, decode, size_of_first
from failpred_jax.data.labeled_files import CHANNELS
from failpred_jax.data.lazy import lazy_pictures
from failpred_jax.data.listing import is_foreign, readable
from failpred_jax.data.no_label import labelled_rows
from failpred_jax.data.parts import PARTS, in_order, known_parts, numbered, part_named, some
from failpred_jax.data.pictures import is_stored_as_gray, read_picture
from failpred_jax.data.sources import RawData
from failpred_jax.errors import UserError, nearest
from failpred_jax.options import option
from failpred_jax.registry import SOURCES
from failpred_jax.types import DatasetInfo, Examples

_IMAGES = ('image', 'img', 'picture', 'pixel_values', 'jpg', 'png')
_LABELS = ('label', 'labels', 'fine_label', 'class', 'target', 'category')
_SHARD = re.compile(r'(?P<part>[A-Za-z]+)(?P<rest>[-_.].*)?')
_OF = re.compile(r'(?P<number>\d+)-of-(?P<count>\d+)')


@dataclass(frozen=True)
class ParquetOptions:
    """Options of this source."""

    path: str = option(
        '', 'a parquet file, or a folder of them, such as the data/ of a set from Hugging Face', changes_training=False
    )
    image_column: str = option('', "column of the pictures; '' looks for a usual name, such as image or img")
    label_column: str = option('', "column of the labels; '' looks for a usual name, such as label")
    ignore_label: str = option('', "label whose rows are left out, such as -1 for 'no label'; '' for none")
    channels: int = option(0, '3 for RGB, 1 for gray; 0 for gray if all pictures are stored so, else RGB', CHANNELS)

    def problems(self, path: str) -> Iterator[str]:
        """Yield what cannot work."""
        if not self.path:
            yield f"{path}.path is ''; source 'parquet' reads the file or the folder it names"


@dataclass(frozen=True)
class _Part:
    """One part.

    Attributes:
      pictures: [N], encoded, or the files that they are in.
      labels: [N], as stored.
      names: of the classes, where the file describes them.
      rows: [N], where they stand in the part, for messages.
    """

    pictures: Sequence[bytes | Path]
    labels: list[Any]
    names: tuple[str, ...]
    rows: Sequence[int]


@SOURCES.register('parquet', options=ParquetOptions, files=lambda options: everything_below(Path(options.path)))
def load(data: DataConfig, options: ParquetOptions) -> RawData:
    """Return the parts that the files of `options.path` belong to by their names, such as train-00000-of-00002.parquet.

    The names of the classes come from the set's own description in the files, where Hugging Face put one. A part whose
    labels are all -1, as those of hidden test sets are, is left out. A part that is not there is split off the training
    part.

    Raises:
      UserError: a shard is missing, columns are, labels are no classes (-1 among others is none), or pictures are
        damaged or differ in size.
    """
    path = Path(options.path)
    read = _labelled({part: _read_part(files, options) for part, files in _shards(path).items()}, options)
    names = next((found.names for found in read.values() if found.names), ())
    class_names = names or in_order(map(str, read['train'].labels))
    everything = [picture for found in read.values() for picture in found.pictures]
    channels = channels_of(everything, options.channels)
    if channels == 1 and not options.channels and not all(map(is_stored_as_gray, everything)):
        raise UserError(
            f"some pictures of '{path}' are stored in color, others are gray; say how to read all of them: "
            '--config.data.parquet.channels=3 for color, =1 for gray'
        )
    height, width = data.new_size or _size_of_first(read['train'], f"the train part of '{path}'")
    shape = (height, width, channels)
    made = lazy_pictures if data.is_beyond_memory(len(everything) * math.prod(shape)) else decode
    parts = {
        part: _examples(found, class_names, shape, data.new_size is not None, f"the {part} part of '{path}'", made)
        for part, found in read.items()
    }
    info = DatasetInfo(_name_of(path), 'classification', shape, class_names)
    is_all_known = path.is_dir() or not any(isinstance(picture, Path) for picture in everything)
    return RawData(info, parts['train'], *(parts.get(part) for part in PARTS[1:]), is_all_known=is_all_known)


def _labelled(read: Mapping[str, _Part], options: ParquetOptions) -> dict[str, _Part]:
    """Return the parts with the rows that have a label."""
    words = {part: [str(label) for label in found.labels] for part, found in read.items()}
    names = next((found.names for found in read.values() if found.names), ())
    where, option_name = f"'{options.path}'", 'config.data.parquet.ignore_label'
    kept = labelled_rows(words, options.ignore_label, where, option_name, names)

    def labelled(found: _Part, rows: Sequence[int]) -> _Part:
        return _Part([found.pictures[i] for i in rows], [found.labels[i] for i in rows], found.names, rows)

    return {part: labelled(read[part], rows) for part, rows in kept.items()}


def _name_of(path: Path) -> str:
    """Return what the set is called: as its file or folder, or as the folder above the data/ of Hugging Face."""
    path = path.resolve()
    return readable(path.parent.name if path.name == 'data' else path.stem)


def _size_of_first(found: _Part, what: str) -> tuple[int, int]:
    def read(i: int) -> np.ndarray:
        return read_picture(found.pictures[i], name=f'{what}, row {found.rows[i] + 1}')

    return size_of_first(len(found.labels), read, what)


def _examples(
    found: _Part,
    class_names: tuple[str, ...],
    shape: tuple[int, int, int],
    resize: bool,
    what: str,
    made: Callable[..., np.ndarray],
) -> Examples:
    def read(i: int) -> np.ndarray:
        return read_picture(found.pictures[i], channels=shape[-1], name=f'{what}, row {found.rows[i] + 1}')

    if found.names and not all(isinstance(label, str) for label in found.labels):
        # Numbers of the description's own classes: whether they are in range is checked with all others.
        labels = np.array(found.labels, np.int64)
    else:
        labels = numbered([str(label) for label in found.labels], class_names, what)
    return Examples(made(len(found.labels), read, shape, resize, what, lambda i: f'row {found.rows[i] + 1}'), labels)


def _shards(path: Path) -> dict[str, list[Path]]:
    """Return part -> its files, in the order of their names; one file alone is the train part."""
    if path.is_file():
        return {'train': [path]}
    files = sorted(
        file for file in path.rglob('*.parquet') if not any(is_foreign(piece) for piece in file.relative_to(path).parts)
    )
    if not files:
        raise UserError(
            f"config.data.parquet.path is '{path}', which is no parquet file and no folder that holds some; give one"
        )
    found: dict[str, list[Path]] = {}
    for file in files:
        part = _part_of(file, path)
        if part is None and len(files) > 1:
            raise UserError(
                f"'{file}' does not say which part it is of; name the files or their folders after parts "
                f'({known_parts()}),'
                ' such as train-00000-of-00002.parquet'
            )
        found.setdefault(part or 'train', []).append(file)
    if 'train' not in found:
        raise UserError(f"'{path}' holds no train part, only: {some(found)}")
    for part, of_part in found.items():
        _check_complete(of_part, part, path)
    return found


def _part_of(file: Path, root: Path) -> str | None:
    """Return the part that a file's name, or the name of a folder it is in, begins with."""
    for name in (file.stem, *(folder.name for folder in file.relative_to(root).parents)):
        matched = _SHARD.fullmatch(name)
        if matched and (part := part_named(matched['part'])):
            return part
    return None


def _check_complete(files: Sequence[Path], part: str, path: Path) -> None:
    """Refuse a part of which a shard is missing, or that is there twice."""
    numbers = [found for file in files if (found := _OF.search(file.stem))]
    if not numbers:
        return
    counts = {int(found['count']) for found in numbers}
    have = [int(found['number']) for found in numbers]
    missing = sorted(set(range(max(counts))) - set(have))
    if len(counts) > 1 or len(set(have)) < len(have):
        raise UserError(
            f"'{path}' holds shards of the {part} part from two divisions: {some(f.name for f in files)}; keep one "
            'of them'
        )
    if missing:
        raise UserError(
            f"'{path}' lacks {len(missing)} of {max(counts)} shards of the {part} part, such as number {missing[0]}; "
            'fetch the rest'
        )


def _read_part(files: Sequence[Path], options: ParquetOptions) -> _Part:
    pictures: list[bytes | Path] = []
    labels: list[Any] = []
    names: tuple[str, ...] = ()
    kinds: set[str] = set()
    for file in files:
        try:
            table = pq.ParquetFile(file)
            schema = table.schema_arrow
            image = _column(schema.names, options.image_column, _IMAGES, 'image', file)
            label = _column(schema.names, options.label_column, _LABELS, 'label', file)
            _check_types(schema, image, label, file)
            names = names or _names_of(schema, label)
            kinds.add(_kind_of_labels(schema.field(label).type))
            for batch in table.iter_batches(columns=[image, label]):
                pictures += _encoded(batch.column(image), file, len(labels))
                labels += batch.column(label).to_pylist()
        except (pa.ArrowException, OSError) as error:
            reason = (str(error).splitlines() or [''])[0][:200]
            raise UserError(f"'{file}' cannot be read as parquet: {reason}; fetch it again") from error
    if len(kinds) > 1:
        raise UserError(
            f'the labels of {files[0].parent} are {" in one file and ".join(sorted(kinds))} in another; they must '
            'be of one kind: fetch or write the files again'
        )
    lost = [i for i, label in enumerate(labels) if label is None]
    if lost:
        raise UserError(f'{len(lost):,} rows of {files[0].parent} have no label, such as row {lost[0] + 1}')
    if not labels:
        raise UserError(f"'{files[0]}' holds no rows")
    return _Part(pictures, labels, names, range(len(labels)))


def _column(have: Sequence[str], name: str, usual: Sequence[str], kind: str, file: Path) -> str:
    if name and name not in have:
        raise UserError(
            f"config.data.parquet.{kind}_column is '{name}'{nearest(name, have)}; '{file}' has the columns: "
            f'{some(have, 12)}'
        )
    found = [name] if name else [column for column in usual if column in have]
    if len(found) != 1:
        what = f'several columns that may be the {kind}: {some(found)}' if found else f'no column for the {kind}'
        raise UserError(
            f"'{file}' has {what}; it has the columns {some(have, 12)}: name the right one with "
            f'--config.data.parquet.{kind}_column=NAME'
        )
    return found[0]


def _check_types(schema: pa.Schema, image: str, label: str, file: Path) -> None:
    kind = schema.field(image).type
    inner = {kind.field(i).name for i in range(kind.num_fields)} if pa.types.is_struct(kind) else set()
    is_binary = any(is_one(kind) for is_one in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))
    if not (is_binary or 'bytes' in inner):
        raise UserError(
            f"'{file}': column '{image}' holds {kind}; it must hold encoded pictures, binary or as struct of bytes and "
            'path. Arrays of pixels can be read from an npz with config.data.source=arrays'
        )
    kind = schema.field(label).type
    if not _kind_of_labels(kind):
        raise UserError(
            f"'{file}': column '{label}' holds {kind}; it must hold one class per picture, as a whole number or a word"
        )


def _kind_of_labels(kind: pa.DataType) -> str:
    """Return what labels of a type are: 'numbers' or 'words', '' for what no labels are."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return 'numbers'
    is_text = any(is_one(kind) for is_one in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))
    return 'words' if is_text else ''


def _names_of(schema: pa.Schema, label: str) -> tuple[str, ...]:
    """Return the names of the classes that Hugging Face's description of the features gives; () without one."""
    try:
        described = json.loads((schema.metadata or {})[b'huggingface'])['info']['features'][label]
        return tuple(map(str, described['names'])) if isinstance(described['names'], list) else ()
    except (KeyError, ValueError, TypeError):
        return ()


def _encoded(column: pa.Array, file: Path, start: int) -> list[bytes | Path]:
    """Return each picture's content, or the file that it is in where only a path was stored."""
    found: list[bytes | Path] = []
    for i, value in enumerate(column.to_pylist()):
        fields: Mapping[str, Any] = value if isinstance(value, Mapping) else {'bytes': value}
        if fields.get('bytes'):
            found.append(fields['bytes'])
        elif fields.get('path') and (file.parent / fields['path']).is_file():
            found.append(file.parent / fields['path'])
        else:
            raise UserError(
                f"'{file}', row {start + i + 1}: there is no picture in it, and no file '{fields.get('path') or ''}' "
                'beside it'
            )
    return found
