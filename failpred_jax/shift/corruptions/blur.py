"""What is lost of fine detail."""

import numpy as np

from failpred_jax.shift.corruption import corruption, scale_of


@corruption('blur', (0.6, 0.9, 1.3, 1.8, 2.5), 'out of focus: smoothed by a Gaussian')
def blur(pixels: np.ndarray, strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return pixels smoothed by a Gaussian of `strength` pixels of 32."""
    from scipy import ndimage

    sigma = strength * scale_of(pixels.shape)
    return ndimage.gaussian_filter(pixels, (sigma, sigma, 0), mode='nearest')


@corruption('motion_blur', (2.0, 3.0, 4.5, 6.5, 9.0), 'moved while it was taken, in a random direction')
def motion_blur(pixels: np.ndarray, strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return the mean of pixels along a line of `strength` pixels of 32."""
    from scipy import ndimage

    angle = drawn.uniform(0, np.pi)
    length = strength * scale_of(pixels.shape)
    steps = np.linspace(-0.5, 0.5, 2 * int(np.ceil(length)) + 1) * length
    reach = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    # Each point of the line is dealt out to the four pixels around it.
    rows, columns = reach + steps * np.sin(angle), reach + steps * np.cos(angle)
    low_rows, low_columns = np.floor(rows).astype(int), np.floor(columns).astype(int)
    for i in (0, 1):
        for j in (0, 1):
            share = np.abs(1 - i - (rows - low_rows)) * np.abs(1 - j - (columns - low_columns))
            np.add.at(kernel, (low_rows + i, low_columns + j), share)
    return ndimage.convolve(pixels, (kernel / kernel.sum())[..., None], mode='nearest')


@corruption('pixelate', (0.75, 0.6, 0.47, 0.36, 0.25), 'in blocks, each of the mean of what it covers')
def pixelate(pixels: np.ndarray, strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return pixels in blocks, of which there are a share `strength` of the pixels along each side."""
    for axis in (0, 1):
        count = pixels.shape[axis]
        block = np.arange(count) * max(1, round(count * strength)) // count
        first, size = np.unique(block, return_index=True, return_counts=True)[1:]
        means = np.add.reduceat(pixels, first, axis) / size.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        pixels = np.take(means, block, axis)
    return pixels
