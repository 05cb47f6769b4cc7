"""The values that rooms hand one another. No logic lives here.

Shape letters, used in every docstring: B batch, H W pixels, C classes, D features, T stochastic passes, N units
evaluated (images, or pixels of a segmentation), K bins. `...` stands for any leading axes: a classifier's unit is
an image, a segmenter's unit is a pixel, and a function written over the last axis serves both.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray
PyTree = Any


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before training.

    Attributes:
      name: as the user knows it, such as 'mnist'.
      task: 'classification' (one label an image) or 'segmentation' (one label a pixel).
      image_shape: (H, W, channels) as the network sees it.
      class_names: C names, in label order. They come from data: escape them before they reach a page.
      ignore_label: the label whose units count nowhere (CamVid's void class), or None.
    """

    name: str
    task: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    ignore_label: int | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


class Cached(NamedTuple):
    """What is computed of examples beforehand, so that no pass computes it; None where a pass does.

    Attributes:
      hidden: pytree of [N, ...], what the backbone's prefix makes of the images.
      features: [N, ..., D], the backbone's output.
      logits: [N, ..., C] float32, the classifier's, or others that a loss shall read in their place.
    """

    hidden: PyTree | None = None
    features: Array | None = None
    logits: Array | None = None


class Batch(NamedTuple):
    """Examples on their way through a step.

    Attributes:
      image: [B, H, W, channels]; uint8 as stored, float32 once normalized; None where what is cached replaces it.
      label: [B] or [B, H, W] int32, in [0, C).
      mask: [B] bool; False marks padding, which counts nowhere.
      cached: what need not be computed of them.
      index: [B] int32, the place in the training set, while training; -1 for what a recipe made up, which has a loss
        but counts neither as an example nor as correct.
      targets: [B, C] or [B, H, W, C] float32, class shares that a recipe puts in the place of the labels in the loss;
        None for the labels.
      weights: [B] float32, by which a recipe multiplies the losses; None for 1.
    """

    image: Array | None
    label: Array
    mask: Array
    cached: Cached = Cached()
    index: Array | None = None  # pyright: ignore[reportIncompatibleMethodOverride]  # tuple.index is never called
    targets: Array | None = None
    weights: Array | None = None


class Examples(NamedTuple):
    """A part of a data set, in host memory.

    Attributes:
      images: [N, H, W, channels] uint8; None where what is cached replaces them.
      labels: [N] int32, or [N, H, W] uint8 (int32 where a label exceeds 255).
      cached: what need not be computed of them.
      index: [N] int32, their places in the set that they are a part of; None where these are 0 to N - 1.
    """

    images: np.ndarray | None
    labels: np.ndarray
    cached: Cached = Cached()
    index: np.ndarray | None = None  # pyright: ignore[reportIncompatibleMethodOverride]  # tuple.index is never called


class Outputs(NamedTuple):
    """What a network says of a batch, always float32.

    Attributes:
      logits: [..., C], of the (frozen) classifier.
      features: [..., D], the penultimate activations that the head and the distance scores read.
      confidence_logit: [...]; the confidence is its sigmoid. None before the confidence stage.
    """

    logits: Array
    features: Array
    confidence_logit: Array | None = None
