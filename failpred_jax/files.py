"""Files that appear whole or not at all: written aside in the same folder, then renamed."""

import contextlib
import json
import lzma
import os
import shutil
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# What reading a damaged npz raises, depending on which of its bytes are wrong (tests/test_predictions.py tries them).
DAMAGE = (
    ValueError, OSError, EOFError, LookupError, RuntimeError, OverflowError, MemoryError, TypeError, AttributeError,
    SyntaxError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
# Ends the names of files being written, so that what a killed process left of one can be told from everything else.
UNFINISHED = '.unfinished'
# Of an npz: smaller arrays are always compressed; of larger ones so much is tried, and has to shrink to this share.
_ALWAYS_COMPRESSED = 2**24
_TRIED_BYTES = 2**20
_WORTH_COMPRESSING = 0.8


def decode_text(data: bytes) -> str:
    """Return the text of a file in UTF-8, UTF-16 with a byte order mark, or else Windows' western code page."""
    for mark, encoding in ((b'\xef\xbb\xbf', 'utf-8-sig'), (b'\xff\xfe', 'utf-16'), (b'\xfe\xff', 'utf-16')):
        if data.startswith(mark):
            return data.decode(encoding, errors='replace')
    try:
        return data.decode('utf-8')
    except UnicodeDecodeError:
        # What text that is not UTF-8 most often is.
        return data.decode('cp1252', errors='replace')


def user_cache_folder() -> Path:
    """Return our folder in the user's cache folder, which need not exist. Raises RuntimeError if there is no home."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'failpred_jax'


def is_unfinished(path: Path) -> bool:
    """Return whether this is what a killed process left of a file it was writing."""
    return path.name.startswith('.') and path.name.endswith(UNFINISHED)


def sweep(folder: Path) -> None:
    """Remove unfinished files from a folder and all below; only where nobody else is writing."""
    for path in list(folder.rglob(f'.*{UNFINISHED}')):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file that takes the place of `path` when the block ends, and leaves it alone if it raises."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.', suffix=UNFINISHED)
    try:
        with os.fdopen(handle, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read; a result is as readable as any new file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@contextlib.contextmanager
def whole_files(folder: Path, last: str) -> Iterator[Path]:
    """Yield an empty folder whose files replace those of the same names in `folder` when the block ends.

    They are all on disk before the first is replaced, so a full disk leaves all of the old ones; `last` is the name of
    the one that is replaced last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder, prefix='.', suffix=UNFINISHED))
    try:
        yield aside
        for path in sorted(aside.iterdir(), key=lambda path: path.name == last):
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file; bytes of names that Python could not read as text are read as UTF-8, or replaced."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = text.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace').encode()
    with whole_file(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write JSON; a NaN or an infinity in it is a ValueError, since other readers do not accept them."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + '\n')


def read_json(path: Path) -> Any:
    """Read JSON."""
    return json.loads(path.read_text(encoding='utf-8'))


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an npz of plain arrays; an object array is a ValueError (reading it would unpickle).

    Large arrays that would hardly shrink, as the logits of many units, are stored as they are: compressing them takes
    most of the time of writing and a tenth of the room at best.
    """
    plain = {name: np.asanyarray(array) for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.hasobject:
            raise ValueError(f"array '{name}' holds Python objects; only plain arrays are written")
    with whole_file(path) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for name, array in plain.items():
            about = zipfile.ZipInfo(f'{name}.npy')
            about.compress_type = zipfile.ZIP_DEFLATED if _shrinks(array) else zipfile.ZIP_STORED
            with archive.open(about, 'w', force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _shrinks(array: np.ndarray) -> bool:
    """Return whether compressing an array is worth its time; found by compressing a piece from its middle."""
    if array.nbytes <= _ALWAYS_COMPRESSED or not array.ndim:
        return True
    rows = max(1, _TRIED_BYTES // max(1, array[:1].nbytes))
    start = max(0, (len(array) - rows) // 2)
    piece = np.ascontiguousarray(array[start : start + rows]).tobytes()[:_TRIED_BYTES]
    return len(zlib.compress(piece, 1)) < _WORTH_COMPRESSING * len(piece)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an npz, never unpickling."""
    # Opened here: numpy leaves a file open in which it finds no archive.
    with path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
