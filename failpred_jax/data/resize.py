"""Images and label maps of another size, once, when they are loaded."""

import jax
import jax.numpy as jnp
import numpy as np

# Float copies of this many pixels are in memory at a time.
_BLOCK_PIXELS = 2**24


def resize_images(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return images resized bilinearly, smoothed first where they shrink.

    Args:
      images: [N, H, W, channels] uint8.
      size: (height, width).

    Returns:
      [N, height, width, channels] uint8, rounded.
    """
    if images.shape[1:3] == tuple(size):
        return images
    channels = images.shape[-1]
    block = max(1, _BLOCK_PIXELS // max(images.shape[1] * images.shape[2], size[0] * size[1]))
    resized = np.empty((len(images), *size, channels), np.uint8)
    for start in range(0, len(images), block):
        part = jnp.asarray(images[start : start + block], jnp.float32)
        changed = jax.image.resize(part, (len(part), *size, channels), 'linear')
        resized[start : start + block] = np.asarray(jnp.clip(jnp.round(changed), 0, 255)).astype(np.uint8)
    return resized


def resize_picture(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return one picture [H, W, channels] uint8 at (height, width): as `resize_images`, to within a rounding.

    Pillow does it, since pictures of a thousand sizes would be a thousand programs to compile.
    """
    from PIL import Image

    if picture.shape[:2] == tuple(size):
        return picture

    def resized(pixels: np.ndarray) -> np.ndarray:
        how = Image.Resampling.BILINEAR  # Smooths first where the picture shrinks.
        return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), how))

    if picture.shape[-1] == 3:
        return resized(picture)
    # One by one: Pillow takes a second or fourth channel for transparency, and weighs the others with it.
    return np.stack([resized(picture[..., i]) for i in range(picture.shape[-1])], axis=-1)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return label maps [N, H, W] at (height, width), each pixel that of the nearest center, of the same type."""
    if labels.shape[1:] == tuple(size):
        return labels
    # Where the center of each new pixel falls in the old map.
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, labels.shape[1:], strict=True)
    )
    return labels[:, rows[:, None], columns[None, :]]
