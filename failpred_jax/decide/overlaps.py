"""Whether calibration units also stand in other parts: then something else has read them, and nothing is promised."""

from collections.abc import Mapping

from failpred_jax.decide.units import Units
from failpred_jax.overlaps import Known, known_of, shared_between

SHARED = 'not valid: most of the calibration units also stand among the {} units'
# As many units are compared; more would take longer than the rest.
_MOST = 2_000_000


def shared_units(calibration: Units, others: Mapping[str, Units | None], unit: str) -> tuple[str, list[str]]:
    """Return why promises are not valid, or '', and sentences on units that stand in two parts.

    Args:
      calibration: the units for certificates.
      others: name of another part -> its units, or None.
      unit: what is decided, such as 'image'.
    """
    invalid, notes = '', []
    own = _known(calibration)
    for name, units in others.items():
        if units is None or max(len(units), len(calibration)) > _MOST:
            continue
        found = shared_between(own, _known(units))
        if not found.units:
            continue
        notes.append(
            f'{found.units:,} of the {len(calibration):,} calibration {unit}s also stand among the {name} {unit}s, '
            f'with the same {"id and values" if found.by_name else "values"}: a promise needs units that nothing else '
            'has read'
        )
        if found.is_most:
            invalid = invalid or SHARED.format(name)
    return invalid, notes


def _known(units: Units) -> Known:
    confidences = list(units.confidences.values())
    if units.logits is None:
        return known_of([units.correct, *confidences], confidences, units.ids)
    # Logarithms of a few votes look like any numbers; the votes do not.
    outputs = units.logits if units.given_probs is None else units.given_probs
    labels = [] if units.labels is None else [units.labels]
    return known_of([*labels, units.logits], [outputs], units.ids)
