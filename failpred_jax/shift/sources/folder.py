"""Pictures below a folder."""

from pathlib import Path

import numpy as np

from failpred_jax.console import say_once
from failpred_jax.data.decoding import decode_files
from failpred_jax.data.listing import KINDS, list_below, list_folder
from failpred_jax.data.other_pictures import other_pictures
from failpred_jax.errors import UserError, numbered
from failpred_jax.registry import SHIFTS
from failpred_jax.shift.images import Form, ShiftImages


@SHIFTS.register('folder', argument='DIR')
def load(argument: str, form: Form) -> ShiftImages:
    """Return all pictures below a folder: of the run's classes if its folders are named as these, else strangers."""
    if not argument:
        raise UserError("give a folder of pictures, such as 'folder:strange_pictures'")
    root = Path(argument).expanduser()
    found = list_below(root)
    files, others = found.pictures, other_pictures(found.others)
    if others:
        say_once(
            f"note: {numbered(len(others), 'picture')} below '{root}' cannot be used: {next(iter(others.values()))}"
        )
    if not files:
        raise UserError(f"'{root}' holds no pictures of a kind that is read here: {KINDS}")
    if form.info.image_shape[-1] not in (1, 3):
        raise UserError(
            f'pictures have 1 or 3 channels, and the images of {form.info.name} {form.info.image_shape[-1]}'
        )
    images = decode_files(files, form.info.image_shape, True, f'the pictures of {root}')
    names = {name: number for number, name in enumerate(form.info.class_names)}
    folders = [folder.name for folder in list_folder(root).folders]
    if folders and set(folders) <= set(names):
        of = [file.relative_to(root).parts[0] for file in files]
        if all(name in names for name in of):
            return ShiftImages(
                images, np.array([names[name] for name in of], np.int32), f'the pictures of {root}, by class'
            )
    return ShiftImages(images, None, f'the pictures below {root}, strangers')
