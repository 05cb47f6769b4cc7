"""The user's own images, in one npz."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.data.sources import RawData, images_of
from failpred_jax.errors import UserError, nearest
from failpred_jax.files import DAMAGE
from failpred_jax.options import option, rule
from failpred_jax.registry import SOURCES
from failpred_jax.types import DatasetInfo, Examples

_NAMES = ('images_train', 'labels_train', 'images_val', 'labels_val', 'images_test', 'labels_test', 'class_names')


@dataclass(frozen=True)
class ArraysOptions:
    """What this source can be told."""

    path: str = option('', 'npz of images and labels', changes_training=False)
    ignore_label: int = option(
        -1, 'label whose pixels count nowhere; -1 for none', rule('-1 or greater', lambda v: v >= -1)
    )

    def problems(self, path: str) -> Iterator[str]:
        """Yield what cannot work."""
        if not self.path:
            yield f"{path}.path is ''; source 'arrays' reads the npz it names"


@SOURCES.register('arrays', options=ArraysOptions)
def load(data: DataConfig, options: ArraysOptions) -> RawData:
    """Return the parts of the npz that `options.path` names.

    It holds `images_train` [N, H, W] or [N, H, W, channels] uint8 and `labels_train` [N] integers from 0 (or label
    maps [N, H, W], for segmentation), optionally the same with `_val` and `_test`, and optionally `class_names` [C] of
    strings. A part that is not there is split off the training part. Pixels of `options.ignore_label` count
    nowhere.

    Raises:
      UserError: the file is missing or damaged, or its arrays are not these.
    """
    del data  # nothing of it concerns a file that is read as it is
    path = Path(options.path)
    if not path.is_file():
        raise UserError(
            f"config.data.arrays.path is '{path}', and there is no such file; save an .npz with images_train, ..."
        )
    try:
        # Opened here: numpy leaves the file open when it finds no archive in it.
        with path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except DAMAGE as error:
        raise UserError(
            f"config.data.arrays.path: '{path}' cannot be read as an npz of plain arrays ({error}); nothing is ever "
            'unpickled, so save numbers and fixed-length strings only'
        ) from error
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

    def examples(part: str) -> Examples:
        images = arrays[f'images_{part}']
        return Examples(images if images.ndim == 4 else images[..., None], arrays[f'labels_{part}'])

    train = examples('train')
    if 'class_names' in arrays:
        class_names = tuple(str(name) for name in arrays['class_names'])
    else:
        known = train.labels[train.labels != options.ignore_label]
        class_names = tuple(str(i) for i in range(int(known.max(initial=0)) + 1))
    task = 'segmentation' if train.labels.ndim == 3 else 'classification'
    if task == 'classification' and options.ignore_label >= 0:
        raise UserError(
            f"config.data.arrays.ignore_label is {options.ignore_label}, but '{path}' has one label per image; it is "
            'for label maps: leave out those images, and set it to -1'
        )
    ignored = options.ignore_label if options.ignore_label >= 0 else None
    info = DatasetInfo(path.stem, task, images_of(train).shape[1:], class_names, ignored)
    held_out = (examples(part) if f'images_{part}' in arrays else None for part in ('val', 'test'))
    return RawData(info, train, *held_out)
