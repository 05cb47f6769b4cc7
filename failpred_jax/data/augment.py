"""Random changes to training images, inside the compiled step, and the normalization that every image gets.

An example's changes depend on its own key alone, so that neither the batch it falls into nor the number of devices
matters. Geometric changes move an image and its label map together.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from failpred_jax.config import AugmentConfig
from failpred_jax.errors import UserError
from failpred_jax.types import Array, DatasetInfo

AugmentFn = Callable[[Array, Array, Array], tuple[Array, Array]]

# One uniform number each is drawn for every example, whichever are used: turning one change on leaves the others be.
_DRAWS = ('flip', 'angle', 'down', 'right', 'brightness', 'contrast', 'saturation')

# Label of the pixels beyond an image's border, where the data set has no label of its own for what counts nowhere.
PADDING_LABEL = -1

# How bright red, green and blue look (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


def make_augment_fn(config: AugmentConfig, info: DatasetInfo) -> AugmentFn:
    """Return `augment(keys, images, labels) -> (images, labels)` with the changes that the config asks for.

    The returned function's arguments are keys, an array of PRNG keys [B]; images [B, H, W, channels] uint8; and
    labels, [B] or [B, H, W] int32. It returns images float32 in [0, 1], not yet normalized, and labels. Where a
    rotation or a crop looks beyond the border there is 0 in images, and in label maps the ignored label, or -1 if the
    data set ignores none: padding is no class, and counts nowhere (see train/step.py). Zero strength is the identity.

    Raises:
      UserError: crop_padding is larger than the images.
    """
    if config.crop_padding >= min(info.image_shape[:2]):
        raise UserError(
            f'config.data.augment.crop_padding is {config.crop_padding}, but the images are '
            f'{info.image_shape[0]} x {info.image_shape[1]}; pad by less than that'
        )
    has_map = info.task == 'segmentation'
    outside = PADDING_LABEL if info.ignore_label is None else info.ignore_label

    def augment(keys: Array, images: Array, labels: Array) -> tuple[Array, Array]:
        draws = jax.vmap(lambda key: jax.random.uniform(key, (len(_DRAWS),)))(keys)
        draw = {name: draws[:, i] for i, name in enumerate(_DRAWS)}
        maps = labels[..., None] if has_map else None
        if config.flip:
            images, maps = _each(lambda x, _: _flip(x, draw['flip'] < 0.5), images, maps, outside)
        if config.rotate_degrees:
            images, maps = _rotate(images, maps, _either_way(draw['angle'], config.rotate_degrees), outside)
        if config.crop_padding:
            corner = jnp.stack([draw['down'], draw['right']], axis=1) * (2 * config.crop_padding + 1)
            corner = corner.astype(jnp.int32)
            images, maps = _each(lambda x, fill: _crop(x, corner, config.crop_padding, fill), images, maps, outside)
        images = to_unit(images)
        if config.brightness:
            images = _blend(images, jnp.zeros_like(images), draw['brightness'], config.brightness)
        if config.contrast:
            mean = jnp.mean(_gray(images), axis=(1, 2, 3), keepdims=True)
            images = _blend(images, jnp.broadcast_to(mean, images.shape), draw['contrast'], config.contrast)
        if config.saturation:
            gray = jnp.broadcast_to(_gray(images), images.shape)
            images = _blend(images, gray, draw['saturation'], config.saturation)
        return images, labels if maps is None else maps[..., 0]

    return augment


def normalize(images: Array, mean: tuple[float, ...], std: tuple[float, ...]) -> Array:
    """Return `(image - mean) / std` of images in [0, 1].

    Args:
      images: [..., channels]; uint8, which is divided by 255, or float in [0, 1].
      mean: one value, or one a channel.
      std: likewise, greater than 0.

    Returns:
      The shape of images, float32.

    Raises:
      UserError: the number of values is neither 1 nor the number of channels.
    """
    channels = images.shape[-1]
    for name, values in (('mean', mean), ('std', std)):
        if len(values) not in (1, channels):
            raise UserError(
                f'config.data.{name} has {len(values)} values, but the images have {channels} channel(s); '
                'give one value, or one a channel'
            )
    shape = (1,) * (images.ndim - 1) + (-1,)
    mean_of, std_of = (jnp.asarray(values, jnp.float32).reshape(shape) for values in (mean, std))
    x = to_unit(images)
    return (x - jnp.broadcast_to(mean_of, x.shape)) / jnp.broadcast_to(std_of, x.shape)


def to_unit(images: Array) -> Array:
    """Return uint8 images as float32 in [0, 1], and float images as float32."""
    x = jnp.asarray(images)
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x.astype(jnp.float32)


def _each(
    change: Callable[[Array, int], Array], images: Array, maps: Array | None, outside: int
) -> tuple[Array, Array | None]:
    """Apply a change, given what to fill with, to images and to their label maps."""
    return change(images, 0), None if maps is None else change(maps, outside)


def _either_way(draw: Array, strength: float) -> Array:
    return (2 * draw - 1) * strength


def _flip(x: Array, chosen: Array) -> Array:
    return jnp.where(chosen.reshape(-1, 1, 1, 1), x[:, :, ::-1], x)


def _crop(x: Array, corner: Array, padding: int, fill: int) -> Array:
    """Return what each image shows after padding on all sides, from its corner [B, 2] on, in the size it had."""
    sides = (padding, padding)
    padded = jnp.pad(x, ((0, 0), sides, sides, (0, 0)), constant_values=fill)
    return jax.vmap(lambda image, at: lax.dynamic_slice(image, (at[0], at[1], 0), x.shape[1:]))(padded, corner)


def _rotate(images: Array, maps: Array | None, degrees: Array, outside: int) -> tuple[Array, Array | None]:
    """Rotate about the center: images [B, H, W, D] uint8 -> float32 in [0, 1], bilinear; maps by nearest neighbor."""
    _, height, width, channels = images.shape
    angle = jnp.deg2rad(degrees).reshape(-1, 1, 1)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    down = (jnp.arange(height) - middle_y).reshape(1, -1, 1)
    right = (jnp.arange(width) - middle_x).reshape(1, 1, -1)
    # Where each pixel of the result comes from: the inverse rotation.
    y = cos * down + sin * right + middle_y
    x = cos * right - sin * down + middle_x
    top, left = jnp.floor(y), jnp.floor(x)
    # All channels of a pixel as 32-bit words: a gather's time goes by the number of things it fetches.
    words = _pack(images)
    total = jnp.zeros((*y.shape, channels), jnp.float32)
    for below in (0, 1):
        for beside in (0, 1):
            row, column = top + below, left + beside
            share = (1 - jnp.abs(y - row)) * (1 - jnp.abs(x - column))
            corner = _unpack(_fetch(words, row, column, 0), channels)
            total = total + share[..., None] * corner.astype(jnp.float32)
    if maps is not None:
        maps = _fetch(maps, jnp.round(y), jnp.round(x), outside)
    return jnp.clip(total / 255, 0, 1), maps


def _fetch(x: Array, row: Array, column: Array, fill: int) -> Array:
    """Return x[b, row, column] for each b, and `fill` beyond the border: [B, H, W, D], rows [B, H', W'] -> as rows."""
    batch, height, width, depth = x.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    row, column = (jnp.where(inside, v, 0).astype(jnp.int32) for v in (row, column))
    flat = x.reshape(batch, height * width, depth)
    fetched = jax.vmap(lambda values, places: values[places])(flat, (row * width + column).reshape(batch, -1))
    return jnp.where(inside[..., None], fetched.reshape(*row.shape, depth), fill)


def _pack(images: Array) -> Array:
    """Return uint8 channels as words of four: [..., D] -> [..., ceil(D / 4)] uint32."""
    missing = -images.shape[-1] % 4
    padded = jnp.pad(images, (*((0, 0) for _ in images.shape[:-1]), (0, missing)))
    return lax.bitcast_convert_type(padded.reshape(*images.shape[:-1], -1, 4), jnp.uint32)


def _unpack(words: Array, channels: int) -> Array:
    return lax.bitcast_convert_type(words, jnp.uint8).reshape(*words.shape[:-1], -1)[..., :channels]


def _gray(images: Array) -> Array:
    """Return how bright each pixel looks: [B, H, W, D] -> [B, H, W, 1]."""
    if images.shape[-1] != len(_LUMA):
        return jnp.mean(images, axis=-1, keepdims=True)
    return jnp.sum(images * jnp.asarray(_LUMA).reshape(1, 1, 1, -1), axis=-1, keepdims=True)


def _blend(images: Array, base: Array, draw: Array, strength: float) -> Array:
    """Move away from, or towards, `base` by up to `strength`, and keep within [0, 1]."""
    factor = 1 + _either_way(draw, strength).reshape(-1, 1, 1, 1)
    return jnp.clip(base + factor * (images - base), 0, 1)
