"""Pictures in folders, one sub-folder per class: ROOT/cat/*.jpg, or ROOT/train/cat/*.jpg beside val and test."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from failpred_jax.config import DataConfig
from failpred_jax.console import say_once
from failpred_jax.data.cache import everything_below
from failpred_jax.data.labeled_files import CHANNELS, LabeledFiles, read_parts
from failpred_jax.data.listing import KINDS, Listing, list_below, list_folder, readable
from failpred_jax.data.parts import by_part, in_order, numbered, some
from failpred_jax.data.sources import RawData
from failpred_jax.errors import UserError
from failpred_jax.options import option
from failpred_jax.registry import SOURCES


@dataclass(frozen=True)
class FolderOptions:
    """Options of this source."""

    path: str = option(
        '', 'folder with one sub-folder per class, or with train/, val/ and test/', changes_training=False
    )
    nested: bool = option(False, 'pictures in folders below a class folder belong to that class')
    channels: int = option(0, '3 for RGB, 1 for gray; 0 for gray if all pictures are stored so, else RGB', CHANNELS)

    def problems(self, path: str) -> Iterator[str]:
        """Yield what cannot work."""
        if not self.path:
            yield f"{path}.path is ''; source 'folder' reads the folder it names"


@SOURCES.register('folder', options=FolderOptions, files=lambda options: everything_below(Path(options.path)))
def load(data: DataConfig, options: FolderOptions) -> RawData:
    """Return the pictures below the folder that `options.path` names.

    A sub-folder is a class, named as it is; if all names are whole numbers, they are in the order of the numbers. Where
    the folder holds train/, with or without val/ and test/ (or other usual names of these), the classes are in them; a
    part that is missing is split off the training part. `data.image_size` resizes pictures as they are read.

    Raises:
      UserError: the layout is another one, a class has no training folder, or pictures are damaged or differ in size.
    """
    root = Path(options.path)
    top = list_folder(root)
    names = by_part((folder.name for folder in top.folders), f"'{root}'")
    if 'train' not in names or not list_folder(root / names['train']).folders:
        return _read({'train': _classes(root, top, options.nested)}, root, data, options)
    unused = [folder.name for folder in top.folders if folder.name not in names.values()]
    if unused or top.pictures:
        loose = f'{len(top.pictures)} pictures' if top.pictures else ''
        say_once(f"note: not used in '{root}': {some(filter(None, [*unused, loose]))}")
    parts = {
        part: _classes(root / name, list_folder(root / name), options.nested) for part, name in names.items()
    }  # fmt: skip
    return _read(parts, root, data, options)


def _read(
    parts: Mapping[str, Mapping[str, tuple[Path, ...]]], root: Path, data: DataConfig, options: FolderOptions
) -> RawData:
    class_names = in_order(parts['train'])
    found = {}
    for part, classes in parts.items():
        words = [name for name, files in classes.items() for _ in files]
        # A class folder without a picture counts as a name as well: it may be misspelled.
        numbered(list(classes), class_names, f"the {part} part of '{root}'")
        files = tuple(file for of_class in classes.values() for file in of_class)
        found[part] = LabeledFiles(files, numbered(words, class_names, f"'{root}'"))
    return read_parts(
        found, readable(root.resolve().name), class_names, data, options.channels, 'config.data.folder.channels'
    )


def _classes(folder: Path, listing: Listing, nested: bool) -> dict[str, tuple[Path, ...]]:
    """Return name of the class -> its pictures, of a folder of class folders."""
    if not listing.folders:
        what = f'{len(listing.pictures)} pictures' if listing.pictures else 'nothing that is a picture'
        raise UserError(
            f"'{folder}' holds {what} and no folders; source 'folder' wants one sub-folder per class, such as "
            f"{folder}/cat and {folder}/dog. Where a table names each picture's class, use source 'table'"
        )
    if listing.pictures:
        say_once(f"note: {len(listing.pictures)} pictures beside the class folders of '{folder}' are not used")
    found: dict[str, tuple[Path, ...]] = {}
    for below in listing.folders:
        name = readable(below.name)
        if name in found:
            raise UserError(f"'{folder}' has two folders of the name '{name}', spelled with other bytes; rename one")
        inside = list_below(below) if nested else list_folder(below)
        _check_not_nested(folder, below, inside)
        found[name] = inside.pictures
        if inside.others:
            kinds = Counter(file.suffix.lower() or 'without suffix' for file in inside.others)
            say_once(
                f"note: '{below}' also holds {len(inside.others)} files that are no pictures of a kind that is read "
                f'here ({some(kinds)})'
            )
    if not any(found.values()):
        raise UserError(
            f"the folders of '{folder}' ({some(found)}) hold no pictures of a kind that is read here: {KINDS}"
        )
    return found


def _check_not_nested(folder: Path, below: Path, inside: Listing) -> None:
    """Refuse folders in a class folder, unless nothing is in them."""
    deeper = [f.name for f in inside.folders if list_below(f).pictures]
    if not deeper:
        return
    if not inside.pictures and len(list_folder(folder).folders) == 1:
        raise UserError(
            f"'{folder}' holds one folder, '{below.name}', which holds the folders {some(deeper)}; if these are the "
            f'classes, or train and test, give that folder: --config.data.folder.path={below}'
        )
    raise UserError(
        f"the class folder '{below}' holds folders with pictures ({some(deeper)}); give one folder per class, or set "
        f"config.data.folder.nested=True, which takes all of them for the class '{below.name}'"
    )
