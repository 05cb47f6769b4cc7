"""The units that may be labeled, as strategies read them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from failpred_jax.errors import UserError, nearest
from failpred_jax.registry import SCORES


@dataclass(frozen=True)
class Pool:
    """N units that may be labeled.

    Attributes:
      ids: [N] words, what each unit is called.
      confidences: score -> [N] of any real type, higher means more confident.
      probs: [N, C] float32 class probabilities, or None.
      predicted: [N] the class predicted, as a number or a word, or None.
      features: [N, D] float32, or None.
      p_correct: score -> [N] float64, the calibrated probability that the prediction is right.
      labeled_features: [M, D] float32 of the units that have labels already, or None.
      class_names: C names, or ().
      accepted: [N] bool, whether a policy accepts the prediction, or None.
      policy_score: the score that a policy decides by, where one is known; else ''.
      notes: sentences on what was read.
    """

    ids: np.ndarray
    confidences: Mapping[str, np.ndarray] = field(default_factory=dict)
    probs: np.ndarray | None = None
    predicted: np.ndarray | None = None
    features: np.ndarray | None = None
    p_correct: Mapping[str, np.ndarray] = field(default_factory=dict)
    labeled_features: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    accepted: np.ndarray | None = None
    policy_score: str = ''
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def digest(self) -> str:
        """What tells this pool from others: of its names and of all that was predicted."""
        found = hashlib.blake2b(digest_size=16)
        for array in (self.ids, self.probs, self.predicted, *(self.confidences[k] for k in sorted(self.confidences))):
            if array is not None:
                array = np.ascontiguousarray(array)
                found.update(f'{array.dtype}{array.shape}'.encode())
                found.update(array.tobytes())
        return found.hexdigest()

    @cached_property
    def predicted_names(self) -> np.ndarray:
        """The class predicted, by its name: [N] of words, '' where it is not known."""
        if self.predicted is None:
            return np.full(len(self), '')
        if self.class_names and self.predicted.dtype.kind in 'iu':
            return np.array(self.class_names)[self.predicted]
        return self.predicted.astype(str)

    def score(self, name: str = '') -> str:
        """Return the score that is meant: the one named, else a learned one, else the only or first one.

        Raises:
          UserError: there is none of this name.
        """
        there = list(dict.fromkeys([*self.confidences, *self.p_correct]))
        if name and name not in there and name not in self.p_correct:
            raise UserError(
                f"there is no score '{name}'{nearest(name, there)} (scores of these predictions: "
                f'{", ".join(there) or "none"})'
            )
        if name:
            return name
        learned = [score for score in self.confidences if score in SCORES and SCORES[score].role == 'learned']
        return next(iter([*learned[::-1], *there]), '')

    def confidence(self, name: str = '') -> tuple[np.ndarray, str]:
        """Return a confidence [N] and what it is called; without any, the largest probability.

        Raises:
          UserError: there are neither confidences nor probabilities.
        """
        score = self.score(name)
        if score:
            return (self.confidences[score] if score in self.confidences else self.p_correct[score]), score
        return self.need_probs('a confidence').max(axis=1), 'largest probability'

    def probability_correct(self, name: str = '') -> tuple[np.ndarray, str]:
        """Return P(correct), [N] float64, and where it is from.

        It is that of the score that is named; else the calibrated one of the policy's score; else, of those that are
        calibrated, that of the learned score that is listed last, or the first one; else a confidence in [0, 1], chosen
        likewise; else the largest probability.

        Raises:
          UserError: nothing that is there can be a probability.
        """
        score = self.score(name)
        if not name and self.p_correct:
            learned = [one for one in self.p_correct if one in SCORES and SCORES[one].role == 'learned']
            first = next(iter([*learned[::-1], *self.p_correct]))
            score = self.policy_score if self.policy_score in self.p_correct else first
        if score in self.p_correct:
            return np.clip(np.asarray(self.p_correct[score], np.float64), 0, 1), f'calibrated {score}'
        if score:
            values = np.asarray(self.confidences[score], np.float64)
            if values.min() >= 0 and values.max() <= 1:
                return values, score
            if name:
                raise UserError(
                    f"the score '{score}' runs from {values.min():.4g} to {values.max():.4g}, so it is no probability "
                    f"of being right; add a column 'calibrated_{score}' (--mode=predict writes one), or name another "
                    'score'
                )
        if self.probs is not None:
            return self.probs.max(axis=1).astype(np.float64), 'largest probability'
        raise UserError(
            "an audit needs a probability of being right: a confidence in [0, 1], a column 'calibrated_<name>', or "
            "'probs' or 'logits'"
        )

    def need_probs(self, who: str) -> np.ndarray:
        """Return the probabilities [N, C]. Raises UserError without any; `who` needs them."""
        if self.probs is None:
            raise UserError(
                f"{who} needs class probabilities: add 'probs' or 'logits'; with confidences alone, "
                '--strategy=confidence and --strategy=audit work'
            )
        return self.probs

    def need_features(self, who: str) -> np.ndarray:
        """Return the features [N, D]. Raises UserError without any; `who` needs them."""
        if self.features is None:
            raise UserError(
                f"{who} needs features: add 'features', [N, D]; without them, --strategy=margin, confidence, entropy "
                'and audit work'
            )
        return self.features
