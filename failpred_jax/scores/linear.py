"""The last layer of a classifier, found from what it did: logits are a linear function of the features.

Nobody has to hand over weights, so scores that need them can be had of a file of predictions too. Directions in which
the training features do not vary say nothing of their weights, which are taken as 0.
"""

from typing import NamedTuple

import jax
import numpy as np

from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.scores.score import FitInputs
from failpred_jax.scores.subsample import keep_uniform

# Enough for every direction of any usual layer; more rows only cost time.
MAX_ROWS = 20_000
# Of the size of the logits: above the rounding of float16, below what any other function than a linear one leaves.
TOLERANCE = 0.01
# Of the largest variance: below it there is only the rounding of float32 features.
_NO_VARIANCE = 1e-12


class LastLayer(NamedTuple):
    """logits = features @ weight + bias, in float64.

    Attributes:
      weight: [D, C].
      bias: [C].
      mean: [D], of the training features.
      num_lost: directions without variation, whose weights are unknown.
    """

    weight: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    num_lost: int

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for the reader of the table, if anything is unknown."""
        if not self.num_lost:
            return ()
        return (f'the weights of {self.num_lost} of {len(self.mean)} directions, in which features do not vary, are 0',)


def recover_last_layer(given: FitInputs, name: str, centered: bool = False) -> LastLayer:
    """Return the last layer by least squares over training units, checked on the validation units.

    Args:
      given: reads the features and logits of training and validation units; no label.
      name: of the score that asks, for messages.
      centered: recover logits less their mean over the classes, which log-probabilities have as well.

    Raises:
      ScoreUnavailableError: there are no training features, or the logits are no linear function of the features.
    """
    given.training(name)
    assert given.train is not None
    rows, mean, values, vectors = given.once(_directions)
    inputs = _drawn(given, rows) - mean
    outputs = _logits(given.train.logits, centered)[rows]
    middle = outputs.mean(axis=0)
    kept = values > _NO_VARIANCE * max(values[-1], 0.0)
    basis = vectors[:, kept]
    weight = basis @ ((basis.T @ (inputs.T @ (outputs - middle))) / values[kept][:, None])
    bias = middle - mean @ weight
    seen = _logits(given.val.logits, centered)
    error = np.asarray(given.val.get('features'), np.float64) @ weight + bias - seen
    size = max(float(np.sqrt(np.mean((seen - middle) ** 2))), np.finfo(np.float32).tiny)
    relative = float(np.sqrt(np.mean(error**2))) / size
    if not relative <= TOLERANCE:
        raise ScoreUnavailableError(
            f'{name} needs logits that are a linear function of the features; on the validation units the best one '
            f'is off by {100 * relative:.2g} % of their size'
        )
    return LastLayer(weight, bias, mean, int(np.count_nonzero(~kept)))


class _Directions(NamedTuple):
    """In which directions training features vary: what every score that asks for the last layer needs of them.

    Attributes:
      rows: [R] of the training units, those that are read.
      mean: [D] float64.
      values: [D] float64, rising, the sum of squares along each direction.
      vectors: [D, D] float64, the directions in columns.
    """

    rows: np.ndarray
    mean: np.ndarray
    values: np.ndarray
    vectors: np.ndarray


def _directions(given: FitInputs) -> _Directions:
    features, _ = given.training('the last layer')
    rows = keep_uniform(len(features), given.key, MAX_ROWS)
    inputs = _drawn(given, rows)
    mean = inputs.mean(axis=0)
    inputs -= mean
    return _Directions(rows, mean, *np.linalg.eigh(inputs.T @ inputs))


def _drawn(given: FitInputs, rows: np.ndarray) -> np.ndarray:
    """Return features of training units, as a new array of float64."""
    assert given.train is not None
    return np.asarray(given.train.features)[rows].astype(np.float64)


def _logits(logits: jax.Array | np.ndarray, centered: bool) -> np.ndarray:
    found = np.asarray(logits, np.float64)
    return found - found.mean(axis=-1, keepdims=True) if centered else found
