"""The user's own images, as named arrays in one file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.console import say_once
from failpred_jax.data.decoding import decode
from failpred_jax.data.lazy import lazy_array, lazy_pictures
from failpred_jax.data.lazy_maps import lazy_map_array, lazy_maps, numbers_in
from failpred_jax.data.listing import readable
from failpred_jax.data.parts import some
from failpred_jax.data.resize import resize_labels
from failpred_jax.data.sources import RawData, images_of
from failpred_jax.errors import UserError, nearest
from failpred_jax.options import option, rule
from failpred_jax.readers.reading import read_file
from failpred_jax.registry import SOURCES
from failpred_jax.types import DatasetInfo, Examples

_NAMES = ('images_train', 'labels_train', 'images_val', 'labels_val', 'images_test', 'labels_test', 'class_names')

_PARTS = ('train', 'val', 'test')
# What Keras and MedMNIST call them.
_USUAL = {'images': ('x_{}', 'X_{}', '{}_images'), 'labels': ('y_{}', 'Y_{}', '{}_labels')}

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
    `class_names` [C] of strings. The names that Keras and MedMNIST give (x_train, train_images, ...) are understood,
    and so is a last axis of 1 of labels. A missing part is split off the training part. Pixels of
    `options.ignore_label` count nowhere. With `data.image_size`, images are resized bilinearly and label maps by
    nearest neighbor.

    Raises:
      UserError: the file is missing or damaged, or its arrays are not these.
    """
    path = Path(options.path)
    try:
        arrays = _renamed(read_file(path, in_place=True))
    except UserError as error:
        raise UserError(f'config.data.arrays.path: {error}') from error
    _check_names(arrays, path)
    _check_channels_last(arrays['images_train'], path)
    class_names = _class_names(arrays.get('class_names'))
    if arrays['labels_train'].dtype.kind in 'US':
        class_names = class_names or tuple(np.unique(_words(arrays['labels_train'])).tolist())
    is_lazy = _stays_in_files(arrays, data, path)
    held_out = [part for part in ('val', 'test') if f'images_{part}' in arrays]
    first = arrays['images_train']
    channels = first.shape[-1] if first.ndim == 4 else 1
    # What is no picture is not resized but refused, with all else that is wrong.
    is_right = all(arrays[f'images_{part}'].dtype == np.uint8 for part in ('train', *held_out))
    size = data.new_size if is_right else None

    def examples(part: str) -> Examples:
        labels = _numbered(arrays[f'labels_{part}'], class_names, f"'{path}': labels_{part}")
        return _examples(arrays[f'images_{part}'], labels, size, channels, is_lazy and is_right, f"'{path}', {part}")

    train = examples('train')
    task = 'segmentation' if train.labels.ndim == 3 else 'classification'
    if task == 'classification' and options.ignore_label >= 0:
        raise UserError(
            f"config.data.arrays.ignore_label is {options.ignore_label}, but '{path}' has one label per image; it is "
            'for label maps: leave out those images, and set it to -1'
        )
    ignored = options.ignore_label if options.ignore_label >= 0 else None
    height, width = images_of(train).shape[1:3]
    info = DatasetInfo(readable(path.stem), task, (height, width, channels), class_names, ignored)
    others = {part: examples(part) for part in held_out}
    raw = RawData(
        info,
        train,
        others.get('val'),
        others.get('test'),
        classes_of=None if class_names else lambda labels: _numbers(labels, ignored, path),
    )
    return raw if is_lazy else raw.named()


def _stays_in_files(arrays: Mapping[str, np.ndarray], data: DataConfig, path: Path) -> bool:
    """Return whether images and label maps take more than a set in memory may; says what is in memory all the same."""
    num_bytes, there = 0, []
    for name, array in arrays.items():
        is_map = name.startswith('labels_') and array.ndim == 3
        if name.startswith('images_') or is_map:
            num_pixels = len(array) * math.prod(data.new_size or array.shape[1:3])
            num_bytes += num_pixels * (1 if is_map or array.ndim == 3 else array.shape[-1]) * array.dtype.itemsize
            there += [] if isinstance(array, np.memmap) else [name]
    is_lazy = data.is_beyond_memory(num_bytes)
    if is_lazy and there:
        say_once(
            f"note: {some(there)} of '{path}' had to be read into memory, though the set takes "
            f'{num_bytes / 2**20:,.0f} MB, more than config.data.memory_mb; .npy files in a folder stay where they '
            'are, and so do the arrays of an npz that is not compressed (numpy.savez, not savez_compressed)'
        )
    return is_lazy


def _examples(
    images: np.ndarray, labels: np.ndarray, size: tuple[int, int] | None, channels: int, is_lazy: bool, what: str
) -> Examples:
    """Return images with labels or label maps, of another size if that is given, in memory or where they are."""
    images = images if images.ndim == 4 else images[..., None]
    is_map = labels.ndim == 3 and labels.dtype.kind in 'iu'

    def name(i: int) -> str:
        return f'{what}, number {i}'

    def smaller_map(i: int) -> np.ndarray:
        return resize_labels(labels[i : i + 1], size or labels.shape[1:3])[0]

    if not size and not is_lazy:
        # What is mapped is no set in memory: its file may change.
        return Examples(_in_memory(images), _in_memory(labels))
    if not size:
        return Examples(lazy_array(images), lazy_map_array(labels) if is_map else _in_memory(labels))
    made = lazy_pictures if is_lazy else decode
    found = made(len(images), lambda i: images[i], (*size, channels), True, what, name)
    if not is_map:
        return Examples(found, _in_memory(labels))
    if is_lazy:
        maps = lazy_maps(len(labels), smaller_map, size, labels.dtype.type, f'the label maps of {what}', name)
        return Examples(found, maps)
    return Examples(found, resize_labels(labels, size))


def _in_memory(array: np.ndarray) -> np.ndarray:
    return np.array(array) if isinstance(array, np.memmap) else array


def _renamed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays under our names, labels without a last axis of 1, and truth values as numbers."""
    ours = {
        theirs.format(part): f'{kind}_{part}' for kind, names in _USUAL.items() for theirs in names for part in _PARTS
    }
    found = {}
    for name, array in arrays.items():
        ours_is_there = ours.get(name) in arrays or ours.get(name) in found
        name = name if ours_is_there else ours.get(name, name)
        if name.startswith('labels_'):
            array = array[..., 0] if array.ndim in (2, 4) and array.shape[-1] == 1 else array
            array = array.view(np.uint8) if array.dtype == bool else array
        found[name] = array
    return found


def _check_names(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Raise a UserError for arrays of other names, half of a part, or images of another shape."""
    problems = [
        f"unknown array '{name}'{nearest(name, _NAMES)} (known: {', '.join(_NAMES)})"
        for name in arrays
        if name not in _NAMES
    ]
    for part in _PARTS:
        both = [name for name in (f'images_{part}', f'labels_{part}') if name in arrays]
        if len(both) == 1 or (part == 'train' and not both):
            problems.append(f"'images_{part}' and 'labels_{part}' must both be there")
        elif both:
            problems += _problems_of_shapes(both, *(arrays[name].shape for name in both))
    if problems:
        raise UserError('\n'.join([f"'{path}' has problems:", *(f'  - {problem}' for problem in problems)]))


def _problems_of_shapes(names: Sequence[str], of_images: tuple[int, ...], of_labels: tuple[int, ...]) -> Iterator[str]:
    """Yield what is wrong with the shapes of images and labels of these names."""
    if len(of_images) not in (3, 4) or 0 in of_images[1:]:
        yield f"'{names[0]}' has shape {of_images}; it must be (N, H, W, channels)"
    elif len(of_labels) == 2:
        yield (
            f"'{names[1]}' has shape {of_labels}; it must be ({of_images[0]},), one number or word for each image: of "
            'one column per class, save the place of the largest, labels.argmax(axis=1)'
        )
    elif len(of_labels) == 4:
        yield f"'{names[1]}' has shape {of_labels}; label maps are class numbers, (N, H, W): turn colors into these"
    elif len(of_labels) == 3 and of_labels != of_images[:3]:
        yield f"'{names[1]}' has shape {of_labels}; the label maps of these images are {of_images[:3]}"


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
    if images.ndim == 4 and images.shape[1] in (1, 3, 4) and images.shape[3] > 4:
        raise UserError(
            f"the images of '{path}' have shape {images.shape}, where the channels seem to come first, as in PyTorch; "
            'they must come last, (N, H, W, channels): images.transpose(0, 2, 3, 1)'
        )


def _numbers(labels: np.ndarray, ignored: int | None, path: Path) -> tuple[str, ...]:
    """Return class numbers from 0 to the largest of labels or label maps as the names of classes.

    Raises:
      UserError: the largest makes more classes than there can be, or they begin at 1.
    """
    if labels.dtype.kind not in 'iu':
        return ('0',)  # check_examples says so
    present = numbers_in(labels)[0] if labels.ndim == 3 else np.unique(labels)
    present = present[present != ignored]
    largest = int(present.max(initial=0))
    if present.min(initial=0) < 0:
        return tuple(map(str, range(min(largest, MOST_MAP_CLASSES) + 1)))  # check_examples says so
    # Before names are made: a label of 2^40 would make as many.
    if largest + 1 > (max(len(labels), 2) if labels.ndim == 1 else MOST_MAP_CLASSES):
        raise UserError(
            f"'{path}' has a label of {largest}, which would make {largest + 1:,} classes of {len(labels):,} training "
            'examples; labels are class numbers from 0: correct it, or give class_names'
        )
    if len(present) and present[0] == 1 and len(present) == largest and largest > 1:
        raise UserError(
            f"the labels of '{path}' run from 1 to {largest}; classes are numbered from 0: subtract 1, or give "
            'class_names if class 0 merely has no example'
        )
    empty = largest + 1 - len(present)
    if labels.ndim == 3 and largest >= 10 and (len(present) == 2 or empty > len(present)):
        raise UserError(
            f"the label maps of '{path}' hold {len(present)} numbers ({some(present.tolist(), 8)}), so {empty} of "
            f'{largest + 1} classes would be without a pixel; if {largest} counts nowhere, set '
            f'--config.data.arrays.ignore_label={largest}; else number the classes anew from 0, or give class_names if '
            'the others merely have no pixel'
        )
    return tuple(map(str, range(largest + 1)))
