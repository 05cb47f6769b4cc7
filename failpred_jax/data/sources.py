"""What a data source returns, and the checks every source's data passes through.

A source is one file with one function, registered in `registry.SOURCES`: `load(data, options) -> RawData`, with the
data section of the config and the options that the source owns (None if it owns none).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from failpred_jax.data.lazy import LazyRows, part_of
from failpred_jax.data.lazy_maps import counts_by_map
from failpred_jax.errors import UserError
from failpred_jax.types import DatasetInfo, Examples


@dataclass(frozen=True)
class RawData:
    """A data set as its source has it.

    Attributes:
      info: what is known of it.
      train: the training part, from which validation is taken where there is none.
      validation: the source's own validation part, or None.
      test: the source's own test part, or None where a part of `train` has to serve.
      is_all_known: whether the files that the source names beforehand are all that decided what was loaded.
      groups: [N] of any type, what each training example belongs to and is never split from; None for nothing.
      held_out_groups: 'validation' and 'test' -> the same of those parts, where they are there and have some.
      classes_of: training label maps -> the names of the classes in them, where `info` does not have them yet since the
        maps stay in their files until they were looked through; None where it has.
    """

    info: DatasetInfo
    train: Examples
    validation: Examples | None
    test: Examples | None
    groups: np.ndarray | None = field(default=None, kw_only=True)
    held_out_groups: Mapping[str, np.ndarray] = field(default_factory=dict, kw_only=True)
    is_all_known: bool = field(default=True, kw_only=True)
    classes_of: Callable[[np.ndarray], tuple[str, ...]] | None = field(default=None, kw_only=True)

    def named(self) -> 'RawData':
        """Return the set with the names of its classes, which may be found in its label maps.

        Raises:
          UserError: what the maps hold cannot be classes.
        """
        if self.classes_of is None:
            return self
        info = replace(self.info, class_names=self.classes_of(self.train.labels))
        return replace(self, info=info, classes_of=None)


def images_of(examples: Examples) -> np.ndarray:
    """Return the images [N, H, W, channels] of examples that are as their source has them.

    Raises:
      ValueError: there are none.
    """
    if examples.images is None:
        raise ValueError('examples of a data source have images')
    return examples.images


def part_of_examples(examples: Examples, rows: np.ndarray) -> Examples:
    """Return some examples, as numbers [M] or truth values [N]; what stays in its files is not read for that."""
    return Examples(part_of(images_of(examples), rows), part_of(examples.labels, rows))


def check_examples(examples: Examples, info: DatasetInfo, where: str) -> Examples:
    """Return the examples, labels int32 and label maps uint8 where they fit.

    Raises:
      UserError: naming what is wrong, and `where`.
    """
    images, labels = images_of(examples), examples.labels
    problems = []
    if len(images) == 0:
        problems.append('holds no examples')
    if images.dtype != np.uint8:
        how = ' (of values from 0 to 1: np.uint8(np.round(255 * images)))' if images.dtype.kind == 'f' else ''
        problems.append(f'has images of type {images.dtype}; they must be uint8, 0 to 255{how}')
    if images.ndim != 4 or images.shape[1:] != info.image_shape:
        problems.append(f'has images of shape {images.shape}; it must be (N, {", ".join(map(str, info.image_shape))})')
    per_image = () if info.task == 'classification' else info.image_shape[:2]
    if labels.shape != (len(images), *per_image):
        wanted = (len(images), *per_image)
        problems.append(f'has labels of shape {labels.shape}; a {info.task} of these images needs {wanted}')
    if not np.issubdtype(labels.dtype, np.integer):
        problems.append(f'has labels of type {labels.dtype}; they must be integers')
    elif isinstance(labels, LazyRows) and not problems:
        problems += _problems_of_maps(labels, info)
    elif labels.size and not isinstance(labels, LazyRows):
        allowed = (labels >= 0) & (labels < info.num_classes)
        if info.ignore_label is not None:
            allowed |= labels == info.ignore_label
        if not allowed.all():
            bad = np.argwhere(~allowed)[0]
            problems.append(_out_of_range(int(np.count_nonzero(~allowed)), labels[tuple(bad)], int(bad[0]), info))
    if problems:
        raise UserError('\n'.join(f'{where} {problem}' for problem in problems))
    if isinstance(labels, LazyRows):
        is_small = counts_by_map(labels)[:, 1].max(initial=0) <= 255
        return Examples(images, cast(np.ndarray, labels.of_type(np.uint8 if is_small else np.int32)))
    # A label map has as many numbers as its image has pixels; it stays as small as the image.
    keep = info.task == 'segmentation' and labels.max(initial=0) <= 255
    return Examples(images, labels.astype(np.uint8 if keep else np.int32, copy=False))


def _problems_of_maps(labels: LazyRows, info: DatasetInfo) -> list[str]:
    """Return what is wrong with label maps that stay in their files, as a list of at most one."""
    counts = counts_by_map(cast(np.ndarray, labels))
    wrong = (counts[:, 1] < 0) | (counts[:, 1] >= info.num_classes)
    if info.ignore_label is not None:
        wrong &= counts[:, 1] != info.ignore_label
    if not wrong.any():
        return []
    first = int(counts[wrong][0, 0])
    label = labels[first].reshape(-1)
    is_bad = np.isin(label, counts[wrong & (counts[:, 0] == first), 1])
    return [_out_of_range(int(counts[wrong, 2].sum()), label[is_bad][0], first, info)]


def _out_of_range(count: int, such_as: Any, example: int, info: DatasetInfo) -> str:
    hint = (
        "; where it means 'no label', leave these images out" if such_as == -1 and info.task == 'classification' else ''
    )
    return (
        f'has {count} labels out of range, such as {such_as} in example {example}; labels must be 0 to '
        f'{info.num_classes - 1}{hint}'
    )
