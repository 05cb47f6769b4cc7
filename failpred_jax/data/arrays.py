"""The user's own images, as named arrays in one file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.data.lazy import lazy_array
from failpred_jax.data.listing import readable
from failpred_jax.data.sources import RawData, images_of
from failpred_jax.errors import UserError, nearest
from failpred_jax.options import option, rule
from failpred_jax.readers.reading import read_file
from failpred_jax.registry import SOURCES
from failpred_jax.types import DatasetInfo, Examples

_NAMES = ('images_train', 'labels_train', 'images_val', 'labels_val', 'images_test', 'labels_test', 'class_names')
_IMAGES = ('images_train', 'images_val', 'images_test')

# A label map with a larger number holds something else than class numbers.
MOST_MAP_CLASSES = 2**16


@dataclass(frozen=True)
class ArraysOptions:
    """Options of this source."""

    path: str = option(
        '', 'file of images and labels, such as an npz (see docs/predictions.md for formats)', changes_training=False
    )
    ignore_label: int = option(
        -1, 'label whose pixels count nowhere; -1 for none', rule('-1 or greater', lambda v: v >= -1)
    )

    def problems(self, path: str) -> Iterator[str]:
        """Yield what cannot work."""
        if not self.path:
            yield f"{path}.path is ''; source 'arrays' reads the file it names"


@SOURCES.register('arrays', options=ArraysOptions)
def load(data: DataConfig, options: ArraysOptions) -> RawData:
    """Return the parts of the file that `options.path` names: an npz, or another format of readers/.

    It holds `images_train` [N, H, W] or [N, H, W, channels] uint8 and `labels_train` [N] integers from 0, or words
    (or label maps [N, H, W], for segmentation), optionally the same with `_val` and `_test`, and optionally
    `class_names` [C] of strings. A missing part is split off the training part. Pixels of
    `options.ignore_label` count nowhere.

    Raises:
      UserError: the file is missing or damaged, or its arrays are not these.
    """
    path = Path(options.path)
    try:
        arrays = dict(read_file(path))
    except UserError as error:
        raise UserError(f'config.data.arrays.path: {error}') from error
    _check_names(arrays, path)
    class_names = _class_names(arrays.get('class_names'))
    if arrays['labels_train'].dtype.kind in 'US':
        class_names = class_names or tuple(np.unique(_words(arrays['labels_train'])).tolist())

    # What is mapped from a folder of .npy files need not be in memory. Resizing makes new images, which have to be.
    is_lazy = not data.new_size and data.is_beyond_memory(
        sum(arrays[name].nbytes for name in _IMAGES if name in arrays)
    )

    def examples(part: str) -> Examples:
        images = arrays[f'images_{part}']
        labels = _numbered(arrays[f'labels_{part}'], class_names, f"'{path}': labels_{part}")
        images = images if images.ndim == 4 else images[..., None]
        return Examples(lazy_array(images) if is_lazy and images.dtype == np.uint8 else images, labels)

    train = examples('train')
    images = images_of(train)
    _check_channels_last(images, path)
    if not class_names:
        valid = train.labels[train.labels != options.ignore_label]
        # Before names are made: a label of 2^40 would make as many.
        _check_labels(valid, len(train.labels), path)
        class_names = tuple(str(i) for i in range(int(valid.max(initial=0)) + 1))
    task = 'segmentation' if train.labels.ndim == 3 else 'classification'
    if task == 'classification' and options.ignore_label >= 0:
        raise UserError(
            f"config.data.arrays.ignore_label is {options.ignore_label}, but '{path}' has one label per image; it is "
            'for label maps: leave out those images, and set it to -1'
        )
    ignored = options.ignore_label if options.ignore_label >= 0 else None
    height, width, channels = images.shape[1:]
    info = DatasetInfo(readable(path.stem), task, (height, width, channels), class_names, ignored)
    held_out = (examples(part) if f'images_{part}' in arrays else None for part in ('val', 'test'))
    return RawData(info, train, *held_out)


def _check_names(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Raise a UserError for arrays of other names, half of a part, or images of another shape."""
    problems = [
        f"unknown array '{name}'{nearest(name, _NAMES)} (known: {', '.join(_NAMES)})"
        for name in arrays
        if name not in _NAMES
    ]
    for part in ('train', 'val', 'test'):
        both = [name for name in (f'images_{part}', f'labels_{part}') if name in arrays]
        if len(both) == 1 or (part == 'train' and not both):
            problems.append(f"'images_{part}' and 'labels_{part}' must both be there")
        elif both and arrays[both[0]].ndim not in (3, 4):
            problems.append(f"'{both[0]}' has shape {arrays[both[0]].shape}; it must be (N, H, W, channels)")
    if problems:
        raise UserError('\n'.join([f"'{path}' has problems:", *(f'  - {problem}' for problem in problems)]))


def _words(array: np.ndarray) -> np.ndarray:
    return np.char.strip(np.char.decode(array, 'utf-8', 'replace') if array.dtype.kind == 'S' else array)


def _class_names(array: np.ndarray | None) -> tuple[str, ...]:
    """Return the names; byte strings, as HDF5, TensorFlow and MATLAB store them, are text."""
    if array is None:
        return ()
    return tuple(str(name) for name in (_words(array) if array.dtype.kind in 'US' else array).reshape(-1).tolist())


def _numbered(labels: np.ndarray, class_names: tuple[str, ...], where: str) -> np.ndarray:
    """Return labels as class numbers; words are numbered in the order of `class_names`."""
    if labels.dtype.kind not in 'US':
        return labels
    words = _words(labels)
    unknown = sorted(set(np.unique(words).tolist()) - set(class_names))
    if unknown:
        raise UserError(
            f'{where} holds the words {", ".join(map(repr, unknown[:4]))}, which are none of the classes '
            f'({", ".join(class_names[:8])}); correct them, or add them to class_names'
        )
    number_of = {name: i for i, name in enumerate(class_names)}
    distinct, places = np.unique(words, return_inverse=True)
    return np.array([number_of[word] for word in distinct.tolist()], np.int32)[places].reshape(labels.shape)


def _check_channels_last(images: np.ndarray, path: Path) -> None:
    """Refuse images that are laid out as PyTorch has them, [N, channels, H, W]."""
    _, first, _, last = images.shape
    if first in (1, 3, 4) and last > 4:
        raise UserError(
            f"the images of '{path}' have shape {images.shape}, where the channels seem to come first, as in PyTorch; "
            'they must come last, (N, H, W, channels): images.transpose(0, 2, 3, 1)'
        )


def _check_labels(labels: np.ndarray, num_examples: int, path: Path) -> None:
    """Refuse labels whose largest number makes more classes than there can be, or that begin at 1."""
    if labels.dtype.kind not in 'iu' or not labels.size or labels.min() < 0:
        return  # check_examples says so
    largest = int(labels.max())
    if largest + 1 > (max(num_examples, 2) if labels.ndim == 1 else MOST_MAP_CLASSES):
        raise UserError(
            f"'{path}' has a label of {largest}, which would make {largest + 1:,} classes of {num_examples:,} training "
            'examples; labels are class numbers from 0: correct it, or give class_names'
        )
    present = np.unique(labels)
    if present[0] == 1 and len(present) == largest and largest > 1:
        raise UserError(
            f"the labels of '{path}' run from 1 to {largest}; classes are numbered from 0: subtract 1, or give "
            'class_names if class 0 merely has no example'
        )
