"""Which predictions are wrong, learned from the classifier's own errors under dropout: probabilities and distances.

A classifier is hardly ever wrong on its training units, so that nothing is learned of its errors there. With a part of
their features dropped it is, as often as wanted: these perturbed units stand in for new ones. A logistic regression
learns from them what the largest probabilities, and the distances to the training units of the predicted and of the
nearest other class, say of an error. No validation label is read.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from failpred_jax.calibrate.logistic import fit_logistic
from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.scores.bank import BY_CLASS, NO_CLASS, Bank
from failpred_jax.scores.distances import InClasses, distances
from failpred_jax.scores.linear import recover_last_layer
from failpred_jax.scores.score import Fit, FitInputs, MeasuresDistances, ScoreInputs, score
from failpred_jax.types import Array

# Parts of the features that are dropped; the first under which there are ENOUGH errors is taken.
RATES = (0.3, 0.5, 0.7)
PASSES, MAX_UNITS = 10, 20_000
ENOUGH, FEWEST = 100, 20
# Errors and successes that are learned from, of each.
MOST = 1000
NUM_TOP = 3
# Beyond these a logarithm says no more: float32 rounds such probabilities, a unit e^7 times as near as usual is one of
# training, and a class without any is endlessly far.
LEAST_LOG_PROB, MOST_LOG_DISTANCE = -30.0, 7.0
_NEAREST = InClasses()
_ROWS = 64


class Learned(NamedTuple):
    """The fitted score.

    Attributes:
      bank: the training units.
      middle: [P] float32, mean of the finite values in the columns of `_design` over the perturbed units, around which
        distances are bounded.
      mean: [P] float32, of the bounded columns.
      scale: [P] float32, one over their standard deviation.
      weights: [P] float32, of the standardized columns.
      intercept: scalar float32.
    """

    bank: Bank
    middle: jax.Array
    mean: jax.Array
    scale: jax.Array
    weights: jax.Array
    intercept: jax.Array


class Perturbed(NamedTuple):
    """Training units with some features dropped.

    Attributes:
      features: [M, D] float32.
      logits: [M, C] float32.
      rows: [M] int, the row of the bank that each was.
      is_right: [M] bool, whether they are predicted as their label.
      shares: how many wrong and right ones there were, for each that is kept.
      rate: the part of the features that was dropped.
      counts: how many wrong ones there were, and of how many.
    """

    features: np.ndarray
    logits: np.ndarray
    rows: np.ndarray
    is_right: np.ndarray
    shares: tuple[float, float]
    rate: float
    counts: tuple[int, int]


def perturb(bank: Bank, weight: Array, bias: Array, rate: float, key: Array) -> Perturbed:
    """Return units of a bank with features dropped, at most MOST that are then predicted wrongly, and as many rightly.

    Args:
      bank: holds units by class.
      weight, bias: [D, C] and [C], of the last layer.
      rate: in (0, 1).
      key: PRNG key.

    Reference: Srivastava et al., "Dropout", JMLR 2014, section 4 (inverted: what is kept is divided by 1 - rate).
    """
    weight, bias = jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32)
    in_class = np.tile(bank.levels != NO_CLASS, bank.chunk) & bank.is_unit
    there, labels, points = np.flatnonzero(in_class), np.tile(bank.labels, bank.chunk), jnp.asarray(bank.points)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    found: dict[bool, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {False: [], True: []}
    totals = {False: 0, True: 0}
    for number in range(PASSES):
        rows = rng.choice(there, min(len(there), MAX_UNITS), replace=False)
        features, logits = jax.device_get(_dropped(points[rows], weight, bias, rate, jax.random.fold_in(key, number)))
        right = logits.argmax(axis=1) == labels[rows]
        for kind in (False, True):
            places = np.flatnonzero(right == kind)
            totals[kind] += len(places)
            kept = places if len(places) <= MOST // PASSES else rng.choice(places, MOST // PASSES, replace=False)
            found[kind].append((features[kept], logits[kept], rows[kept]))
    wrong, right = ([np.concatenate(parts) for parts in zip(*found[kind], strict=True)] for kind in (False, True))
    is_right = np.repeat([False, True], [len(wrong[0]), len(right[0])])
    shares = totals[False] / max(len(wrong[0]), 1), totals[True] / max(len(right[0]), 1)
    features, logits, rows = (np.concatenate(parts) for parts in zip(wrong, right, strict=True))
    return Perturbed(features, logits, rows, is_right, shares, rate, (totals[False], sum(totals.values())))


@functools.partial(jax.jit, static_argnames=('rate',))
def _dropped(
    features: jax.Array, weight: jax.Array, bias: jax.Array, rate: float, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    kept = jax.random.bernoulli(key, 1 - rate, features.shape)
    features = jnp.where(kept, features / (1 - rate), 0)
    return features, jnp.dot(features, weight, precision=lax.Precision.HIGHEST) + bias[None]


def distances_of(drawn: Perturbed, bank: Bank) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances to the nearest unit of the predicted and of any other class, the own one left out: [M] each.

    Raises:
      ScoreUnavailableError: all units are of one class.
    """
    labels, prepared = np.tile(bank.labels, bank.chunk), bank.prepared
    in_class = np.isfinite(np.asarray(prepared.squared_norms))
    if len(np.unique(labels[in_class])) < 2:
        raise ScoreUnavailableError('learned_from_distances compares classes; the training units are all of one class')
    predicted, padding = drawn.logits.argmax(axis=1), -len(drawn.rows) % _ROWS
    centered = drawn.features - np.asarray(prepared.center)
    padded = [np.pad(x, ((0, padding), *((0, 0),) * (x.ndim - 1))) for x in (centered, predicted, drawn.rows)]
    found = [
        _nearest(
            *(x[start : start + _ROWS] for x in padded), prepared.centered, prepared.squared_norms, jnp.asarray(labels)
        )
        for start in range(0, len(padded[0]), _ROWS)
    ]
    nearest = np.concatenate(jax.device_get(found), axis=1)[:, : len(drawn.rows)]
    # The product proposes; as everywhere, the difference itself is what counts.
    own, other = (np.linalg.norm(drawn.features - np.asarray(bank.points)[rows], axis=1) for rows in nearest)
    return np.where(np.isin(predicted, labels[in_class]), own, np.inf), other


@jax.jit
def _nearest(
    features: jax.Array, predicted: jax.Array, rows: jax.Array, points: jax.Array, squared: jax.Array, labels: jax.Array
) -> jax.Array:
    """Return the rows of the nearest point of the predicted and of any other class: [2, B] int32."""
    product = jnp.dot(features, points.T, precision=lax.Precision.HIGHEST)
    found = squared[None] - 2 * product
    found = jnp.where(jnp.arange(len(labels))[None] == rows[:, None], jnp.inf, found)
    is_own = labels[None] == predicted[:, None]
    return jnp.stack([jnp.argmin(jnp.where(mask, found, jnp.inf), axis=1) for mask in (is_own, ~is_own)])


def _design(logits: Array, own: Array, other: Array) -> jax.Array:
    """Return the columns that are learned from: logarithms of the largest probabilities and of both distances."""
    top = lax.top_k(jax.nn.log_softmax(jnp.asarray(logits, jnp.float32)), min(NUM_TOP, logits.shape[-1]))[0]
    logs = [jnp.log(jnp.asarray(x, jnp.float32)) for x in (own, other)]
    return jnp.concatenate([top, jnp.stack(logs, axis=1)], axis=1)


def _bounded(columns: Array, middle: Array) -> jax.Array:
    num_top = columns.shape[1] - 2
    middle = jnp.asarray(middle, jnp.float32)[num_top:]
    low = jnp.append(jnp.full(num_top, LEAST_LOG_PROB), middle - MOST_LOG_DISTANCE)
    high = jnp.append(jnp.zeros(num_top), middle + MOST_LOG_DISTANCE)
    return jnp.clip(jnp.asarray(columns, jnp.float32), low[None], high[None])


def _fit(given: FitInputs) -> Fit:
    name = 'learned_from_distances'
    last = recover_last_layer(given, name, centered=True)
    bank = given.bank_of(name, frozenset({BY_CLASS}))
    drawn = None
    for rate in RATES:
        drawn = perturb(bank, last.weight, last.bias, rate, given.key)
        if min(np.bincount(drawn.is_right, minlength=2)) >= ENOUGH:
            break
    assert drawn is not None
    num_wrong, num_right = np.bincount(drawn.is_right, minlength=2)
    if min(num_wrong, num_right) < FEWEST:
        few = f'{drawn.counts[0]} errors' if num_wrong < num_right else f'{num_right} correct predictions'
        raise ScoreUnavailableError(
            f'{name} learns from the errors on training units of which features are dropped, and there were {few} in '
            f'{drawn.counts[1]:,} with {drawn.rate:g} of the features dropped'
        )
    columns = np.asarray(_design(drawn.logits, *distances_of(drawn, bank)), np.float64)
    middle = columns.mean(axis=0, where=np.isfinite(columns))
    columns = np.asarray(_bounded(columns, middle), np.float64)
    mean, deviation = columns.mean(axis=0), columns.std(axis=0)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    found = fit_logistic((columns - mean) * scale, drawn.is_right.astype(np.float64), ridge=1.0)
    # As many of both kinds were learned from as there are not.
    intercept = found.intercept + np.log(drawn.shares[1]) - np.log(drawn.shares[0])
    fitted = Learned(bank, *(jnp.asarray(x, jnp.float32) for x in (middle, mean, scale, found.weights, intercept)))
    return Fit(fitted, (_describe(drawn, found.weights), *last.notes, *bank.notes(is_uniform=False)))


def _describe(drawn: Perturbed, weights: np.ndarray) -> str:
    num_wrong, num_right = np.bincount(drawn.is_right, minlength=2)
    names = [*(f'log p{i + 1}' for i in range(len(weights) - 2)), 'own class', 'nearest other']
    said = ', '.join(f'{name} {weight:+.2f}' for name, weight in zip(names, weights, strict=True))
    share = 100 * drawn.counts[0] / drawn.counts[1]
    return (
        f'learned from {num_wrong:,} errors and {num_right:,} correct predictions on training units with '
        f'{drawn.rate:g} of their features dropped, of which {share:.2g} % were errors; weights of standardized '
        f'logarithms: {said}'
    )


@score(
    'learned_from_distances',
    needs=['logits', 'features'],
    description="logistic regression of the classifier's errors under dropout on its largest probabilities and the "
    'distances to the training units',
    reference='made here: Srivastava et al., JMLR 2014 (dropout); distances of Jiang et al., NeurIPS 2018; Cox 1958',
    fit=_fit,
    fits_on_train=True,
    reads_val_labels=False,
    distances=MeasuresDistances(frozenset({BY_CLASS}), _NEAREST, lambda fitted: (fitted.bank, _NEAREST)),
)
def learned_from_distances(inputs: ScoreInputs, fitted: Learned) -> jax.Array:
    """Return the log-odds that a prediction is right, as on training units of which features are dropped.

    Args:
      inputs: reads `logits` [N, C] and `features` [N, D].
      fitted: the regression and its training units.

    Returns:
      [N] float32.
    """
    own, other = inputs.once(distances, fitted.bank, _NEAREST)
    columns = _design(inputs.logits, own[:, 0], other[:, 0])
    standardized = (_bounded(columns, fitted.middle) - fitted.mean[None]) * fitted.scale[None]
    return jnp.dot(standardized, fitted.weights, precision=lax.Precision.HIGHEST) + fitted.intercept
