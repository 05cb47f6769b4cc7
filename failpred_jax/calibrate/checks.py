"""Held-out units as the fits want them, or a message that says what is wrong with them."""

import jax.numpy as jnp
import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.metrics.checking import checked
from failpred_jax.types import Array


def real_array(values: Array, what: str) -> np.ndarray:
    """Return values as a NumPy array of real numbers, which NumPy itself can compute with.

    Args:
      values: of any real type. float64 and integers stay as they are; float16 and bfloat16 become float32.
      what: their name, for messages.

    Raises:
      UserError: they are no real numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind == 'V' and not jnp.issubdtype(array.dtype, jnp.floating):
        raise UserError(
            f'{what} has type {array.dtype}: raw bytes, as numpy.savez leaves of bfloat16; save it as float32'
        )
    if jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(np.float32) if array.dtype.itemsize < 4 else array
    if array.dtype.kind not in 'biu':
        raise UserError(f'{what} has type {array.dtype}; give real numbers')
    return array.astype(np.int8) if array.dtype.kind == 'b' else array


@checked
def correctness(correct: Array) -> np.ndarray:
    """Return `correct` as bool; UserError where it holds anything but 0 and 1 (or bool)."""
    array = np.asarray(correct)
    if array.dtype == bool:
        return array
    array = real_array(array, 'correct')
    if not ((array == 0) | (array == 1)).all():
        raise UserError(f'correct holds {array.dtype} values besides 0 and 1; give predicted == label')
    return array.astype(bool)


@checked
def confidence_units(confidence: Array, correct: Array, is_finite: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return flat (confidence [N] as `real_array` leaves it, correct [N] bool) of held-out units.

    Raises:
      UserError: there is no unit, the shapes differ, `correct` holds anything but 0 and 1, or the confidence holds NaN
        (or, with `is_finite`, infinities).
    """
    confidence, correct = real_array(confidence, 'confidence'), correctness(correct)
    if confidence.shape != correct.shape:
        raise UserError(
            f'correct has shape {correct.shape} but confidence has {confidence.shape}; give one value per unit'
        )
    check_values(confidence, 'confidence', is_finite)
    return confidence.reshape(-1), correct.reshape(-1)


def check_values(values: np.ndarray, what: str, is_finite: bool = True) -> None:
    """Raise UserError where there are no values, or some are NaN (or, with `is_finite`, not finite)."""
    if values.size == 0:
        raise UserError(f'{what} is empty; at least one held-out unit is needed')
    bad = ~np.isfinite(values) if is_finite else np.isnan(values)
    if bad.any():
        which = 'not finite' if is_finite else 'NaN'
        raise UserError(f'{what} holds {int(bad.sum())} values that are {which} among {values.size}; leave them out')


def class_labels(labels: Array, outputs: np.ndarray, what: str) -> np.ndarray:
    """Return labels [N] int64 that fit outputs [N, C], whose name is `what`.

    Raises:
      UserError: the shapes do not fit, there is no unit, labels are not integers, or some are no class (a void label
        such as -1 or 255 is none).
    """
    labels = np.asarray(labels)
    if outputs.ndim != 2 or labels.shape != outputs.shape[:1]:
        raise UserError(f'{what} has shape {outputs.shape} and labels {labels.shape}; they must be (N, C) and (N,)')
    if not len(labels):
        raise UserError(f'{what} is empty; at least one held-out unit is needed')
    if labels.dtype.kind not in 'iu':
        raise UserError(f'labels has type {labels.dtype}; give integers')
    bad = (labels < 0) | (labels >= outputs.shape[1])
    if bad.any():
        raise UserError(
            f'{int(bad.sum())} labels are outside 0 ... {outputs.shape[1] - 1}, such as {labels[bad][0]}; leave the '
            'units without a class out'
        )
    return labels.astype(np.int64)


def between_0_and_1(**rates: float) -> None:
    """Raise UserError for a rate that does not lie strictly between 0 and 1."""
    for name, value in rates.items():
        if not 0 < value < 1:
            raise UserError(f'{name} is {value}; it must lie between 0 and 1')
