"""Images and label maps of another size, once, when they are loaded.

Pillow resizes images, in whole numbers. A float32 sum depends on the number of threads and on the processor, and one
pixel that rounds otherwise makes other data of the same files: a run could not go on on another machine.
"""

import numpy as np


def resize_images(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return images resized bilinearly, smoothed first where they shrink.

    Args:
      images: [N, H, W, channels] uint8.
      size: (height, width).

    Returns:
      [N, height, width, channels] uint8, rounded: each as `resize_picture` gives it.
    """
    if images.shape[1:3] == tuple(size):
        return images
    resized = np.empty((len(images), *size, images.shape[-1]), np.uint8)
    for i, image in enumerate(images):
        resized[i] = resize_picture(image, size)
    return resized


def resize_picture(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return one picture [H, W, channels] uint8 at (height, width), bit-identical on all machines."""
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
