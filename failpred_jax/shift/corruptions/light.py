"""Light and weather: what changes over the whole picture."""

import numpy as np

from failpred_jax.shift.corruption import corruption


@corruption('contrast', (0.6, 0.42, 0.3, 0.2, 0.12), 'less contrast: pulled to the mean of the image')
def contrast(pixels: np.ndarray, strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return pixels whose differences from their mean are multiplied by `strength`."""
    mean = pixels.mean()
    return mean + strength * (pixels - mean)


@corruption('brightness', (0.12, 0.22, 0.33, 0.45, 0.58), 'overexposed')
def brightness(pixels: np.ndarray, strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return pixels with `strength` added."""
    return pixels + strength


@corruption('fog', (0.2, 0.35, 0.48, 0.6, 0.72), 'behind bright clouds that change smoothly over the picture')
def fog(pixels: np.ndarray, strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return pixels mixed with a smooth bright field, whose weight is `strength` on average."""
    thickness = 2 * strength * _clouds(pixels.shape[:2], drawn)[..., None]
    share = 1 - np.exp(-1.4 * thickness)
    return (1 - share) * pixels + share * 0.9


def _clouds(shape: tuple[int, int], drawn: np.random.Generator) -> np.ndarray:
    """Return a random field [H, W] in [0, 1]: waves of falling height and wavelength, at random places."""
    rows, columns = (np.linspace(0, 1, side)[:, None] for side in shape)
    field = np.zeros(shape)
    for octave in (1, 2, 4):
        size = octave + 2
        # Cosine interpolation between a coarse grid's random values.
        field += _between(rows, size) @ drawn.random((size, size)) @ _between(columns, size).T / octave
    return (field - field.min()) / max(np.ptp(field), 1e-9)


def _between(place: np.ndarray, size: int) -> np.ndarray:
    """Return the weights [N, K] of K grid points for places [N, 1] in [0, 1]."""
    distance = np.abs(place * (size - 1) - np.arange(size))
    return np.where(distance < 1, 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance, 1)), 0)
