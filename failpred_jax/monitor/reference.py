"""What a monitor knows of normal operation: made once of the calibration units, stored beside the policy."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax import apply
from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_npz
from failpred_jax.results.decisions import REFERENCE

FORMAT = 'failpred_jax monitor reference 1'
_MAKE = 'make policy and reference with --mode=decide (docs/decisions.md)'


@dataclass(frozen=True)
class Reference:
    """The calibration units of a policy, which nothing was fitted on.

    Attributes:
      confidence: [N] of the policy's score, in the type that its thresholds are compared in.
      correct: [N] bool.
      p_correct: [N] float64 in [0, 1] by the policy's map, which was fitted on validation units; None without a map.
      accepted: [N] bool, whether the policy's first tier takes the unit.
      predicted: [N] int in [0, C), or None where classes are not known.
      num_classes: C; 0 where they are not known.
      class_names: C names, or ().
      digest: of the content.
    """

    confidence: np.ndarray
    correct: np.ndarray
    p_correct: np.ndarray | None
    accepted: np.ndarray
    predicted: np.ndarray | None
    num_classes: int
    class_names: tuple[str, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.correct)

    @property
    def num_errors(self) -> int:
        """Wrong predictions."""
        return int(np.count_nonzero(~self.correct))

    @property
    def accuracy(self) -> float:
        """The share of correct predictions."""
        return 1 - self.num_errors / len(self)


def reference_arrays(
    confidence: np.ndarray,
    correct: np.ndarray,
    predicted: np.ndarray | None,
    num_classes: int,
    class_names: tuple[str, ...],
    groups: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Return the content of reference.npz.

    Args:
      confidence: [N] of the policy's score for the units that its certificates rest on.
      correct: [N] bool.
      predicted: [N] int, or None.
      num_classes: C, or 0.
      class_names: C names, or ().
      groups: [N], where the policy has thresholds per group.
    """
    arrays = {
        'format': np.array(FORMAT),
        'confidence': confidence,
        'correct': correct.astype(bool),
        'num_classes': np.array(num_classes),
        'class_names': np.array(class_names, dtype=str),
    }
    if predicted is not None:
        arrays['predicted'] = predicted.astype(np.int32)
    if groups is not None:
        arrays['groups'] = groups.astype(str)
    return arrays


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the digest of a reference: of names, types, shapes and bytes."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f'{name}{array.dtype}{array.shape}'.encode())
        found.update(array.tobytes())
    return found.hexdigest()


def read_policy_and_reference(path: Path) -> tuple[apply.Policy, Reference]:
    """Return a policy and the reference beside it.

    Raises:
      UserError: one of them is missing or damaged, or they do not belong together.
    """
    try:
        policy = apply.read_policy(path)
    except apply.PolicyError as error:
        raise UserError(f'{error}; {_MAKE}') from error
    return policy, read_reference(Path(path).parent / REFERENCE, policy)


def read_reference(path: Path, policy: apply.Policy) -> Reference:
    """Return the reference of a policy; see `read_policy_and_reference`."""
    wanted = policy.content.get('reference')
    if not path.is_file() or not isinstance(wanted, Mapping):
        raise UserError(
            f"there is no '{path.name}' beside the policy in '{path.parent}', or the policy was made before there was "
            f'monitoring: a monitor compares with the calibration units; {_MAKE}'
        )
    try:
        arrays = read_npz(path)
    except DAMAGE as error:
        raise UserError(f"'{path}' is damaged: {error}; {_MAKE}") from error
    if digest_of(arrays) != wanted.get('digest'):
        raise UserError(
            f"'{path}' belongs to another policy, or its content was changed: keep the files of one decisions folder "
            f'together, or {_MAKE}'
        )
    return make_reference(arrays, policy)


def make_reference(arrays: Mapping[str, np.ndarray], policy: apply.Policy) -> Reference:
    """Return the reference that arrays hold; see `reference_arrays`.

    Raises:
      UserError: it is of another version, or empty.
    """
    try:
        if str(arrays['format']) != FORMAT or not len(arrays['correct']):
            raise ValueError(f"its format is '{arrays['format']}', and {len(arrays['correct'])} units are in it")
        found: Any = apply.decide(policy, arrays['confidence'], groups=arrays.get('groups'))
        return Reference(
            confidence=apply.as_compared(policy, arrays['confidence']),
            correct=arrays['correct'].astype(bool),
            p_correct=None if found.p_correct is None else np.clip(found.p_correct, 0, 1),
            accepted=found.code == 0,
            predicted=arrays.get('predicted'),
            num_classes=int(arrays['num_classes']),
            class_names=tuple(arrays['class_names'].tolist()),
            digest=digest_of(arrays),
        )
    except (KeyError, ValueError) as error:
        raise UserError(f'the reference is not usable: {error}; {_MAKE}') from error
