"""Noise of a sensor: it differs from pixel to pixel."""

import numpy as np

from failpred_jax.shift.corruption import corruption


@corruption('gaussian_noise', (0.04, 0.08, 0.13, 0.2, 0.3), 'normal noise on every value')
def gaussian_noise(pixels: np.ndarray, strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return pixels with normal noise of standard deviation `strength`."""
    return pixels + strength * drawn.standard_normal(pixels.shape)


@corruption('shot_noise', (100, 40, 18, 9, 4), 'few photons: every value is a Poisson count')
def shot_noise(pixels: np.ndarray, strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return pixels as counts of at most about `strength` photons."""
    return drawn.poisson(pixels * strength) / strength


@corruption('impulse_noise', (0.02, 0.05, 0.1, 0.17, 0.27), 'some pixels are black or white')
def impulse_noise(pixels: np.ndarray, strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return pixels of which a share `strength` is replaced, in all channels, by black or white."""
    place, is_white = drawn.random(pixels.shape[:2]), drawn.random(pixels.shape[:2]) < 0.5
    return np.where((place < strength)[..., None], is_white[..., None], pixels)
