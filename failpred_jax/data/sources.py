"""What a data source returns, and the checks every source's data passes through.

A source is one file with one function, registered in `registry.SOURCES`: `load(data, options) -> RawData`, with the
data section of the config and the options that the source owns (None if it owns none).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

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
    """

    info: DatasetInfo
    train: Examples
    validation: Examples | None
    test: Examples | None
    groups: np.ndarray | None = field(default=None, kw_only=True)
    held_out_groups: Mapping[str, np.ndarray] = field(default_factory=dict, kw_only=True)
    is_all_known: bool = field(default=True, kw_only=True)


def images_of(examples: Examples) -> np.ndarray:
    """Return the images [N, H, W, channels] of examples that are as their source has them.

    Raises:
      ValueError: there are none.
    """
    if examples.images is None:
        raise ValueError('examples of a data source have images')
    return examples.images


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
        problems.append(f'has images of type {images.dtype}; they must be uint8, 0 to 255')
    if images.ndim != 4 or images.shape[1:] != info.image_shape:
        problems.append(f'has images of shape {images.shape}; it must be (N, {", ".join(map(str, info.image_shape))})')
    per_image = () if info.task == 'classification' else info.image_shape[:2]
    if labels.shape != (len(images), *per_image):
        wanted = (len(images), *per_image)
        problems.append(f'has labels of shape {labels.shape}; a {info.task} of these images needs {wanted}')
    if not np.issubdtype(labels.dtype, np.integer):
        problems.append(f'has labels of type {labels.dtype}; they must be integers')
    elif labels.size:
        allowed = (labels >= 0) & (labels < info.num_classes)
        if info.ignore_label is not None:
            allowed |= labels == info.ignore_label
        if not allowed.all():
            bad = np.argwhere(~allowed)[0]
            problems.append(
                f'has {np.count_nonzero(~allowed)} labels out of range, such as {labels[tuple(bad)]} in example '
                f'{bad[0]}; labels must be 0 to {info.num_classes - 1}'
            )
    if problems:
        raise UserError('\n'.join(f'{where} {problem}' for problem in problems))
    # A label map has as many numbers as its image has pixels; it stays as small as the image.
    keep = info.task == 'segmentation' and labels.max(initial=0) <= 255
    return Examples(images, labels.astype(np.uint8 if keep else np.int32, copy=False))
