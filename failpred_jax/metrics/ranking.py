"""All failure and selective metrics of a score from one sort: the pure core, and functions for callers with data."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.metrics.failure import failure_names, failure_values
from failpred_jax.metrics.metric import nan_unless
from failpred_jax.metrics.reweighted import walk_once
from failpred_jax.metrics.selective import selective_names, selective_values
from failpred_jax.metrics.sorting import CORRECT, COUNTED, count_nan, sort_order, sort_units, sort_units_on_host
from failpred_jax.metrics.walk import STANDARD, Counts, Found, Points, float_type, walk
from failpred_jax.types import Array

# Without the operating points of selective prediction.
FAILURE_METRICS = (*failure_names(STANDARD), *selective_names(STANDARD._replace(coverage=(), risk=())))
# Up to here the copy that padding makes, and the extra sorting, cost less than a compilation.
_PADDED_SIZES = 1 << 20


def values(found: Found, total: Counts, points: Points = STANDARD) -> dict[str, jax.Array]:
    """Return every failure and selective metric from a finished walk."""
    return failure_values(found, total, points) | selective_values(found, total, points)


# Called outside a compiled function, each of its operations would be compiled by itself.
values_of_walks = jax.jit(values, static_argnames='points')


def names(points: Points = STANDARD) -> tuple[str, ...]:
    """Return the names of the failure and selective metrics that come from one walk, in the order of tables."""
    return (*failure_names(points), *selective_names(points))


def ranking_metrics(
    confidence: Array,
    correct: Array,
    mask: Array | None = None,
    weights: Array | None = None,
    points: Points = STANDARD,
) -> dict[str, jax.Array]:
    """Return every failure and selective metric: pure and jittable (`points` static), one sort.

    Args:
      confidence: [N] float32 (or float16, bfloat16, int32); higher means more confident. Infinities are ordinary
        values.
      correct: [N] bool.
      mask: [N] bool; False marks units that count nowhere, whatever they hold. None counts all.
      weights: [N] int32 >= 0: how often each unit counts. None is once each; giving it makes the sort slower.
      points: operating points.

    Returns:
      {name: scalar}, float32, or float64 under `jax.enable_x64`. Undefined values are NaN, as the metric's entry in
      `registry.METRICS` says. If any counted confidence is NaN, all values are.
    """
    confidence, correct = jnp.asarray(confidence), jnp.asarray(correct)
    if weights is None:
        found, total = walk(sort_units(confidence, correct, mask), points)
    else:
        weights = jnp.asarray(weights).astype(jnp.int32)
        order, flags = sort_order(confidence, mask)
        flags = flags | correct[order].astype(jnp.uint8) * jnp.uint8(CORRECT)
        found, total = walk(flags, points, weights[order])
    good = count_nan(confidence, mask) == 0
    return {name: nan_unless(good, value) for name, value in values(found, total, points).items()}


@functools.partial(jax.jit, static_argnames='points')
def _jitted(confidence: jax.Array, correct: jax.Array, mask: jax.Array | None, points: Points):
    return ranking_metrics(confidence, correct, mask, points=points), count_nan(confidence, mask)


@functools.cache
def _of_no_unit(points: Points, kind: jnp.dtype) -> dict[str, np.ndarray]:
    """Return the metrics of no unit in a float type, kept: a walk outside of a function compiles at every call."""
    with jax.enable_x64(kind == jnp.float64):
        return jax.device_get(values_of_walks(*walk(jnp.zeros(0, jnp.uint8), points), points))


def _sorted_on_host(
    confidence: Array, correct: Array, mask: Array | None, points: Points
) -> tuple[dict[str, np.ndarray], int]:
    """Return what `_jitted` does, found by NumPy; sums of float64 in another order agree except in the last digits."""
    confidence = np.asarray(confidence)
    if confidence.dtype.kind == 'f':
        nan = np.isnan(confidence)
        if nans := int(np.count_nonzero(nan if mask is None else nan & np.asarray(mask))):
            return {}, nans
    flags = sort_units_on_host(confidence, correct, mask)
    flags = flags[: np.count_nonzero(flags & COUNTED)]
    if not flags.size:
        return dict(_of_no_unit(points, float_type())), 0
    return jax.device_get(values_of_walks(*walk_once(flags, points), points)), 0


def score_metrics(
    confidence: Array, correct: Array, mask: Array | None = None, points: Points = STANDARD
) -> dict[str, float]:
    """Return every failure and selective metric of one score, in double precision.

    Args:
      confidence: [...] of any real type, higher means more confident; ranked exactly, also where float32 would round.
        It is flattened.
      correct: [...] bool (or 0 and 1).
      mask: [...] bool; False marks units that count nowhere. None counts all.
      points: operating points, as fractions of 1.

    Returns:
      {name: float}; NaN where undefined (see `undefined_reasons`).

    Raises:
      UserError: shapes differ, `correct` holds anything but 0 and 1, or a counted confidence is NaN.
    """
    confidence, correct, mask = check_inputs(confidence, correct, mask)
    # TPUs have no float64; there, the compensated float32 sums stand alone.
    with jax.enable_x64(jax.default_backend() != 'tpu'):
        if jax.default_backend() == 'cpu':
            found, nans = _sorted_on_host(confidence, correct, mask, points)
        else:
            found, nans = jax.device_get(_jitted(*_padded(confidence, correct, mask), points))
    if nans:
        raise UserError(
            f'confidence holds {nans} NaN among {confidence.size} values; a ranking needs numbers (infinities are '
            'allowed): repair the score, or mask those units'
        )
    return {name: float(found[name]) for name in names(points)}


def failure_metrics(confidence: Array, correct: Array, mask: Array | None = None) -> dict[str, float]:
    """Return how well a confidence finds the errors of a classifier.

    Args:
      confidence: [...] of any real type, higher means more confident; ranked exactly.
      correct: [...] bool (or 0 and 1).
      mask: [...] bool; False marks units that count nowhere. None counts all.

    Returns:
      {accuracy, num_errors, auroc, aupr_success, aupr_error, fpr_at_95tpr, aurc, e_aurc, augrc: float}, fractions and
      not percent. Undefined values are NaN: see `undefined_reasons`.

    Raises:
      UserError: shapes differ, `correct` holds anything but 0 and 1, or a counted confidence is NaN.

    Reference: Corbière et al., NeurIPS 2019, section 4; Geifman et al., ICLR 2019; Traub et al., NeurIPS 2024.
    """
    found = score_metrics(confidence, correct, mask)
    return {name: found[name] for name in FAILURE_METRICS}


def undefined_reasons(found: dict[str, float]) -> dict[str, str]:
    """Return, for each NaN among metrics of `failure_metrics` or `score_metrics`, why it is one.

    Args:
      found: the metrics, `accuracy` and `num_errors` among them.

    Returns:
      {metric: sentence}, without the metrics that are defined.
    """
    if np.isnan(found['accuracy']):
        reason = 'undefined: there is no unit'
    elif found['num_errors'] == 0:
        reason = 'undefined: there is no error, so nothing to find'
    else:
        reason = 'undefined: there is no correct prediction'
    return {name: reason for name, value in found.items() if np.isnan(value)}


def check_inputs(confidence: Array, correct: Array, mask: Array | None) -> tuple[Array, Array, Array | None]:
    """Return flat (confidence, correct, mask) whose ranking JAX can read exactly, or raise UserError."""
    confidence, correct = _as_array(confidence), _as_array(correct)
    mask = None if mask is None else _as_array(mask)
    for name, x in (('correct', correct), ('mask', mask)):
        if x is not None and x.shape != confidence.shape:
            raise UserError(
                f'{name} has shape {x.shape} but confidence has {confidence.shape}; give one value per unit'
            )
    if correct.dtype != bool:
        if not bool(((correct == 0) | (correct == 1)).all()):
            raise UserError(f'correct holds {correct.dtype} values besides 0 and 1; give predicted == label')
        correct = correct.astype(bool)
    if mask is not None and mask.dtype != bool:
        raise UserError(f'mask has type {mask.dtype}; give bool, True for units that count')
    confidence = _exact(confidence.reshape(-1), None if mask is None else mask.reshape(-1))
    return confidence, correct.reshape(-1), None if mask is None else mask.reshape(-1)


def _as_array(x: Array) -> Array:
    return x if isinstance(x, jax.Array) else np.asarray(x)


def _exact(confidence: Array, mask: Array | None) -> Array:
    """Return confidence as float32 or int32 with the same ranking."""
    kind = np.dtype(confidence.dtype)
    if jnp.issubdtype(kind, jnp.floating) and kind.itemsize <= 4:
        return confidence.astype(np.float32, copy=False)
    if kind.kind == 'b' or (kind.kind in 'iu' and kind.itemsize <= 4 and kind != np.uint32):
        return confidence.astype(np.int32, copy=False)
    if kind.kind not in 'iuf':
        raise UserError(f'confidence has type {kind}; give real numbers')
    confidence = np.asarray(confidence)
    if kind.kind == 'f':
        with np.errstate(over='ignore', invalid='ignore'):
            narrow = confidence.astype(np.float32)
            same = (narrow == confidence) | np.isnan(confidence)
        if (same if mask is None else same | ~np.asarray(mask)).all():
            return narrow
        if (np.isnan(confidence) if mask is None else np.isnan(confidence) & np.asarray(mask)).any():
            return narrow  # The caller refuses NaN, and says how many there are.
    # float32 would merge some of these: their ranks are as good to every ranking metric.
    return np.unique(confidence, return_inverse=True)[1].reshape(-1).astype(np.int32)


def _padded(confidence: Array, correct: Array, mask: Array | None) -> tuple[Array, Array, Array | None]:
    """Return the inputs padded to one of few sizes, so that data of varying size seldom compile anew."""
    size = confidence.size
    if size > _PADDED_SIZES:
        return confidence, correct, mask
    grain = max(1024, 1 << max(0, size.bit_length() - 4))
    extra = -size % grain if size else grain
    mask = np.ones(size, bool) if mask is None else np.asarray(mask)
    confidence, correct, mask = (np.pad(np.asarray(x), (0, extra)) for x in (confidence, correct, mask))
    return confidence, correct, mask
