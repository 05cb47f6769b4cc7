"""Picture files with a label each, by part, as a data set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.data.decoding import channels_of, check_gray, decode_files, size_of_first
from failpred_jax.data.grouping import check_groups
from failpred_jax.data.lazy import lazy_pictures
from failpred_jax.data.parts import PARTS
from failpred_jax.data.pictures import read_picture
from failpred_jax.data.sources import RawData
from failpred_jax.errors import UserError
from failpred_jax.options import rule
from failpred_jax.types import DatasetInfo, Examples

CHANNELS = rule('0, 1 or 3', lambda v: v in (0, 1, 3))


class LabeledFiles(NamedTuple):
    """The pictures of one part.

    Attributes:
      files: N of them.
      labels: [N] int32, class numbers.
      groups: [N] of any type, what belongs together (a patient, a video), or None.
    """

    files: tuple[Path, ...]
    labels: np.ndarray
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class _Form:
    """How all pictures of a set are read, and whether only when they are needed."""

    shape: tuple[int, int, int]
    resize: bool
    is_lazy: bool


def read_parts(
    parts: Mapping[str, LabeledFiles],
    name: str,
    class_names: tuple[str, ...],
    data: DataConfig,
    channels: int,
    channels_option: str,
) -> RawData:
    """Return a classification set of picture files.

    Args:
      parts: 'train', and perhaps 'validation' and 'test' -> its files.
      name: of the set.
      class_names: C of them.
      data: the data section of the config, for `image_size`.
      channels: 3, 1, or 0 for 1 if all pictures are stored as gray.
      channels_option: the option that says so, for messages.

    Raises:
      UserError: a part is empty, or its pictures cannot be read or differ in size.
    """
    for part, found in parts.items():
        if not found.files:
            raise UserError(f"the {part} part of '{name}' holds no pictures")
    everything = [file for found in parts.values() for file in found.files]
    num_channels = channels_of(everything, channels)
    if num_channels == 1 and not channels:
        check_gray(everything, channels_option)
    train_files = parts['train'].files
    height, width = data.new_size or size_of_first(
        len(train_files), lambda i: read_picture(train_files[i]), f"the train part of '{name}'"
    )
    shape = (height, width, num_channels)
    form = _Form(shape, data.new_size is not None, data.is_beyond_memory(len(everything) * math.prod(shape)))
    read = {part: _read(found, form, f"the {part} part of '{name}'") for part, found in parts.items()}
    info = DatasetInfo(name, 'classification', form.shape, class_names)
    train, validation, test = (read.get(part) for part in PARTS)
    if train is None:
        raise ValueError('a set has a train part')
    groups = {part: found.groups for part, found in parts.items() if found.groups is not None}
    check_groups(groups)
    train_groups = groups.pop('train', None)
    return RawData(info, train, validation, test, groups=train_groups, held_out_groups=groups)


def _read(found: LabeledFiles, form: _Form, what: str) -> Examples:
    if not form.is_lazy:
        return Examples(decode_files(found.files, form.shape, form.resize, what), found.labels)

    def read(i: int) -> np.ndarray:
        return read_picture(found.files[i], channels=form.shape[-1])

    images = lazy_pictures(len(found.files), read, form.shape, form.resize, what, lambda i: found.files[i])
    return Examples(images, found.labels)
