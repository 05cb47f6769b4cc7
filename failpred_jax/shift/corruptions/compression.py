"""What a codec leaves of a picture."""

import io

import numpy as np

from failpred_jax.shift.corruption import corruption, to_uint8


@corruption('jpeg', (40, 25, 15, 9, 5), 'saved as JPEG of low quality')
def jpeg(pixels: np.ndarray, strength: float, drawn: np.random.Generator) -> np.ndarray:
    """Return what JPEG of quality `strength` leaves: of three channels as colors, of others one by one."""
    stored = to_uint8(pixels)
    if stored.shape[-1] == 3:
        return _decoded(stored, int(strength)) / 255
    return np.stack([_decoded(stored[..., c], int(strength)) for c in range(stored.shape[-1])], axis=-1) / 255


def _decoded(stored: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    with io.BytesIO() as file:
        Image.fromarray(stored).save(file, 'jpeg', quality=quality)
        with Image.open(file) as picture:
            return np.asarray(picture)
