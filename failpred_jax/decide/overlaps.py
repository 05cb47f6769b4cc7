"""Whether calibration units also stand in other parts: then something else has read them, and nothing is promised."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from failpred_jax.decide.units import Units

SHARED = 'not valid: most of the calibration units also stand among the {} units'
# As many units are compared; more would take longer than the rest.
_MOST = 2_000_000
_FEW_KINDS = 3


def shared_units(calibration: Units, others: Mapping[str, Units | None], unit: str) -> tuple[str, list[str]]:
    """Return why promises are not valid, or '', and sentences on units that stand in two parts.

    Units are told apart by their label and outputs, or by their confidences and whether they are right; those that are
    not alone of their kind in their part say nothing.

    Args:
      calibration: the units for certificates.
      others: name of another part -> its units, or None.
      unit: what is decided, such as 'image'.
    """
    own = _keys(calibration)
    single = {key for key, count in Counter(own).items() if count == 1}
    invalid, notes = '', []
    for name, units in others.items():
        if units is None or len(units) > _MOST:
            continue
        theirs = _keys(units)
        # The same rows in the same order, be they alone of their kind or not; a few kinds of rows prove nothing.
        is_same = own == theirs and len(set(own)) > _FEW_KINDS
        shared = len(own) if is_same else len(single.intersection(theirs))
        if not shared:
            continue
        notes.append(
            f'{shared:,} of the {len(calibration):,} calibration {unit}s also stand among the {name} {unit}s, with the '
            'same values: a promise needs units that nothing else has read'
        )
        if is_same or 2 * shared > len(single):
            invalid = invalid or SHARED.format(name)
    return invalid, notes


def _keys(units: Units) -> list[bytes]:
    """Return the bytes of what is known of each unit."""
    if len(units) > _MOST:
        return []
    columns = [units.labels, units.logits] if units.logits is not None else [units.correct, *units.confidences.values()]
    rows = [
        np.ascontiguousarray(column).reshape(len(units), -1).view(np.uint8) for column in columns if column is not None
    ]
    table = np.concatenate([row.reshape(len(units), -1) for row in rows], axis=1)
    width, data = table.shape[1], table.tobytes()
    return [data[i * width : (i + 1) * width] for i in range(len(units))]
