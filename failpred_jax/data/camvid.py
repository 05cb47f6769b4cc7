"""Street scenes in the folder layout of the SegNet tutorial: CamVid, or any set of images laid out like it.

FOLDER/train, val, test hold the images, FOLDER/trainannot, valannot, testannot the label maps of the same base name.
FOLDER/train.txt and so on name one pair per line, as paths on the disk where the list was made: only the file names
count, so a list can neither miss our folder nor lead out of it. A part without a list is all its files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.data.cache import everything_below
from failpred_jax.data.decoding import size_of_first
from failpred_jax.data.listing import by_stem, list_folder, same_name
from failpred_jax.data.pairs import Pair, PairForm, num_bytes_of_pairs, read_pairs
from failpred_jax.data.pictures import read_picture
from failpred_jax.data.resize import resize_images, resize_labels
from failpred_jax.data.sources import RawData
from failpred_jax.errors import UserError
from failpred_jax.files import decode_text
from failpred_jax.options import option
from failpred_jax.registry import SOURCES
from failpred_jax.types import DatasetInfo

CLASS_NAMES = (
    'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign symbol', 'fence', 'car', 'pedestrian', 'bicyclist',
    'unlabeled',
)  # fmt: skip
VOID = CLASS_NAMES.index('unlabeled')
# Of many problems of the same kind, this many are named.
_NAMED = 3


@dataclass(frozen=True)
class CamvidOptions:
    """Options of this source."""

    path: str = option('', 'folder with train/, trainannot/, val/, ...', changes_training=False)
    score_unlabeled: bool = option(False, "train on and score the unlabeled pixels too, as the paper's code does")

    def problems(self, path: str) -> Iterator[str]:
        """Yield what cannot work."""
        if not self.path:
            yield f"{path}.path is ''; source 'camvid' reads the folder it names, with train/, trainannot/, ..."


@SOURCES.register('camvid', options=CamvidOptions, files=lambda options: everything_below(Path(options.path)))
def load(data: DataConfig, options: CamvidOptions) -> RawData:
    """Return the three parts of the folder that `options.path` names, at `data.image_size` if that is set.

    Images are resized one by one as they are read, bilinearly, and label maps by nearest neighbor, so that the set
    is never held at its full size. Pixels of class 11, unlabeled, count nowhere unless `options.score_unlabeled`.

    Raises:
      UserError: a folder or file is missing, an image has no label map or a label map no image, sizes differ, a file
        cannot be read, or a label is not a class.
    """
    folder = Path(options.path)
    if not folder.is_dir():
        raise UserError(
            f"config.data.camvid.path is '{folder}', and there is no such folder; give the one that holds train/, "
            'trainannot/, val/, valannot/, test/ and testannot/: --config.data.camvid.path=DIR'
        )
    wanted = [f'{part}{kind}' for part in ('train', 'val', 'test') for kind in ('', 'annot')]
    missing = [name for name in wanted if not (folder / name).is_dir()]
    if missing:
        raise UserError(
            f"'{folder}' lacks {', '.join(f'{name}/' for name in missing)}; the layout is "
            f'{", ".join(f"{name}/" for name in wanted)}'
        )
    pairs = {part: find_pairs(folder, part) for part in ('train', 'val', 'test')}
    height, width = data.new_size or size_of_first(
        len(pairs['train']), lambda i: read_picture(pairs['train'][i].image), f"the train part of '{folder}'"
    )
    size = (height, width)
    shape, count = (*size, 3), sum(map(len, pairs.values()))
    form = PairForm(
        read_image=lambda file: _read_image(file, size, data.new_size is not None),
        apply_rule=lambda numbers, file: _classes(numbers, file, size),
        shape=shape,
        resize=False,  # It is done by `read_image`, by JAX.
        dtype=np.uint8,
        is_lazy=data.is_beyond_memory(num_bytes_of_pairs(count, shape, np.uint8)),
    )
    train, validation, test = (
        read_pairs(found, form, f"the {part} part of '{folder}'") for part, found in pairs.items()
    )
    ignored = None if options.score_unlabeled else VOID
    return RawData(DatasetInfo('camvid', 'segmentation', shape, CLASS_NAMES, ignored), train, validation, test)


def find_pairs(folder: Path, part: str) -> list[Pair]:
    """Return the pairs of a part ('train', 'val' or 'test'): those of its list in its order, else all files.

    Raises:
      UserError: there are none, a line of the list is not two paths, or a file of a pair is missing.
    """
    listing = folder / f'{part}.txt'
    if listing.is_file():
        names = [
            _read_line(line, listing, i)
            for i, line in enumerate(decode_text(listing.read_bytes()).splitlines(), 1)
            if line.strip()
        ]
    else:
        images, labels = (_names_by_stem(folder / f'{part}{kind}') for kind in ('', 'annot'))
        alone = sorted({*images} ^ {*labels})
        if alone:
            raise UserError(
                f"'{folder}': {len(alone)} files of {part}/ and {part}annot/ have no partner of the same base name, "
                f'such as {_some(alone)}; complete the pairs, or name those to use in {listing.name}'
            )
        names = [(images[stem], labels[stem]) for stem in sorted(images)]
    stored = {kind: {same_name(f.name): f.name for f in (folder / f'{part}{kind}').iterdir()} for kind in ('', 'annot')}
    pairs = [
        Pair(
            folder / part / stored[''].get(same_name(image), image),
            folder / f'{part}annot' / stored['annot'].get(same_name(label), label),
        )
        for image, label in names
    ]
    if not pairs:
        raise UserError(f"'{folder}' has no examples in {part}/; add images and label maps, or correct {listing.name}")
    lost = [str(file.relative_to(folder)) for pair in pairs for file in pair if not file.is_file()]
    if lost:
        raise UserError(
            f"'{folder}': {len(lost)} files that {listing.name} names are not there, such as {_some(lost)}; only the "
            f'names count, looked for in {part}/ and {part}annot/: restore the files, or correct the list'
        )
    return pairs


def _read_image(file: Path, size: tuple[int, int], resize: bool) -> np.ndarray:
    """Return an image at (H, W), resized bilinearly if that is asked for; else another size is an error."""
    image = read_picture(file)
    if not resize and image.shape[:2] != size:
        raise UserError(
            f"'{file}' is {_by(image.shape)} pixels, others are {_by(size)}; bring all to one size with "
            '--config.data.image_size=(HEIGHT,WIDTH)'
        )
    return resize_images(image[None], size)[0]


def _classes(label: np.ndarray, file: Path, size: tuple[int, int]) -> np.ndarray:
    """Return a label map's numbers as classes [H, W] uint8, which they have to be already."""
    outside = label[(label < 0) | (label >= len(CLASS_NAMES))]
    if outside.size:
        raise UserError(
            f"the label map '{file}' has the label {outside[0]}; labels must be 0 to {len(CLASS_NAMES) - 1} "
            f'({VOID}: unlabeled)'
        )
    return resize_labels(label.astype(np.uint8)[None], size)[0]


def _read_line(line: str, listing: Path, number: int) -> tuple[str, str]:
    words = line.split()
    if len(words) != 2:
        raise UserError(
            f"{listing}, line {number}: '{line[:80]}' is not 'IMAGE LABEL'; give the two paths with one space between"
        )
    # Lists made on Windows have backslashes.
    image, label = (PurePosixPath(word.replace('\\', '/')).name for word in words)
    if image in ('', '..') or label in ('', '..'):
        raise UserError(f"{listing}, line {number}: '{line[:80]}' does not end in the names of two files")
    return image, label


def _names_by_stem(folder: Path) -> dict[str, str]:
    return {stem: file.name for stem, file in by_stem(list_folder(folder).pictures).items()}


def _by(shape: Sequence[int]) -> str:
    return f'{shape[0]} x {shape[1]}'


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:_NAMED]) + (', ...' if len(names) > _NAMED else '')
