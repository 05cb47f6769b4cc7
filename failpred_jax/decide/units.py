"""The units of one part as decisions read them."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.special import softmax

from failpred_jax.calibrate.checks import correctness, real_array
from failpred_jax.errors import UserError, nearest
from failpred_jax.results import Predictions


@dataclass(frozen=True)
class Units:
    """Units of one part.

    Attributes:
      confidences: score -> [N] of any real type.
      correct: [N] bool.
      labels: [N] int, or None where only `correct` is known.
      logits: [N, C] float32, or None.
      given_probs: [N, C] float32, where class probabilities were given; else None.
      ids: [N] words, or None.
      belongs: [N] int, equal for units that belong together (of one patient, image or prompt) and err together; None
        where each stands alone.
      columns: further columns, name -> [N].
    """

    confidences: Mapping[str, np.ndarray]
    correct: np.ndarray
    labels: np.ndarray | None = None
    logits: np.ndarray | None = None
    ids: np.ndarray | None = None
    belongs: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    given_probs: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.correct)

    @cached_property
    def predicted(self) -> np.ndarray | None:
        """[N] int, the class predicted; None without logits."""
        return None if self.logits is None else np.argmax(self.logits, axis=1)

    @cached_property
    def probs(self) -> np.ndarray | None:
        """[N, C] float64, as given or the softmax of the logits; None without logits."""
        if self.given_probs is not None:
            return self.given_probs.astype(np.float64)
        return None if self.logits is None else softmax(self.logits.astype(np.float64), axis=1)

    def confidence(self, score: str) -> np.ndarray:
        """Return the confidence [N] in a type that order and JSON keep: float32, float64 or an integer.

        Raises:
          UserError: these units do not have it, or some are NaN.
        """
        if score not in self.confidences:
            raise UserError(
                f"there is no score '{score}' for all of the units{nearest(score, self.confidences) or ';'} There are: "
                f'{", ".join(self.confidences) or "none"}'
            )
        values = real_array(self.confidences[score], f"confidence '{score}'")
        if values.dtype.kind == 'f' and np.isnan(values).any():
            raise UserError(f"the confidence '{score}' holds {int(np.isnan(values).sum())} NaN")
        return values.astype(np.float64) if values.dtype.kind == 'f' and values.dtype.itemsize > 8 else values

    def take(self, rows: np.ndarray) -> 'Units':
        """Return some of the units."""
        cut = {
            name: None if (array := getattr(self, name)) is None else array[rows]
            for name in ('labels', 'logits', 'given_probs', 'ids', 'belongs')
        }
        return dataclasses.replace(
            self,
            confidences={name: values[rows] for name, values in self.confidences.items()},
            correct=self.correct[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
            **cut,
        )


def of_predictions(found: Predictions | None) -> Units | None:
    """Return the units of an evaluation's part, or None without it."""
    if found is None:
        return None
    has_classes = len(found.labels) == len(found.correct)
    about = found.about
    return Units(
        confidences=found.confidences,
        correct=correctness(found.correct),
        labels=found.labels if has_classes else None,
        logits=found.logits if has_classes else None,
        ids=about.ids,
        belongs=None if about.group is None else np.unique(about.group, return_inverse=True)[1],
        columns=about.columns,
        given_probs=found.probs if has_classes else None,
    )


def one_of_each(units: Units, seed: int) -> Units:
    """Return one unit, drawn by the seed, of those that belong together: these are independent of one another."""
    if units.belongs is None:
        return units
    order = np.random.default_rng([seed, 4]).permutation(len(units))
    _, first = np.unique(units.belongs[order], return_index=True)
    return units if len(first) == len(units) else units.take(np.sort(order[first]))


def digest(*arrays: np.ndarray | None) -> str:
    """Return a digest of arrays: their types, shapes and bytes."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is not None:
            array = np.ascontiguousarray(array)
            found.update(f'{array.dtype}{array.shape}'.encode())
            found.update(array.tobytes())
    return found.hexdigest()


def model_digest(calibration: Units, score: str) -> str:
    """Return the digest that ties a policy to its model: of what the model says of the calibration units."""
    return digest(calibration.logits, calibration.confidence(score))


def data_digest(calibration: Units) -> str:
    """Return a digest of what the calibration units are: labels, or which are right."""
    return digest(calibration.labels, calibration.correct)
