"""What moves pixels; label maps go along."""

import numpy as np

from failpred_jax.shift.corruption import movement, scale_of


@movement('rotation', (8, 16, 24, 34, 45), 'turned to one side or the other')
def rotation(shape: tuple[int, int], strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return the places of a turn by `strength` degrees around the center, to a random side."""
    angle = np.deg2rad(strength) * (1 if drawn.random() < 0.5 else -1)
    centers = [(side - 1) / 2 for side in shape]
    rows, columns = np.meshgrid(*(np.arange(side) - center for side, center in zip(shape, centers, strict=True)),
                                indexing='ij')  # fmt: skip
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([centers[0] + cosine * rows - sine * columns, centers[1] + sine * rows + cosine * columns])


@movement('elastic', (0.5, 1.0, 1.6, 2.3, 3.2), 'pulled about like rubber')
def elastic(shape: tuple[int, int], strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return places displaced smoothly, by `strength` pixels of 32 on average."""
    from scipy import ndimage

    smooth = 4 * scale_of(shape)
    fields = np.stack([ndimage.gaussian_filter(drawn.uniform(-1, 1, shape), smooth, mode='wrap') for _ in range(2)])
    fields *= strength * scale_of(shape) / max(np.abs(fields).mean(), 1e-9)
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij')) + fields
