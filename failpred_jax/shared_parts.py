"""Units that stand in several parts of a file, so that what is fitted on one is judged on what it was fitted on."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from failpred_jax.data.disjoint import row_hashes, shared_rows
from failpred_jax.prediction_file import Units

# Units up to this number are looked for in other parts, which takes about a microsecond each.
MAX_COMPARED = 1_000_000


def shared_units(given: Mapping[str, Units]) -> list[str]:
    """Return a sentence for each other part that holds some of the evaluated units, or of those for certificates."""
    if len(given) < 2:
        return []
    parts = {name: rows for name, units in given.items() if (rows := _rows(units)) is not None}
    named = _with_ids(parts, {name: given[name].ids for name in parts})
    found = []
    for name in ('evaluated', 'calibration'):
        own = parts.pop(name, None)
        if own is not None and len(own) <= MAX_COMPARED:
            found += _shared_with(name, own, parts, named)
    return found


def _with_ids(rows: Mapping[str, np.ndarray], ids: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the rows with the number of their unit's id; {} where a part has none."""
    if not rows or any(one is None for one in ids.values()):
        return {}
    _, numbers = np.unique(np.concatenate([np.asarray(ids[name]).astype(str) for name in rows]), return_inverse=True)
    starts = np.cumsum([0, *(len(one) for one in rows.values())])
    return {
        name: np.concatenate([one, numbers[start : start + len(one), None].astype(np.int64).view(np.uint8)], axis=1)
        for start, (name, one) in zip(starts[:-1], rows.items(), strict=True)
    }


def _shared_with(
    owner: str, own: np.ndarray, parts: Mapping[str, np.ndarray], named: Mapping[str, np.ndarray]
) -> list[str]:
    """Return a sentence for each of the parts that holds some of the owner's rows; `named` have ids."""
    hashes, warnings, equal = row_hashes(own), [], 'label and logits'
    # Units that are equal among themselves say nothing: their logits are saturated, or rounded.
    _, at, count = np.unique(hashes, return_index=True, return_counts=True)
    single = np.sort(at[count == 1])
    # Where most are, as shares of few votes, so are those of other parts by chance, and ids alone tell units apart.
    compared, others = own, parts
    if named and 2 * len(single) <= len(own):
        compared, others, equal = named[owner], named, f'id, {equal}'
        hashes, single = row_hashes(compared), np.arange(len(own))
    for name, rows in parts.items():
        if rows.shape[1] != own.shape[1] or not len(single):
            continue
        theirs = others[name]
        shared = len(shared_rows(compared[single], theirs, (hashes[single], row_hashes(theirs))))
        if np.array_equal(own, rows):
            warnings.append(
                f'the {name} units are the {owner} ones, number by number: what is fitted on them is judged on what '
                'it was fitted on, and its figures are too good; give other units'
            )
        elif shared:
            warnings.append(
                f'{shared:,} of the {len(own):,} {owner} units also stand among the {name} units, with the same '
                f'{equal}; what is fitted there looks better than it is'
            )
    return warnings


def _rows(units: Units) -> np.ndarray | None:
    """Return labels and logits as bytes, one row per unit: [N, ...] uint8; None where there are none to compare."""
    if units.labels is None or units.logits is None:
        return None
    # The label tells units apart whose logits are saturated alike.
    labels = np.ascontiguousarray(units.labels, np.int32)[:, None]
    return np.concatenate([labels.view(np.uint8), np.ascontiguousarray(units.logits).view(np.uint8)], axis=1)
