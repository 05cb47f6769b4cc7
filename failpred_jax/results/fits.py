"""The folder `evaluation/fitted`: what an evaluation fitted, as plain arrays and JSON, whole or not at all.

fitted.json   the run, the scores, and for each its fit and its map to P(correct), with arrays by name; of a network of
              somebody's own also a few images with its outputs
fits.npz      the arrays
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_json, read_npz, whole_files, write_json, write_npz

FOLDER, META, ARRAYS = 'fitted', 'fitted.json', 'fits.npz'
FORMAT = 'failpred_jax fits 1'


@dataclass(frozen=True)
class KeptFits:
    """Fits as a file holds them.

    Attributes:
      meta: of numbers, words, lists and dicts; names the arrays.
      arrays: name -> array.
    """

    meta: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


def evaluating(workdir: Path) -> str:
    """Return how a run is evaluated (again), for messages: its data come from its config."""
    return f'--config=FILE --mode=evaluate --workdir={workdir}, FILE and further options being those of its training'


def write_fits(kept: KeptFits | None, folder: Path) -> None:
    """Write the fits of an evaluation folder, or remove those of an earlier one if there are none now."""
    folder = folder / FOLDER
    if kept is None:
        for name in (META, ARRAYS):
            (folder / name).unlink(missing_ok=True)
        return
    with whole_files(folder, last=META) as aside:
        write_npz(aside / ARRAYS, kept.arrays)
        write_json(aside / META, {'format': FORMAT, 'digest': _digest(kept), **kept.meta})


def read_fits(folder: Path) -> KeptFits:
    """Return the fits of an evaluation folder.

    Raises:
      UserError: they are not there, of another version, or damaged.
    """
    how, is_evaluated = evaluating(folder.parent), (folder / 'metrics.json').exists()
    folder, again = folder / FOLDER, f'make it again with {how}'
    if not (folder / META).exists():
        if not is_evaluated:
            raise UserError(f"the run in '{folder.parents[1]}' was not evaluated yet; evaluate it with {how}")
        raise UserError(f"'{folder}' is not there: what the evaluation fitted was not kept; {again}")
    try:
        meta = dict(read_json(folder / META))
        form, digest = meta.pop('format', None), meta.pop('digest', None)
        kept = KeptFits(meta, read_npz(folder / ARRAYS))
    except DAMAGE as error:
        raise UserError(f"'{folder}' cannot be read ({type(error).__name__}: {error}); {again}") from error
    if form != FORMAT:
        raise UserError(f"'{folder}' is of another version ('{form}', not '{FORMAT}'); {again}")
    if digest != _digest(kept):
        raise UserError(f"'{folder}' is damaged: its content is not what was written; {again}")
    return kept


def _digest(kept: KeptFits) -> str:
    digest = hashlib.blake2b(json.dumps(kept.meta, sort_keys=True).encode(), digest_size=16)
    for name in sorted(kept.arrays):
        array = np.ascontiguousarray(kept.arrays[name])
        digest.update(f'{name} {array.dtype} {array.shape}'.encode())
        digest.update(array.data if array.size else b'')
    return digest.hexdigest()
