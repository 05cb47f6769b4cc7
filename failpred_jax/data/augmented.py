"""A few training images as training sees them, for people to check augmentation by eye."""

import jax
import numpy as np

from failpred_jax.config import AugmentConfig
from failpred_jax.data.augment import make_augment_fn
from failpred_jax.errors import given
from failpred_jax.types import DatasetInfo, Examples

NUM_IMAGES = 4
NUM_DRAWS = 5


def draw_augmented(
    config: AugmentConfig, info: DatasetInfo, examples: Examples, seed: int
) -> dict[str, np.ndarray] | None:
    """Return M training images, each as it is stored and then R - 1 times augmented; None if nothing is random.

    Args:
      config: the changes.
      info: of the data set.
      examples: to choose from.
      seed: of the choice and of the changes.

    Returns:
      {'image': [M, R, H, W, channels] uint8, 'index': [M] places in `examples`} and, for a segmentation, 'label':
      [M, R, H, W] int32, -1 where it is ignored.
    """
    if not config.is_random:
        return None
    rng = np.random.default_rng(seed)
    index = np.sort(rng.permutation(len(examples.labels))[:NUM_IMAGES])
    images = np.repeat(given(examples.images, 'images')[index], NUM_DRAWS, axis=0)
    labels = np.repeat(examples.labels[index], NUM_DRAWS, axis=0).astype(np.int32)
    keys = jax.random.split(jax.random.key(seed), len(images))
    changed, changed_labels = jax.jit(make_augment_fn(config, info))(keys, images, labels)

    def in_rows(stored: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        stored, drawn = (x.reshape(len(index), NUM_DRAWS, *x.shape[1:]) for x in (stored, drawn))
        return np.concatenate([stored[:, :1], drawn], axis=1)

    found = {
        'image': in_rows(images, np.round(np.asarray(changed) * 255).astype(np.uint8)),
        'index': index,
    }
    if info.task == 'segmentation':
        maps = in_rows(labels, np.asarray(changed_labels))
        found['label'] = maps if info.ignore_label is None else np.where(maps == info.ignore_label, -1, maps)
    return found
