"""From stored uint8 images to what the network sees, on the device."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from failpred_jax.config import DataConfig
from failpred_jax.data.augment import make_augment_fn, normalize
from failpred_jax.errors import given
from failpred_jax.types import Array, DatasetInfo

PrepareFn = Callable[[Array | None, Array, Array], tuple[Array, Array]]


def make_prepare_fns(config: DataConfig, info: DatasetInfo) -> tuple[PrepareFn, PrepareFn]:
    """Return (training, evaluation): `(keys [B] or None, images uint8, labels) -> (images float32, labels)`.

    Training augments, then normalizes; evaluation only normalizes, and ignores its keys.

    Raises:
      UserError: a mean or std that fits neither one value nor the channels of the images, or an augmentation that
        does not fit their size.
    """
    augment = make_augment_fn(config.augment, info)

    def prepare_eval(keys: Array | None, images: Array, labels: Array) -> tuple[Array, Array]:
        del keys
        return normalize(images, config.mean, config.std), jnp.asarray(labels, jnp.int32)

    def prepare_train(keys: Array | None, images: Array, labels: Array) -> tuple[Array, Array]:
        images, labels = augment(given(keys, 'a key for each image'), images, jnp.asarray(labels, jnp.int32))
        return normalize(images, config.mean, config.std), labels

    # Said now, and not when the first step is compiled.
    jax.eval_shape(
        lambda images: normalize(images, config.mean, config.std),
        jax.ShapeDtypeStruct((1, *info.image_shape), jnp.uint8),
    )
    return (prepare_train if config.augment.is_random else prepare_eval), prepare_eval
