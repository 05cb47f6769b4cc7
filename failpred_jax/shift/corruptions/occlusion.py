"""Something in front of the picture."""

import numpy as np

from failpred_jax.shift.corruption import corruption


@corruption('occlusion', (0.2, 0.3, 0.4, 0.5, 0.62), 'a gray square in front')
def occlusion(pixels: np.ndarray, strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return pixels with a gray square at a random place, whose side is a share `strength` of the shorter one."""
    height, width = pixels.shape[:2]
    center = drawn.uniform(0.3, 0.7, 2) * (height, width)
    half = max(1.0, strength * min(height, width)) / 2
    rows, columns = (np.abs(np.arange(n) + 0.5 - c) < half for n, c in zip((height, width), center, strict=True))
    covered = pixels.copy()
    covered[np.ix_(rows, columns)] = 0.5
    return covered
