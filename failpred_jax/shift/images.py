"""Images from elsewhere, brought to the form that a classifier takes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.data.resize import resize_images
from failpred_jax.errors import UserError
from failpred_jax.registry import CORRUPTIONS, SHIFTS
from failpred_jax.types import DatasetInfo

ALL_CORRUPTIONS = 'all_corruptions'
# What a run adds by itself where it leaves classes out.
EXCLUDED = 'excluded_classes'
# Of red, green and blue, for a gray picture (Rec. ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])


class Form(NamedTuple):
    """What a shifted set has to become like.

    Attributes:
      info: of the run's data set: the shape of its images, and its classes.
      data: the run's data section, for where sets are found.
      seed: of what is drawn.
    """

    info: DatasetInfo
    data: DataConfig
    seed: int = 0


@dataclass(frozen=True)
class ShiftImages:
    """A shifted set as its source has it, in the form of the classifier.

    Attributes:
      images: [N, H, W, channels] uint8.
      labels: [N] int32, classes of the run; None for strangers.
      description: what it is.
    """

    images: np.ndarray
    labels: np.ndarray | None
    description: str


# (what follows the colon, Form) -> ShiftImages; registered in SHIFTS.
SourceFn = Callable[[str, Form], ShiftImages]


def load_shift(asked: str, form: Form) -> ShiftImages:
    """Return the set that was asked for, such as 'tfds:cifar10'; corruptions are none.

    Raises:
      UserError: it cannot be had, is empty or cannot be brought to the form; the message says what was asked for.
    """
    name, _, argument = asked.partition(':')
    try:
        found = SHIFTS[name](argument, form)
        if not len(found.images):
            raise UserError('it holds no images')
        return found
    except UserError as error:
        raise UserError(f"config.evaluate.shifts, '{asked}': {error}") from error


def check_paths(asked: tuple[str, ...]) -> None:
    """Raise a UserError if a file or folder that a set is read from is not there; nothing is read."""
    for word in asked:
        kind, _, argument = word.partition(':')
        what = {'FILE': 'file', 'DIR': 'folder'}.get(SHIFTS.fact(kind, 'argument') if kind in SHIFTS else '')
        if what and not Path(argument).expanduser().exists():
            raise UserError(f"config.evaluate.shifts, '{word}': there is no {what} {argument}")


def expand(asked: tuple[str, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """Return (name, severities) of each set, once: 'blur' and 'blur:3' are corruptions, the others have none."""
    found: dict[str, tuple[int, ...]] = {}
    for word in asked:
        name, _, argument = word.partition(':')
        if word == ALL_CORRUPTIONS:
            found |= dict.fromkeys(CORRUPTIONS, (1, 2, 3, 4, 5))
        elif name in CORRUPTIONS:
            found[word] = (int(argument),) if argument else (1, 2, 3, 4, 5)
        else:
            found[word] = ()
    return list(found.items())


def in_form(images: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Return images [N, h, w] or [N, h, w, channels] uint8 in the size and colors of a data set's.

    Color becomes gray by its luma, gray becomes color by three equal channels; opacity is dropped.

    Raises:
      UserError: they are no images of uint8, or their channels cannot become those of the data set.
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise UserError(
            f'its images are {images.dtype} of shape {images.shape}; they must be uint8, (N, H, W, channels)'
        )
    images = images[..., None] if images.ndim == 3 else images
    height, width, channels = info.image_shape
    there = images.shape[-1]
    if there == 4 and channels in (1, 3):
        images, there = images[..., :3], 3
    if there == 3 and channels == 1:
        images = np.rint(images @ _LUMA).astype(np.uint8)[..., None]
    elif there == 1 and channels == 3:
        images = images.repeat(3, axis=-1)
    elif there != channels:
        raise UserError(
            f'its images have {there} channels and those of {info.name} {channels}; only gray (1) and color (3, or 4 '
            'with opacity) become one another'
        )
    return resize_images(images, (height, width))


def own_classes(names: tuple[str, ...], info: DatasetInfo) -> bool:
    """Return whether the classes of a set are those of the run, in the same order."""
    return tuple(names) == tuple(info.class_names)


def draw(count: int, most: int, seed: int) -> np.ndarray:
    """Return rising places of at most `most` of `count` units, drawn by seed; 0 for all."""
    if not most or count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, count]).permutation(count)[:most])
