"""policy.json: what `apply.py` reads, made of certified thresholds."""

import math
from typing import Any

import numpy as np

from failpred_jax import __version__, apply
from failpred_jax.calibrate.confidence import Calibrator, fit_confidence, is_probability
from failpred_jax.config import DecideConfig
from failpred_jax.decide.certificate import Certificate, Number
from failpred_jax.decide.thresholds import Thresholds, costs_of
from failpred_jax.decide.units import Units, data_digest, model_digest
from failpred_jax.errors import UserError
from failpred_jax.registry import SCORES

OTHERWISE = 'human'


def make_policy(
    calibration: Units,
    score: str,
    found: Thresholds,
    calibrator: Calibrator | None,
    options: DecideConfig,
    invalid: str,
) -> dict[str, Any]:
    """Return the content of policy.json; its digests are of all `calibration` units, whichever were certified on."""
    confidence = calibration.confidence(score)
    costs = costs_of(options)
    kind = confidence.dtype
    tiers = []
    for name, thresholds in found.applied.items():
        row: dict[str, Any] = {'name': name, 'thresholds': [_to_json(x) for x in thresholds]}
        if name in found.tiers:
            row |= _certificate(found.tiers[name])
            if found.given_up and name == list(found.tiers)[-1]:
                row['given_up'] = True
        tiers.append(row)
    return {
        'format': apply.FORMAT,
        'made_by': f'failpred_jax {__version__}',
        'score': score,
        'dtype': 'integer' if kind.kind in 'iu' else 'float32' if kind == np.float32 else 'float64',
        'is_probability': is_probability_of(confidence, score),
        'accept': 'confidence > threshold',
        'model': model_digest(calibration, score),
        'data': data_digest(calibration),
        'tiers': tiers,
        'otherwise': OTHERWISE,
        'by': options.by,
        'groups': list(found.groups),
        'group_certificates': {name: _certificate(certificate) for name, certificate in found.groups.items()},
        'calibrator': None if calibrator is None else calibrator.to_dict(),
        'costs': None
        if costs is None
        else {'error': costs.error, 'review': costs.review, 'reviewer_error': costs.reviewer_error},
        'budget': options.budget or None,
        'audit_rate': options.audit_rate,
        'audit_seed': options.seed,
        'not_valid': invalid,
    }


def fit_calibrator(validation: Units | None, score: str, test: Units | None = None) -> tuple[Calibrator | None, str]:
    """Return the map from the score to P(correct), fitted on validation units, or None and why there is none.

    Of the test units it asks only whether the score lies within [0, 1], as the table of the evaluation does.
    """
    if validation is None or score not in validation.confidences:
        return None, 'P(correct) is not known: there are no validation units to fit it on'
    parts = [units.confidences for units in (validation, test) if units is not None]
    is_meant = is_probability(score, *(part[score] for part in parts if score in part))
    try:
        return fit_confidence(validation.confidence(score), validation.correct, is_probability=is_meant), ''
    except UserError as error:
        return None, f'P(correct) is not known: {error}'


def is_probability_of(confidence: np.ndarray, score: str) -> bool:
    """Return whether confidences [N] of a score of ours are probabilities, as its name says."""
    is_within = not len(confidence) or (confidence.min() >= 0 and confidence.max() <= 1)
    return bool(score in SCORES and SCORES[score].is_probability and is_within)


def _certificate(found: Certificate) -> dict[str, Any]:
    return {
        'kind': found.kind,
        'risk': found.target,
        'delta': None if math.isnan(found.delta) else found.delta,
        'units': found.num_units,
        'accepted': found.num_accepted,
        'errors': found.num_errors,
        'reason': found.reason,
    }


def _to_json(threshold: Number) -> Number | str:
    """Return a threshold as JSON has it: its infinities are words."""
    return ('inf' if threshold > 0 else '-inf') if math.isinf(threshold) else threshold
