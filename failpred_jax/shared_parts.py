"""Units that stand in several parts of a file, so that what is fitted on one is judged on what it was fitted on."""

from collections.abc import Mapping

import numpy as np

from failpred_jax.overlaps import Known, known_of, shared_between
from failpred_jax.prediction_file import Units

# Units up to this number are looked for in other parts, which takes about a microsecond each.
MAX_COMPARED = 1_000_000


def shared_units(given: Mapping[str, Units]) -> list[str]:
    """Return a sentence for each other part that holds some of the evaluated units, or of those for certificates."""
    if len(given) < 2:
        return []
    parts = {name: known for name, units in given.items() if (known := _known(units)) is not None}
    found = []
    for owner in ('evaluated', 'calibration'):
        own = parts.pop(owner, None)
        if own is not None and len(own.kinds) <= MAX_COMPARED:
            found += [text for name, known in parts.items() if (text := _sentence(owner, own, name, known))]
    return found


def _sentence(owner: str, own: Known, name: str, known: Known) -> str:
    """Return what is said of a part that holds some of the owner's units, or ''."""
    found = shared_between(own, known)
    if found.is_copy:
        return (
            f'the {name} units are the {owner} ones, number by number: what is fitted on them is judged on what '
            'it was fitted on, and its figures are too good; give other units'
        )
    if not found.units:
        return ''
    return (
        f'{found.units:,} of the {len(own.kinds):,} {owner} units also stand among the {name} units, with the same '
        f'{"id and " if found.by_name else ""}values; what is fitted there looks better than it is'
    )


def _known(units: Units) -> Known | None:
    """Return what is known of a part's units, or None where there is nothing to compare."""
    if units.labels is not None and units.logits is not None:
        # The label tells units apart whose logits are saturated alike.
        outputs = units.logits if units.probs is None else units.probs
        return known_of([np.asarray(units.labels, np.int32), units.logits], [outputs], units.ids)
    confidences = [units.confidences[name] for name in sorted(units.confidences)]
    if units.correct is None or not confidences:
        return None
    return known_of([units.correct, *confidences], confidences, units.ids)
