"""A file of predictions of units that nobody has labeled yet."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.prediction_file.file import parse_arrays, read_named
from failpred_jax.prediction_file.names import plain_names
from failpred_jax.prediction_file.part import CONFIDENCE, OUTPUTS, Units
from failpred_jax.readers.reading import PIPE

# What says which units are right: it is of no use here, and may be there for some of them only.
OUTCOMES = ('labels', 'label', 'y_true', 'target', 'targets', 'correct')


def read_unlabeled(path: Path, may_have_labels: bool = True) -> tuple[Units, dict[str, Units], np.ndarray | None]:
    """Return the units to label, the other parts of the file by name, and the class predicted where it is a column.

    Labels of the units are not read; those of the training part are needed, if it is there at all. Units without names
    are called by their numbers.

    Args:
      path: the file.
      may_have_labels: whether labels of the units are left unread where they are there, and not refused.

    Raises:
      UserError: naming everything that is wrong with the file.
    """
    stored = read_named(path)
    ours = plain_names(stored)
    arrays = {ours[name]: value for name, value in stored.items()}
    where = 'standard input' if str(path) == PIPE else f"'{path}'"
    known = [name for name in arrays if name in OUTCOMES]
    if known and not may_have_labels:
        raise UserError(
            f"{where} has '{known[0]}', and units without labels are wanted: labeled ones belong into --predictions as "
            'val_...; leave the column out if nobody judges or certifies by these units'
        )
    given = {name: value for name, value in arrays.items() if name not in OUTCOMES}
    predicted = next((given.pop(name) for name in ('predicted', 'prediction', 'y_pred') if name in given), None)
    found = parse_arrays({**given, **_stand_in(given, where)}, where, notes=tuple(stored.notes))
    units = found.pop('evaluated')
    notes = tuple(note for note in units.notes if 'own label' not in note and 'no unit has the label 0' not in note)
    dropped = [name for name in arrays if name in OUTCOMES]
    if dropped:
        notes = (*notes, f"'{dropped[0]}' is not read: all units count as not yet labeled")
    count = units.num_units
    # Without an outcome, the names say how many there are.
    ids = np.arange(count).astype(str) if units.ids is None else units.ids
    units = dataclasses.replace(units, labels=None, correct=None, notes=notes, ids=ids)
    return units, found, None if predicted is None or len(predicted) != count else np.asarray(predicted)


def _stand_in(given: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
    """Return what takes the place of the outcome, which a file of predictions must have: nobody reads it."""
    outputs = next((np.asarray(given[name]) for name in OUTPUTS if name in given), None)
    if outputs is not None and outputs.ndim in (1, 2):
        return {'labels': np.zeros(len(outputs), np.int32)}
    scores = next((np.asarray(value) for name, value in given.items() if name.startswith(CONFIDENCE)), None)
    if scores is None and 'confidence' in given:
        scores = np.asarray(given['confidence'])
    if scores is not None and scores.ndim == 1:
        return {'correct': np.zeros(len(scores), bool)}
    if outputs is not None or scores is not None:
        raise UserError(f'the predictions in {where} are no units to label one by one: outputs must be [N, C]')
    there = ', '.join(list(given)[:12]) or 'nothing'
    raise UserError(
        f"the predictions in {where} hold neither 'logits' or 'probs' nor a 'confidence_<name>'; there are: {there}"
    )
