"""What a finished run says of new images, in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from failpred_jax import apply


@dataclass(frozen=True)
class Prediction:
    """What a run says of N images; of a segmenter's, every [N] but that of `ids` is [N, H, W], a value per pixel.

    Attributes:
      ids: [N] words, as given, or the numbers from 0.
      label: [N] int32, the class predicted.
      class_names: C names, in label order.
      probs: [N, C] float32, of the classes ([N, H, W, C]).
      confidences: score -> [N], higher means more confident.
      p_correct: score -> [N] float64, the calibrated probability that the prediction is right; of those scores that the
        run's validation units could calibrate.
      decision: what the run's policy decides, `decision.names()` for each unit; None without a policy.
    """

    ids: np.ndarray
    label: np.ndarray
    class_names: tuple[str, ...]
    probs: np.ndarray
    confidences: Mapping[str, np.ndarray]
    p_correct: Mapping[str, np.ndarray]
    decision: apply.Decisions | None = None

    def __len__(self) -> int:
        return len(self.label)

    @property
    def names(self) -> np.ndarray:
        """The name of the class predicted: [N] of words, or [N, H, W]."""
        return np.array(self.class_names)[self.label]


def join(parts: Sequence[Prediction]) -> Prediction:
    """Return several predictions of one run, with the same scores, as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    together: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ('ids', 'label', 'probs')
    }
    for field in ('confidences', 'p_correct'):
        columns = [getattr(part, field) for part in parts]
        together[field] = {name: np.concatenate([of[name] for of in columns]) for name in columns[0]}
    decisions = [part.decision for part in parts if part.decision is not None]
    if decisions:
        columns = zip(*((d.code, d.audit) for d in decisions), strict=True)
        code, audit = (np.concatenate(column) for column in columns)
        known = [d.p_correct for d in decisions if d.p_correct is not None]
        together['decision'] = decisions[0]._replace(
            code=code, audit=audit, p_correct=np.concatenate(known) if known else None
        )
    return replace(first, **together)
