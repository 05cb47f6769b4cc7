"""Folders of what a command found: one JSON file of a typed result, with the pictures it shows beside it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_json, read_npz
from failpred_jax.results import plain

GALLERY = 'gallery.npz'


def read_found(kind: Any, file: Path) -> Any:
    """Return the result that a file holds, with its folder's name and pictures.

    Args:
      kind: the dataclass that it is; has the fields `name` and `images`.
      file: of JSON.

    Raises:
      UserError: something in the folder is damaged.
    """
    try:
        gallery = file.parent / GALLERY
        images = read_npz(gallery)['images'] if gallery.exists() else None
        return replace(plain.from_json(kind, read_json(file)), name=file.parent.name, images=images)
    except (*DAMAGE, plain.WrongTypeError) as error:
        raise UserError(
            f"'{file.parent}' cannot be read ({type(error).__name__}: {error}); move it away, and make it again"
        ) from error
