"""Units whose truth is known, and the policy and reference of some of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax import apply
from failpred_jax.files import write_npz
from failpred_jax.monitor.reference import digest_of, make_reference, reference_arrays

NAMES = ('cat', 'dog', 'polar bear')


def units(rng: np.random.Generator, num: int, hard: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return (confidence [n], right [n]) of units that are right with a probability of the confidence: 95 % of them."""
    is_hard = rng.random(num) < hard
    confidence = np.where(is_hard, rng.beta(2, 2, num), rng.beta(9, 0.47, num))
    return confidence, rng.random(num) < confidence


def content(arrays: dict[str, np.ndarray], **changed: Any) -> dict[str, Any]:
    """Return what a policy.json holds: what is over 0.6 is accepted, and at most 5 % of it are wrong."""
    grid = [0.0, 0.5, 1.0]
    return {
        'format': apply.FORMAT, 'score': 'mine', 'dtype': 'float64', 'model': 'm', 'data': 'd',
        'tiers': [{'name': 'accept', 'thresholds': [0.6], 'kind': 'selective', 'risk': 0.05, 'reason': ''}],
        'otherwise': 'human', 'by': '', 'groups': [], 'group_certificates': {},
        'calibrator': {'knots': {'confidence': grid, 'probability': grid}}, 'audit_rate': 0.0, 'audit_seed': 0,
        'reference': {'units': len(arrays['correct']), 'digest': digest_of(arrays)}, **changed,
    }  # fmt: skip


def drawn(rng: np.random.Generator, num: int, groups: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Return the arrays of a reference of so many units of three classes, each perhaps a group of this name."""
    confidence, right = units(rng, num)
    predicted = rng.integers(0, 3, num)
    return reference_arrays(confidence, right, predicted, 3, NAMES, np.array(groups)[predicted] if groups else None)


def made(rng: np.random.Generator, num: int = 1000, **changed: Any) -> tuple[apply.Policy, Any]:
    """Return a policy and the reference of so many units."""
    arrays = drawn(rng, num, changed.get('groups', ()))
    policy = apply.parse_policy(content(arrays, **changed))
    return policy, make_reference(arrays, policy)


def written(folder: Path, rng: np.random.Generator, num: int = 1000, **changed: Any) -> Path:
    """Write policy.json and reference.npz, and return the path of the first."""
    arrays = drawn(rng, num, changed.get('groups', ()))
    folder.mkdir(parents=True, exist_ok=True)
    write_npz(folder / 'reference.npz', arrays)
    (folder / 'policy.json').write_text(json.dumps(content(arrays, **changed)))
    return folder / 'policy.json'
