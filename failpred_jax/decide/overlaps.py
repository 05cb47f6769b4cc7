"""Whether calibration units also stand in other parts: then something else has read them, and nothing is promised."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from failpred_jax.decide.units import Units

SHARED = 'not valid: most of the calibration units also stand among the {} units'
# As many units are compared; more would take longer than the rest.
_MOST = 2_000_000
_FEW_KINDS = 3
# Numbers with no more decimals are rounded: equal ones need not be of one unit.
_DECIMALS = 4


class _Shared(NamedTuple):
    """Calibration units that stand in another part: how many, of how many that say something, and what is equal."""

    units: int
    of: int
    equal: str
    is_most: bool


def shared_units(calibration: Units, others: Mapping[str, Units | None], unit: str) -> tuple[str, list[str]]:
    """Return why promises are not valid, or '', and sentences on units that stand in two parts.

    Where both parts name their units, the names decide (and the values must be equal too, as parts may be numbered each
    from 0). Without names, units are told apart by their label and outputs, or by their confidences and whether they
    are right. Values that are rounded are equal by chance: as many as chance would give say nothing.

    Args:
      calibration: the units for certificates.
      others: name of another part -> its units, or None.
      unit: what is decided, such as 'image'.
    """
    invalid, notes = '', []
    for name, units in others.items():
        if units is None or max(len(units), len(calibration)) > _MOST or not len(units):
            continue
        found = _compared(calibration, units)
        if not found.units:
            continue
        notes.append(
            f'{found.units:,} of the {len(calibration):,} calibration {unit}s also stand among the {name} {unit}s, '
            f'with the same {found.equal}: a promise needs units that nothing else has read'
        )
        if found.is_most:
            invalid = invalid or SHARED.format(name)
    return invalid, notes


def _compared(calibration: Units, units: Units) -> _Shared:
    own, theirs = _keys(calibration), _keys(units)
    if calibration.ids is not None and units.ids is not None:
        named = set(zip(units.ids.tolist(), theirs, strict=True))
        shared = sum(unit in named for unit in zip(calibration.ids.tolist(), own, strict=True))
        return _Shared(shared, len(own), 'id and values', 2 * shared > len(own))
    # The same rows in the same order, be they alone of their kind or not; a few kinds of rows prove nothing.
    if own == theirs and len(set(own)) > _FEW_KINDS:
        return _Shared(len(own), len(own), 'values', True)
    counts, of_theirs = Counter(own), Counter(theirs)
    single = [key for key, count in counts.items() if count == 1]
    shared = sum(of_theirs[key] == 1 for key in single)
    can_identify = _can_identify(calibration) and _can_identify(units)
    chance = max(_by_chance(of_theirs, len(own), can_identify), _by_chance(counts, len(theirs), can_identify))
    if shared <= chance + 3 * math.sqrt(chance):
        return _Shared(0, len(single), '', False)
    # Values that repeat within the part do not identify its units.
    is_enough = can_identify or 2 * len(single) > len(own)
    return _Shared(shared, len(single), 'values', is_enough and 2 * (shared - chance) > len(single))


def _by_chance(counts: Counter[bytes], num_drawn: int, can_identify: bool) -> float:
    """Return how many of so many units drawn anew at most have a value that exactly one unit of a part has.

    Of N units, N2 pairs of which share a value that no other has, a new unit has one that stands there once with
    probability 2 N2 / N.

    Reference: Good, Biometrika 1953, "The population frequencies of species and the estimation of population
      parameters", eq. 9.
    """
    pairs = sum(count == 2 for count in counts.values())
    if can_identify and not pairs:
        return 0.0
    return 2 * (pairs + 3 * math.sqrt(pairs + 1)) * num_drawn / counts.total()


def _can_identify(units: Units) -> bool:
    """Return whether units are known by several columns of numbers at full precision, which chance does not repeat."""
    # Logarithms of a few votes look like any numbers; the votes do not.
    outputs = units.logits if units.given_probs is None else units.given_probs
    columns = [outputs] if outputs is not None else list(units.confidences.values())
    fine = 0
    for column in columns:
        values = np.asarray(column, np.float64).reshape(len(units), -1)[:10_000]
        with np.errstate(invalid='ignore'):
            is_rounded = np.abs(values - np.round(values, _DECIMALS)) <= 1e-6 * np.maximum(1, np.abs(values))
        # Saturated values are round as well; some that are not are enough.
        fine += int((np.mean(~is_rounded, axis=0) > 0.1).sum())
    return fine >= 2


def _keys(units: Units) -> list[bytes]:
    """Return the bytes of what is known of each unit."""
    columns = [units.labels, units.logits] if units.logits is not None else [units.correct, *units.confidences.values()]
    rows = [
        np.ascontiguousarray(column).reshape(len(units), -1).view(np.uint8) for column in columns if column is not None
    ]
    table = np.concatenate([row.reshape(len(units), -1) for row in rows], axis=1)
    width, data = table.shape[1], table.tobytes()
    return [data[i * width : (i + 1) * width] for i in range(len(units))]
