"""Pictures that a table names: one row per picture with its path and label, perhaps its part and what it belongs to."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.console import say_once
from failpred_jax.data.labeled_files import CHANNELS, LabeledFiles, read_parts
from failpred_jax.data.listing import is_picture, list_folder, readable
from failpred_jax.data.no_label import labelled_rows
from failpred_jax.data.parts import PARTS, in_order, known_parts, numbered, part_named, some
from failpred_jax.data.sources import RawData
from failpred_jax.errors import UserError, nearest
from failpred_jax.options import option
from failpred_jax.readers.reading import Arrays, read_file
from failpred_jax.registry import SOURCES

_USUAL = {
    'path': ('path', 'file', 'filename', 'file_name', 'filepath', 'image', 'image_path', 'img'),
    'label': ('label', 'labels', 'class', 'class_name', 'target', 'category'),
    'split': ('split', 'part', 'subset', 'fold'),
    'group': ('group', 'patient', 'patient_id', 'subject', 'subject_id'),
}
# Columns that say for one part which rows are of it, or of which nobody knows what they say.
_LIKE_A_SPLIT = re.compile(
    r'(is|in|for)[ _-]?(train|training|test|testing|val|valid|validation|dev|holdout|eval)([ _-]?set)?'
    r'|(train|test|val|valid|validation|holdout)|(data|train[ _-]?test)[ _-]?(set|split)|partition|phase|usage',
    re.IGNORECASE,
)
# As s3://bucket/a.png and file:/a.png; a drive, C:\a.png, is none.
_ADDRESS = re.compile(r'(?P<kind>[a-z][a-z0-9+.-]+):(//|(?<=file:)(?=/))', re.IGNORECASE)


@dataclass(frozen=True)
class TableOptions:
    """Options of this source."""

    path: str = option('', 'csv, parquet or another table of path, label, split, group', changes_training=False)
    root: str = option('', "folder that paths begin at; '' is the table's own", changes_training=False)
    path_column: str = option('', "column of the pictures' paths; '' looks for a usual name, such as path or filename")
    label_column: str = option('', "column of the labels; '' looks for a usual name, such as label or class")
    split_column: str = option('', "column of train, val and test; '' for 'split' or the like, if it is there")
    group_column: str = option(
        '', "column of what belongs together (a patient, a video) and is never split; '' for 'group' or the like"
    )
    ignore_label: str = option('', "label whose rows are left out, such as -1 for 'no label'; '' for none")
    channels: int = option(0, '3 for RGB, 1 for gray; 0 for gray if all pictures are stored so, else RGB', CHANNELS)

    def problems(self, path: str) -> Iterator[str]:
        """Yield what cannot work."""
        if not self.path:
            yield f"{path}.path is ''; source 'table' reads the table it names"


@SOURCES.register('table', options=TableOptions)
def load(data: DataConfig, options: TableOptions) -> RawData:
    """Return the pictures of the table that `options.path` names, in its order.

    Each distinct label is a class, by its own name: words in the order of the alphabet, whole numbers in their own.
    A part that no row belongs to is split off the training part, whole groups at a time.

    Raises:
      UserError: a column is missing, a row has no label (-1 among other labels is none) or no such picture, a group
        stands in two parts, or pictures are damaged or differ in size.
    """
    file = Path(options.path)
    try:
        stored = read_file(file)
    except UserError as error:
        raise UserError(f'config.data.table.path: {error}') from error
    root = Path(options.root) if options.root else file.parent
    _check_header(stored, root, file)
    columns = _as_written(stored, options, file)
    paths = _words(_column(columns, 'path', options.path_column, file), 'path', file)
    labels = _words(_column(columns, 'label', options.label_column, file), 'label', file)
    rows_of = _rows_of(columns, options, file, len(paths))
    words_of = {part: [labels[i] for i in rows] for part, rows in rows_of.items()}
    kept = labelled_rows(words_of, options.ignore_label, f"'{file}'", 'config.data.table.ignore_label')
    rows_of = {part: [rows_of[part][i] for i in numbers] for part, numbers in kept.items()}
    groups = _optional(columns, 'group', options.group_column, file)
    used = sorted(row for rows in rows_of.values() for row in rows)
    files = _files(paths, used, root, file)
    class_names = in_order(labels[i] for i in rows_of['train'])
    parts = {}
    for part, rows in rows_of.items():
        where = f"the {part} part of '{file}'"
        parts[part] = LabeledFiles(
            tuple(files[i] for i in rows),
            numbered([labels[i] for i in rows], class_names, where),
            None if groups is None else np.asarray(_words(groups, 'group', file))[rows],
        )
    return read_parts(parts, readable(file.stem), class_names, data, options.channels, 'config.data.table.channels')


def _as_written(stored: Arrays, options: TableOptions, file: Path) -> Arrays:
    """Return the columns, those of names as they are written: 0123 and 00123 are two patients and no number."""
    kinds = {'path': options.path_column, 'label': options.label_column, 'group': options.group_column}
    names = {kind: _name(stored, kind, name, file) for kind, name in kinds.items()}
    # Labels with decimals are refused as what they are, quantities, even where they are few.
    return stored.as_written([n for kind, n in names.items() if n and (kind != 'label' or not _has_parts(stored[n]))])


def _check_header(columns: Iterable[str], root: Path, file: Path) -> None:
    """Refuse a table whose first line names a picture: it is a row, and would be lost as a header."""
    name = next((n for n in columns if is_picture(Path(n)) or ('/' in n and (root / n).is_file())), None)
    if name is not None:
        raise UserError(
            f"the first line of '{file}' names a picture, '{name}': the table has no header, it seems; put the names "
            'of the columns into a line before it, such as path,label'
        )


def _has_parts(column: np.ndarray) -> bool:
    return column.dtype.kind == 'f' and bool(np.any(np.isfinite(column) & (column != np.round(column))))


def _column(columns: Mapping[str, np.ndarray], kind: str, name: str, file: Path) -> np.ndarray:
    found = _optional(columns, kind, name, file)
    if found is None:
        raise UserError(
            f"'{file}' has no column for the {kind} ({some(_USUAL[kind])}); it has {some(columns)}: name the right one "
            f'with --config.data.table.{kind}_column=NAME'
        )
    return found


def _optional(columns: Mapping[str, np.ndarray], kind: str, name: str, file: Path) -> np.ndarray | None:
    """Return the column that is named, or else the one of a usual name; None if there is none."""
    chosen = _name(columns, kind, name, file)
    return columns[chosen] if chosen else None


def _name(columns: Mapping[str, np.ndarray], kind: str, name: str, file: Path) -> str:
    if name and name not in columns:
        raise UserError(
            f"config.data.table.{kind}_column is '{name}'{nearest(name, columns)}; '{file}' has the columns: "
            f'{some(columns, 12)}'
        )
    lowered = {column.strip().lower(): column for column in columns}
    usual = [lowered[word] for word in _USUAL[kind] if word in lowered]
    if not name and len(usual) > 1 and kind in ('path', 'label'):
        raise UserError(
            f"'{file}' has several columns that may be the {kind}: {some(usual)}; name the right one with "
            f'--config.data.table.{kind}_column=NAME'
        )
    return name or (usual[0] if usual else '')


def _words(column: np.ndarray, kind: str, file: Path) -> list[str]:
    """Return a column's cells as words, whole numbers without a decimal point. Raises UserError for empty cells."""
    if column.ndim != 1:
        raise UserError(f"'{file}': the column of the {kind} holds lists; it must hold one value per picture")
    if column.dtype.kind == 'f':
        missing = np.flatnonzero(~np.isfinite(column))
        broken = np.flatnonzero(column != np.round(column))
        if len(broken) > len(missing):
            row = next(i for i in broken if np.isfinite(column[i]))
            raise UserError(
                f"'{file}': the {kind} of row {row + 1} is {column[row]}; it must be a word or a whole number (of a "
                'version or a code, put a letter before it: v1.1)'
            )
        words = ['' if not np.isfinite(value) else str(int(value)) for value in column.tolist()]
    else:
        words = [str(value).strip() for value in column.tolist()]
        missing = np.flatnonzero([not word for word in words])
    if len(missing):
        raise UserError(
            f"'{file}': {len(missing):,} rows have no {kind}, such as row {missing[0] + 1}; fill them in or leave "
            'them out'
        )
    return words


def _say_what_may_be_a_split(columns: Mapping[str, np.ndarray], file: Path) -> None:
    for name, column in columns.items():
        words = set(column.tolist()) if column.dtype.kind == 'U' and column.ndim == 1 else set()
        if _LIKE_A_SPLIT.fullmatch(name.strip()) or (len(words) > 1 and all(map(part_named, words))):
            say_once(
                f"note: the column '{name}' of '{file}' is not used; if it says which part a row is of, write train, "
                f'val or test into it, and set --config.data.table.split_column={name}'
            )


def _rows_of(columns: Mapping[str, np.ndarray], options: TableOptions, file: Path, count: int) -> dict[str, list[int]]:
    """Return part -> its rows; all are for training if no column says which part they are of."""
    column = _optional(columns, 'split', options.split_column, file)
    if column is None:
        _say_what_may_be_a_split(columns, file)
        return {'train': list(range(count))}
    if column.dtype.kind not in 'US' and not options.split_column:
        say_once(f"note: the split column of '{file}' holds numbers, not the names of parts, and is not used")
        return {'train': list(range(count))}
    found: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, word in enumerate(_words(column, 'split', file)):
        part = part_named(word)
        if part is None:
            raise UserError(
                f"'{file}': row {row + 1} is of the part '{word}'; known parts are: {known_parts()}. If the column is "
                'no split, name another with --config.data.table.split_column=NAME'
            )
        found[part].append(row)
    if not found['train']:
        raise UserError(f"'{file}' has no row of the train part; add some, or leave out the column of the split")
    return {part: rows for part, rows in found.items() if rows}


def _files(paths: list[str], rows: Iterable[int], root: Path, file: Path) -> dict[int, Path]:
    """Return row -> the file that its path names, from `root` on where it is relative, for those of some rows."""
    files = {row: _file(paths[row], row, root, file) for row in rows}
    lost = [row for row, found in files.items() if not found.is_file()]
    if lost:
        shown = some((f'row {row + 1}: {files[row]}' for row in lost), 2)
        raise UserError(
            f"'{file}' names {len(lost):,} pictures of {len(files):,} that are not there, such as {shown}"
            f"{_spelled_otherwise(files[lost[0]], paths[lost[0]])}; paths begin at '{root}': restore them, correct the "
            'table, or give --config.data.table.root=DIR'
        )
    return files


def _file(text: str, row: int, root: Path, file: Path) -> Path:
    """Return the file that a path names; backslashes separate folders too, and file:///DIR/a%20b.png is one as well."""
    address = _ADDRESS.match(text)
    if address and address['kind'].lower() != 'file':
        raise UserError(
            f"'{file}': the path of row {row + 1} is '{text}', an address; pictures are read from files here: fetch "
            "them, and write the files' paths into the table"
        )
    if address:
        text = unquote(re.sub('^localhost(?=/)', '', text[address.end() :]))
    found = root / text
    if '\\' in text and not found.exists():
        found = root / PureWindowsPath(text).as_posix()
    return found


def _spelled_otherwise(file: Path, path: str) -> str:
    """Return what is there in the place of a file that is not, in words; '' if nothing is."""
    there = list_folder(file.parent).pictures if file.parent.is_dir() else ()
    close = next((other.name for other in there if other.name.lower() == file.name.lower()), '')
    close = close or next((other.name for other in there if other.stem == file.name), '')
    if close:
        return f" (there is '{close}': capitals and suffixes count)"
    if path.isdecimal():
        return ' (numbers: write whole file names, such as 0001.png)'
    return ''
