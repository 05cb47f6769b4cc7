"""New images from where people have them: a folder of pictures, one picture, a table of paths, or arrays."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from failpred_jax.console import say
from failpred_jax.data.decoding import in_threads
from failpred_jax.data.listing import KINDS, is_picture, list_below
from failpred_jax.data.other_pictures import other_picture, other_pictures
from failpred_jax.data.pictures import is_stored_as_gray, read_picture
from failpred_jax.data.resize import resize_picture
from failpred_jax.errors import UserError, nearest, numbered
from failpred_jax.files import DAMAGE
from failpred_jax.readers.reading import read_file

PATHS = ('path', 'file', 'filename', 'file_name', 'filepath', 'image', 'image_path', 'img')
IDS = ('id', 'ids')
_TAKEN = "a folder of pictures, a picture, a table with a column of paths, an .npy of images, or an .npz with 'images'"
# A thread is given so many pictures at a time.
_BLOCK = 16


@dataclass(frozen=True)
class Form:
    """In which form a run takes its images.

    Attributes:
      shape: (H, W, channels).
      resizes: whether pictures of other sizes are brought to it.
    """

    shape: tuple[int, int, int]
    resizes: bool


class SomeImages(NamedTuple):
    """Some of the images.

    Attributes:
      images: [n, H, W, channels] uint8, those that can be used.
      numbers: [n] int64, their places among all inputs.
      problems: (place, why it cannot be used) of the others.
    """

    images: np.ndarray
    numbers: np.ndarray
    problems: list[tuple[int, str]]


@dataclass(frozen=True)
class NewImages:
    """Images that are read a part at a time.

    Attributes:
      ids: [N] words: file names, or what the file says.
      read: (start, stop) -> those of these places.
    """

    ids: np.ndarray
    read: Callable[[int, int], SomeImages]

    def __len__(self) -> int:
        return len(self.ids)


def open_images(path: Path, form: Form) -> NewImages:
    """Return the images that a path names; pictures are opened when they are read.

    Pictures of a kind that is not read are among them, after all others, and cannot be used. Ids that several images
    have are told.

    Args:
      path: a folder of pictures (with those of the folders below), a picture, an .npy of images, or a file that
        readers/ reads, with 'images', or with a column of paths; with a column 'id' if there is one.
      form: in which the run takes them.

    Raises:
      UserError: it is not there, empty, or holds no images.
    """
    if not path.exists():
        there = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"there is no '{path}' (give {_TAKEN}){nearest(path.name, there)}")
    if path.is_dir() and not any(path.glob('*.npy')):
        return _of_folder(path, form)
    if path.is_file() and is_picture(path):
        return _of_files([path], [path.name], form)
    if why := other_picture(path):
        raise UserError(why)
    if path.suffix.lower() == '.npy' and path.is_file():
        try:
            return _of_array(np.load(path, mmap_mode='r', allow_pickle=False), None, path, form)
        except DAMAGE as error:
            raise UserError(f"'{path}' cannot be read as an array ({error}); nothing is ever unpickled") from error
    return _of_columns(_lowered(read_file(path)), path, form)


def _of_folder(path: Path, form: Form) -> NewImages:
    found = list_below(path)
    refused = other_pictures(found.others)
    # After the others: these keep their places, by which dropout is drawn, whatever lies among them.
    files = (*found.pictures, *refused)
    if not files:
        others = f' (it holds {len(found.others)} other files)' if found.others else ''
        raise UserError(f"the folder '{path}' holds no pictures{others}; {KINDS} are read")
    return _of_files(files, [file.relative_to(path).as_posix() for file in files], form, refused)


def _of_columns(columns: dict[str, np.ndarray], path: Path, form: Form) -> NewImages:
    ids = next((columns.pop(name) for name in IDS if name in columns), None)
    if 'images' in columns:
        return _of_array(columns['images'], ids, path, form)
    name = next((name for name in PATHS if name in columns and columns[name].dtype.kind in 'US'), None)
    if name is None:
        hint = nearest('images', columns)
        raise UserError(
            f"'{path}' holds neither an array 'images' nor a column of paths ({', '.join(PATHS)}); it holds: "
            f'{", ".join(columns) or "nothing"}{hint}'
        )
    words = [str(word).strip() for word in columns[name].tolist()]
    files = [_file_of(path.parent, word) for word in words]
    # Some that are not there are listed with those that cannot be read.
    if files and not any(file.is_file() for file in files):
        raise UserError(
            f"'{path}' names {numbered(len(files), 'picture')}, and none is there, such as '{files[0]}'; paths begin "
            f"at '{path.parent}'"
        )
    names = words if ids is None else ids.astype(str).tolist()
    _tell_twins(names, path)
    return _of_files(files, names, form)


def _tell_twins(ids: Sequence[str], path: Path) -> None:
    """Warn of ids that several images have: who joins the predictions by them gets those of other images."""
    twins = {name: count for name, count in Counter(ids).items() if count > 1}
    if twins:
        name, count = next(iter(twins.items()))
        say(
            f"WARNING: {numbered(len(twins), 'id')} of '{path}' {'is' if len(twins) == 1 else 'are'} there more than "
            f"once, such as '{name}' ({count:,} times): predictions cannot be told apart by id; give each image its own"
        )


def _lowered(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return columns under names in small letters, as spreadsheets do not write them, where these are free."""
    return {name.lower() if name.lower() not in columns else name: array for name, array in columns.items()}


def _file_of(folder: Path, word: str) -> Path:
    """Return the file that a path in a table names; backslashes separate folders too."""
    file = folder / word
    return folder / PureWindowsPath(word).as_posix() if '\\' in word and not file.is_file() else file


def _of_array(images: np.ndarray, ids: np.ndarray | None, path: Path, form: Form) -> NewImages:
    gray = form.shape[2] == 1
    is_row = gray and images.shape[1:] == form.shape[:2]
    if not is_row and (images.shape == form.shape or (gray and images.shape == form.shape[:2])):
        # One image, which can be nothing else.
        images = images[None]
    if images.ndim < 3:
        raise UserError(
            f"'{path}': the images have shape {images.shape}; they must be (N, H, W, channels) or (N, H, W)"
        )
    if len(images) == 0:
        raise UserError(f"'{path}' holds no images: the array is empty")
    names = np.arange(len(images)).astype(str) if ids is None else ids.reshape(-1).astype(str)
    if len(names) != len(images):
        raise UserError(f"'{path}' holds {len(images):,} images and {len(names):,} ids; give one for each")
    _tell_twins(names.tolist(), path)
    return NewImages(names, lambda start, stop: SomeImages(np.asarray(images[start:stop]), np.arange(start, stop), []))


def _of_files(
    files: Sequence[Path], ids: Sequence[str], form: Form, refused: Mapping[Path, str] = MappingProxyType({})
) -> NewImages:
    height, width, channels = form.shape
    if channels not in (1, 3):
        raise UserError(f'this run takes images of {channels} channels, and pictures have 1 or 3; give an array')

    def read_one(file: Path) -> np.ndarray:
        if file in refused:
            raise UserError(refused[file])
        if not file.is_file():
            raise UserError(f"there is no file '{file}'")
        picture = read_picture(file, channels)
        if channels == 1 and not is_stored_as_gray(file):
            raise UserError(f"'{file}' is stored in color, but this run takes gray pictures; save it as gray")
        if picture.shape[:2] != (height, width) and not form.resizes:
            raise UserError(
                f"'{file}' is {picture.shape[0]} x {picture.shape[1]} (height x width), but this run takes "
                f'{height} x {width}; bring it to this size as those that it was trained on were'
            )
        return picture if picture.shape[:2] == (height, width) else resize_picture(picture, (height, width))

    def read(start: int, stop: int) -> SomeImages:
        images, is_good = np.empty((stop - start, *form.shape), np.uint8), np.zeros(stop - start, bool)

        def fill(first: int) -> list[tuple[int, str]]:
            problems = []
            for number in range(first, min(first + _BLOCK, stop)):
                try:
                    images[number - start] = read_one(files[number])
                    is_good[number - start] = True
                except UserError as error:
                    problems.append((number, str(error)))
            return problems

        found = in_threads(fill, range(start, stop, _BLOCK), stop - start, _BLOCK, 'the inputs')
        problems = [problem for block in found for problem in block]
        return SomeImages(images if is_good.all() else images[is_good], start + np.flatnonzero(is_good), problems)

    return NewImages(np.array(ids), read)
