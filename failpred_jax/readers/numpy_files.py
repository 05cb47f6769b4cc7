"""NumPy's own formats: .npz archives, and folders of .npy files, which are mapped into memory instead of read."""

import functools
import struct
import zipfile
from collections import Counter
from pathlib import Path

import ml_dtypes
import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE
from failpred_jax.readers.reading import FORMATS, Arrays, Format

ZIP, _NPY = b'PK\x03\x04', b'\x93NUMPY'


# Of a zip: the part of a member's header whose length is known, and where in it the lengths of the others are.
_HEADER, _LENGTHS = 30, slice(26, 30)
_READ_AT_A_TIME = 2**24


def _read_npz(path: Path, in_place: bool = False) -> Arrays:
    arrays: dict[str, np.ndarray] = {}
    problems, notes = [], []
    # Opened here: numpy leaves the file open when it finds no archive in it.
    with path.open('rb') as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except DAMAGE as error:
            raise UserError(f"'{path}' is no npz archive, or is damaged: {error}") from error
        if any(name.startswith('xl/') for name in archive.files):
            raise UserError(f"'{path}' is an Excel workbook, which is not read here; save its sheet as CSV")
        twice = sorted(name for name, times in Counter(archive.files).items() if times > 1)
        if twice:
            raise UserError(f"'{path}' holds two arrays named {', '.join(map(repr, twice))}; keep one of each")
        for name in archive.files:
            try:
                mapped = _mapped(path, archive.zip, name) if in_place else None
                array = archive[name] if mapped is None else mapped
            except DAMAGE as error:
                if 'Object arrays' in str(error):
                    problems.append(
                        f"array '{name}' holds Python objects, which are never unpickled; save plain numbers, or "
                        'fixed-length strings (array.astype(str))'
                    )
                else:
                    problems.append(f"array '{name}' is damaged: {error}")
                continue
            if not isinstance(array, np.ndarray):
                problems.append(f"'{name}' is no array")
                continue
            arrays[name] = named_bfloat16(name, array, notes)
    if problems:
        raise UserError('\n'.join([f"'{path}' cannot be used:", *(f'  - {p}' for p in problems)]))
    return Arrays(arrays, tuple(notes))


def _mapped(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray | None:
    """Return an array of an npz mapped from its file; None where it is compressed, or is no plain array.

    NumPy maps none of an npz. All of it is read once, since its checksum is compared at the end and nowhere else.
    """
    member = next((member for member in archive.infolist() if member.filename == f'{name}.npy'), None)
    if member is None or member.compress_type != zipfile.ZIP_STORED:
        return None
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version > (2, 0):
            return None
        read_header = np.lib.format.read_array_header_1_0 if version < (2, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(stream)
        before = stream.tell()
        if dtype.hasobject or not np.prod(shape):
            return None
        while stream.read(_READ_AT_A_TIME):
            pass
    with path.open('rb') as file:
        file.seek(member.header_offset)
        lengths = struct.unpack('<HH', file.read(_HEADER)[_LENGTHS])
    start = member.header_offset + _HEADER + sum(lengths) + before
    return np.memmap(path, dtype, 'r', start, shape, 'F' if is_fortran else 'C')


def named_bfloat16(name: str, array: np.ndarray, notes: list[str]) -> np.ndarray:
    """Return an array with raw two-byte words read as bfloat16, which is how NumPy saves JAX's bfloat16 arrays."""
    if array.dtype.kind != 'V' or array.dtype.names or array.dtype.itemsize != 2:
        return array
    notes.append(f"'{name}' was saved as raw two-byte words, as NumPy saves bfloat16: read as bfloat16")
    return array.view(ml_dtypes.bfloat16).astype(np.float32)


def _read_npy(path: Path) -> Arrays:
    raise UserError(f"'{path}' holds one array without a name; save several with numpy.savez(FILE, labels=..., ...)")


def _read_folder(path: Path) -> Arrays:
    arrays: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for file in sorted(path.glob('*.npy')):
        if file.name.startswith('.'):
            continue
        try:
            mapped = np.load(file, mmap_mode='r', allow_pickle=False)
        except DAMAGE as error:
            raise UserError(f"'{file}' cannot be read as an array: {error}; nothing is ever unpickled") from error
        arrays[file.stem] = named_bfloat16(file.stem, mapped, notes)
    return Arrays(arrays, tuple(notes))


FORMATS.register('npz')(
    Format(
        'NumPy archive',
        ('.npz',),
        lambda path, head: head.startswith(ZIP) and not _is_torch(head) and not zipped_table(head),
        _read_npz,
        map=functools.partial(_read_npz, in_place=True),
    )
)
FORMATS.register('npy')(Format('NumPy array', ('.npy',), lambda path, head: head.startswith(_NPY), _read_npy))
FORMATS.register('folder')(
    Format('folder of .npy files', ('/',), lambda path, head: path.is_dir() and any(path.glob('*.npy')), _read_folder)
)


def zipped_table(head: bytes) -> str:
    """Return the name of the table that a zip archive begins with, as pandas writes x.csv.zip; '' for anything else."""
    if not head.startswith(ZIP):
        return ''
    name = head[_HEADER : _HEADER + int.from_bytes(head[26:28], 'little')].decode(errors='replace').lower()
    return name if name.endswith(('.csv', '.tsv', '.txt', '.jsonl', '.ndjson', '.json')) else ''


def _is_torch(head: bytes) -> bool:
    # torch.save writes a zip too; its first member lies in a folder, and is the pickle.
    return b'data.pkl' in head[:256]
