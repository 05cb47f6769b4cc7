"""Images in a file of named arrays."""

from pathlib import Path

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.readers.reading import read_file
from failpred_jax.registry import SHIFTS
from failpred_jax.shift.images import Form, ShiftImages, in_form


@SHIFTS.register('arrays', argument='FILE')
def load(argument: str, form: Form) -> ShiftImages:
    """Return `images` [N, H, W(, channels)] uint8 of a file; with `labels` [N] of the run's classes, else strangers."""
    if not argument:
        raise UserError("give a file with 'images', such as 'arrays:strange.npz'")
    arrays = dict(read_file(Path(argument).expanduser()))
    unknown = sorted(set(arrays) - {'images', 'labels'})
    if 'images' not in arrays or unknown:
        raise UserError(f"it must hold 'images' and perhaps 'labels'; it holds: {', '.join(arrays) or 'nothing'}")
    images = in_form(np.asarray(arrays['images']), form.info)
    if 'labels' not in arrays:
        return ShiftImages(images, None, f'the images of {argument}, strangers')
    labels = np.asarray(arrays['labels'])
    count = form.info.num_classes
    if labels.shape != (len(images),) or labels.dtype.kind not in 'iu' or ((labels < 0) | (labels >= count)).any():
        raise UserError(
            f"'labels' must be ({len(images)},) integers from 0 to {count - 1}; without it they are strangers"
        )
    return ShiftImages(images, labels.astype(np.int32), f'the images of {argument}, with labels')
