"""From the checked units of a file of predictions to what an evaluation measures, and which scores it computes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from failpred_jax.config import EvaluateConfig
from failpred_jax.console import phase
from failpred_jax.errors import UserError, nearest
from failpred_jax.evaluate.comparing import reference_of
from failpred_jax.evaluate.measure import Measured
from failpred_jax.evaluate.parts import Part, Parts
from failpred_jax.evaluate.scoring import Plan, drop_normalized, make_plan
from failpred_jax.evaluate.shifted import Evaluator, ShiftUnits
from failpred_jax.prediction_file import Units
from failpred_jax.prediction_file.file import ARGUMENTS, PARTS
from failpred_jax.prediction_file.shifts import LABELED, STRANGERS, is_shift
from failpred_jax.results import About
from failpred_jax.results.shifted import Shifted
from failpred_jax.scores.sampled import add_sample, finish_samples, init_samples
from failpred_jax.scores.score import SampleSummary, ScoreInputs

# Where predictions are from that have a row per unit, whichever part it is of.
TABLE = 'a table'
# Of so many rows at least, evenly spaced, it is seen whether logits have a scale of their own.
_LOOKED_AT = 10_000


def part_of(units: Units) -> Part:
    """Return units as an evaluation takes them."""
    group = None if units.group is None or units.group_names is None else units.group_names[units.group]
    about = About(units.ids, group, units.weight, units.slices)
    if units.labels is None or units.logits is None:
        nothing = ScoreInputs(np.zeros((0, 0), np.float32))
        return Part(nothing, np.zeros(0, np.int32), units.confidences, units.correct, about)
    logits = units.logits
    inputs = ScoreInputs(
        logits=logits,
        probabilities=units.probs,
        features=units.features,
        mc_dropout=_summary(units.samples.get('mc_probs')),
        ensemble=_summary(units.samples.get('ensemble_probs')),
    )
    # Strangers have outputs, and are never right.
    return Part(inputs, units.labels, units.confidences, units.correct, about)


def measure_shifts(found: Measured, options: EvaluateConfig) -> Shifted | None:
    """Return what scores are worth on the shifted parts of a file; None where it has none."""
    if not found.shifts:
        return None
    evaluator = Evaluator(
        found.test,
        found.validation,
        reference_of('', found.measures.scores, {})[0],
        resamples=options.resamples,
        interval=options.interval,
    )
    sets = []
    with phase('measuring shifted units', len(found.shifts), 'sets') as measuring:
        for part, predictions in found.shifts.items():
            kind, _, name = part.partition('_')
            strangers = kind == STRANGERS
            what = 'strangers, of none of the classes' if strangers else 'shifted units of the same classes'
            sets.append(evaluator.measured(ShiftUnits(name, predictions, strangers, what)))
            measuring.add()
    return evaluator.summary(sets)


def named_shifts(shifts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arrays of shifted parts by the names that they have in a file.

    Raises:
      UserError: a part is named otherwise, or holds no arrays.
    """
    found = {}
    for part, arrays in (shifts or {}).items():
        if not is_shift(part) or not part.partition('_')[2] or not isinstance(arrays, Mapping):
            raise UserError(
                f"shifts has '{part}'; give {{'{STRANGERS}_NAME': {{'logits': ...}}}} of strangers, or "
                f"{{'{LABELED}_NAME': {{'labels': ..., 'logits': ...}}}} of shifted units of the classes"
            )
        found |= {f'{part}_{name}': value for name, value in arrays.items()}
    return found


def shift_parts(given: Mapping[str, Units]) -> dict[str, Part]:
    """Return name -> shifted units, as an evaluation takes them."""
    return {name: part_of(units) for name, units in given.items() if is_shift(name)}


def _summary(probs: np.ndarray | None) -> SampleSummary | None:
    """Return the summary of class probabilities [N, T, C] of several distributions."""
    if probs is None:
        return None
    samples = init_samples(probs[:, 0].shape)
    for number in range(probs.shape[1]):
        samples = add_sample(samples, probs[:, number])
    return finish_samples(samples)


def _some(rows: np.ndarray) -> np.ndarray:
    """Return up to twice `_LOOKED_AT` rows, evenly spaced."""
    return rows[:: max(1, len(rows) // _LOOKED_AT)]


def plan_of(given: Mapping[str, Units], parts: Parts, must_have: str = '', of: str = '') -> Plan:
    """Return which scores these predictions can have; the user's own columns of the same name take their place.

    `of` is where the predictions are from, ARGUMENTS or TABLE, so that what is lacking is said as it can be given.

    Raises:
      UserError: the score `must_have` is none of them ('' asks for none).
    """
    plan, own = _plan_of(given, parts, of), given['evaluated'].confidences
    there = [*own, *(score.name for score in plan.scores)]
    if must_have and must_have not in there:
        why = f' ({plan.unavailable[must_have]})' if must_have in plan.unavailable else ''
        raise UserError(
            f"there is no score '{must_have}'{why}{nearest(must_have, there) or ';'} The scores of these predictions "
            f'are: {", ".join(there) or "none"}'
        )
    return plan


def _plan_of(given: Mapping[str, Units], parts: Parts, of: str) -> Plan:
    if given['evaluated'].logits is None:
        # Forty lines that all say the same would hide what was measured.
        return Plan((), {})
    own = given['evaluated'].confidences
    reasons = {
        'features': "it reads features: add 'features'",
        'confidence_logit': 'it is the output of a trained confidence head',
        'finetuned_logit': 'it is the output of a trained confidence head',
        'mc_dropout': "it needs dropout passes of the model: add 'mc_probs'",
        'ensemble': "it needs several models: add 'ensemble_probs'",
    }
    inputs = parts.test.inputs if isinstance(parts.test, Part) else None
    reasons = {need: reason for need, reason in reasons.items() if getattr(inputs, need, None) is None}
    plan = drop_normalized(
        make_plan(('all',), reasons, parts.task), *(_some(u.logits) for u in given.values() if u.logits is not None)
    )
    kept, unavailable = [], {k: _said(v, given) for k, v in plan.unavailable.items() if k not in own}
    for score in plan.scores:
        if score.name in own:
            continue
        if score.fit is None:
            kept.append(score)
            continue
        asked = ['validation', *(['training'] if score.fits_on_train else [])]
        wants_features = 'features' in score.needs
        lacking = [
            _lacking(part, given, wants_features, of)
            for part in asked
            if part not in given or (wants_features and given[part].features is None)
        ]
        if lacking:
            unavailable[score.name] = f'it is fitted on other units: add {" and ".join(lacking)}'
        else:
            kept.append(score)
    return Plan(tuple(kept), unavailable)


def _said(reason: str, given: Mapping[str, Units]) -> str:
    """Return why a score is unavailable, said of what was given: logarithms of probabilities are not the user's."""
    if all(units.outputs_are != 'probabilities' for units in given.values()):
        return reason
    return reason.replace('these are log-probabilities, whose scale is lost', 'probabilities do not tell their scale')


def _lacking(part: str, given: Mapping[str, Units], wants_features: bool, of: str) -> str:
    """Return what a part lacks, in words, as it can be given where the predictions are from."""
    units = given['evaluated']
    # As arguments, outputs of any kind are the logits.
    kinds = {'probabilities': 'probs', 'log-probabilities': 'log_probs'}
    outputs = 'logits' if of == ARGUMENTS else kinds.get(units.outputs_are, 'logits')
    names = [*(['labels', outputs] if part not in given else []), *(['features'] if wants_features else [])]
    prefix = next(prefix for prefix, name in PARTS.items() if name == part)
    if of == ARGUMENTS:
        return f'{part}={{{", ".join(f"{name!r}: ..." for name in names)}}}'
    if of == TABLE and part not in given:
        word = prefix.removesuffix('_')
        return f"rows of them, with '{word}' in a column 'part' that says 'test' in the others"
    return ', '.join(f"'{prefix}{name}'" for name in names)
