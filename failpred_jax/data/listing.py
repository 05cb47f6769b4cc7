"""Which files of a folder are pictures: one answer for every source and every command."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from failpred_jax.console import say_once
from failpred_jax.errors import UserError
from failpred_jax.locking import LOCK

SUFFIXES = (
    '.png', '.jpg', '.jpeg', '.jpe', '.jfif', '.bmp', '.webp', '.tif', '.tiff', '.gif', '.ppm', '.pgm', '.pbm', '.pnm',
)  # fmt: skip
# For messages.
KINDS = 'png, jpg, bmp, webp, tiff, gif, ppm'
# What systems leave beside people's files; compared in lower case. Hidden files (.DS_Store, ._x.png) need no name here.
_FOREIGN = frozenset({'thumbs.db', 'ehthumbs.db', 'desktop.ini', '__macosx', '@eadir', '$recycle.bin', 'icon\r'})

# What a WORKDIR holds, and the folder that --mode=check writes: the files of one line are all there.
_OF_RUNS = (
    (LOCK, 'config.json'),
    (LOCK, 'evaluation'),
    ('config.json', 'environment.json'),
    ('check.md', 'contact_sheet.png'),
)
# runs/NAME/seed_1 is looked for so far down.
_RUNS_BELOW = 3


class Listing(NamedTuple):
    """What a folder holds, each in the order of the names.

    Attributes:
      pictures: files that are meant as pictures, by their suffix.
      folders: folders.
      others: all other files, such as a list or a format that is not read here.
    """

    pictures: tuple[Path, ...]
    folders: tuple[Path, ...]
    others: tuple[Path, ...]


def is_foreign(name: str) -> bool:
    """Return whether a file or folder is what a system left there, not what its user put there.

    Hidden ones are, such as `._x.png` and `.DS_Store` (macOS) or `.ipynb_checkpoints`, and Thumbs.db, desktop.ini
    (Windows), `__MACOSX` (zip files) and `@eaDir` (Synology).
    """
    return name.startswith('.') or name.lower() in _FOREIGN


def is_picture(file: Path) -> bool:
    """Return whether a file of a folder is meant as a picture: by its suffix, and not left there by a system."""
    return file.suffix.lower() in SUFFIXES and not is_foreign(file.name)


def holds_runs(folder: Path) -> bool:
    """Return whether a folder is a WORKDIR, or holds some and no pictures beside them: its pictures are of reports."""
    return _what_is_in(folder, _RUNS_BELOW) == 'runs'


def _what_is_in(folder: Path, levels: int) -> str:
    """Return 'runs', 'pictures', or '' for neither; where both are, 'pictures'."""
    if any(all((folder / name).exists() for name in names) for names in _OF_RUNS):
        return 'runs'
    below = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                # The first picture decides, so that a folder of a million takes no time.
                if is_picture(Path(entry.name)):
                    return 'pictures'
                if levels and not is_foreign(entry.name) and entry.is_dir():
                    below.append(Path(entry.path))
    except OSError:
        return ''
    found = {_what_is_in(inner, levels - 1) for inner in below}
    return 'pictures' if 'pictures' in found else 'runs' if 'runs' in found else ''


def list_folder(folder: Path) -> Listing:
    """Return what a folder holds, without what systems and runs leave in folders.

    A WORKDIR among pictures, or a folder of some, is left out with a note: its figures are no pictures of the data.

    Raises:
      UserError: it is missing, is not a folder, or cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry.is_dir()) for entry in found if not is_foreign(entry.name))
    except FileNotFoundError:
        raise UserError(f"there is no folder '{folder}'; give one that holds pictures") from None
    except NotADirectoryError:
        raise UserError(f"'{folder}' is a file, not a folder; give the folder that holds the pictures") from None
    except OSError as error:
        raise UserError(f"the folder '{folder}' cannot be read: {error.strerror or error}") from error
    pictures, folders, others = [], [], []
    for name, is_folder in entries:
        path = folder / name
        if is_folder and holds_runs(path):
            say_once(f"note: '{path}' holds runs of this program, and is not taken for a folder of pictures")
            continue
        (folders if is_folder else pictures if path.suffix.lower() in SUFFIXES else others).append(path)
    return Listing(tuple(pictures), tuple(folders), tuple(others))


def list_below(folder: Path) -> Listing:
    """Return all pictures and all other files of a folder and of those below, folder by folder; no folders.

    A link to a folder that is being listed already is not followed again.
    """
    pictures: list[Path] = []
    others: list[Path] = []

    def walk(here: Path, above: frozenset[str]) -> None:
        real = os.path.realpath(here)
        if real in above:
            return
        found = list_folder(here)
        pictures.extend(found.pictures)
        others.extend(found.others)
        for below in found.folders:
            walk(below, above | {real})

    walk(folder, frozenset())
    return Listing(tuple(pictures), (), tuple(others))


def same_name(name: str) -> str:
    """Return a file name in one Unicode form: macOS stores an umlaut as two characters, lists mostly hold one."""
    return unicodedata.normalize('NFC', name)


def readable(name: str) -> str:
    """Return a name of a file as text that can be written anywhere, whatever its bytes are."""
    return same_name(name.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace'))


def by_stem(pictures: Sequence[Path]) -> dict[str, Path]:
    """Return base name -> picture.

    Raises:
      UserError: two pictures have one base name.
    """
    found: dict[str, Path] = {}
    for file in pictures:
        stem = same_name(file.stem)
        if stem in found:
            raise UserError(
                f"'{file.parent}' has two pictures of one base name, {found[stem].name} and {file.name}; a label map "
                'belongs to one picture: remove or rename one'
            )
        found[stem] = file
    return found
