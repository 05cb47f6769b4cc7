"""How sure the figures are: bootstrap intervals, and paired comparisons of scores on the same resamples.

A resample draws N of the N units with replacement: it is a vector of weights that add up to N. The order of a score
does not change with the weights, so one sort a score serves all resamples, and all scores see the same resamples. A
walk down the orders then carries all scores and resamples at once, each as a lane, in memory that does not grow with
the number of resamples.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.metrics.ranking import check_inputs, score_metrics, values
from failpred_jax.metrics.sorting import CORRECT, sort_order
from failpred_jax.metrics.walk import STANDARD, Counts, Points, begin, read_flags, visit
from failpred_jax.registry import METRICS
from failpred_jax.types import Array

# Weights of one block of resamples, in numbers: 16 MiB as int32 while they are drawn.
_BLOCK_WEIGHTS = 1 << 22
_MIN_LANES, _MAX_LANES = 8, 256


@dataclass(frozen=True)
class Resamples:
    """Metrics of S scores on R resamples.

    Attributes:
      scores: S names.
      metrics: M names.
      values: [M, S] float64, of the data themselves.
      samples: [M, S, R] float32; NaN where a resample leaves a metric undefined (it may hold no error).
    """

    scores: tuple[str, ...]
    metrics: tuple[str, ...]
    values: np.ndarray
    samples: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """A score against another by one metric, on the same resamples.

    Attributes:
      difference: metric of the first less that of the second, on the data.
      low, high: interval of that difference.
      wins: share of resamples in which the first is better, draws counting one half.
      is_distinguishable: whether the interval leaves out 0.
    """

    difference: float
    low: float
    high: float
    wins: float
    is_distinguishable: bool


def resample_weights(key: jax.Array, num_units: int, num_resamples: int, first: int = 0) -> jax.Array:
    """Draw how often each unit is in each resample.

    Args:
      key: PRNG key.
      num_units: N, static.
      num_resamples: R, static.
      first: number of the first resample; the r-th depends on the key and on r alone.

    Returns:
      [N, R] int32, columns adding up to N: multinomial with equal chances.

    Reference: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 6.2.
    """

    def one(number: jax.Array) -> jax.Array:
        drawn = jax.random.randint(jax.random.fold_in(key, number), (num_units,), 0, num_units, jnp.int32)
        return jnp.zeros(num_units, jnp.int32).at[drawn].add(1)

    return jax.vmap(one, out_axes=1)(first + jnp.arange(num_resamples, dtype=jnp.int32))


def weighted_metrics(
    order: jax.Array, flags: jax.Array, weights: jax.Array, points: Points = STANDARD
) -> dict[str, jax.Array]:
    """Return every failure and selective metric of S scores under R weightings of the same N units.

    Args:
      order: [S, N] int32, units of each score in falling confidence, from `sort_order`.
      flags: [S, N] uint8, from `sort_order`, with CORRECT.
      weights: [N, R] int32 >= 0, by unit; small enough that a column adds up to less than 2^31.
      points: static.

    Returns:
      {name: [S, R]}.
    """
    lanes = (order.shape[0], weights.shape[1])
    correct = jnp.zeros(order.shape[1], jnp.int32).at[order[0]].set((flags[0] & CORRECT).astype(jnp.int32))
    total = Counts(jnp.sum(weights, 0, dtype=jnp.int32), jnp.sum(weights * correct[:, None], 0, dtype=jnp.int32))
    total = jax.tree.map(lambda x: jnp.broadcast_to(x[None, :], lanes), total)

    def step(carry, unit: tuple[jax.Array, jax.Array]):
        found, above, now = carry
        index, flag = unit
        own, is_threshold = read_flags(flag[:, None], weights[index])
        now = jax.tree.map(jnp.add, now, own)
        found = visit(found, above, now, total, is_threshold, points)
        above = jax.tree.map(lambda old, new: jnp.where(is_threshold, new, old), above, now)
        return (found, above, now), None

    none = jnp.zeros(lanes, jnp.int32)
    carry = (begin(lanes, points), Counts(none, none), Counts(none, none))
    (found, _, _), _ = jax.lax.scan(step, carry, (order.T, flags.T))
    return values(found, total, points)


@functools.partial(jax.jit, static_argnames=('size', 'points'))
def _block(key: jax.Array, order: jax.Array, flags: jax.Array, first: jax.Array, size: int, points: Points):
    return weighted_metrics(order, flags, resample_weights(key, order.shape[1], size, first), points)


@jax.jit
def _orders(confidence: jax.Array, correct: jax.Array) -> tuple[jax.Array, jax.Array]:
    order, flags = jax.lax.map(sort_order, confidence)
    return order, flags | correct[order].astype(jnp.uint8) * jnp.uint8(CORRECT)


def bootstrap(
    confidences: Mapping[str, Array],
    correct: Array,
    mask: Array | None = None,
    *,
    num_resamples: int = 1000,
    seed: int | jax.Array = 0,
    points: Points = STANDARD,
) -> Resamples:
    """Compute every failure and selective metric of several scores of one classifier on the same resamples.

    Args:
      confidences: score name -> [...] of any real type, higher means more confident.
      correct: [...] bool.
      mask: [...] bool; False marks units that count nowhere. None counts all.
      num_resamples: R.
      seed: an int or a PRNG key; the same one gives the same resamples, whatever the scores are.
      points: operating points.

    Returns:
      Resamples.

    Raises:
      UserError: as `failure_metrics`, or where no unit is counted.

    Reference: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13.
    """
    found = [score_metrics(confidence, correct, mask, points) for confidence in confidences.values()]
    metrics = tuple(found[0])
    checked = [check_inputs(confidence, correct, mask) for confidence in confidences.values()]
    counted = slice(None) if mask is None else np.asarray(checked[0][2])
    right = np.asarray(checked[0][1])[counted]
    if right.size == 0:
        raise UserError('no unit is counted, so there is nothing to resample')
    kinds = {np.dtype(confidence.dtype) for confidence, _, _ in checked}
    rows = [np.asarray(confidence)[counted] for confidence, _, _ in checked]
    if len(kinds) > 1:
        # Of float32 and int32, neither holds the other: ranks stand for both.
        rows = [np.unique(row, return_inverse=True)[1].astype(np.int32) for row in rows]
    key = jax.random.key(seed) if isinstance(seed, int) else seed
    lanes = int(np.clip(_BLOCK_WEIGHTS // right.size, _MIN_LANES, _MAX_LANES))
    lanes = min(lanes, num_resamples)
    order, flags = _orders(np.stack(rows), right)
    blocks = []
    for first in range(0, num_resamples, lanes):
        block = jax.device_get(_block(key, order, flags, np.int32(first), lanes, points))
        blocks.append(np.stack([block[name] for name in metrics]))
    samples = np.concatenate(blocks, axis=-1)[..., :num_resamples]
    point = np.array([[one[name] for one in found] for name in metrics])
    return Resamples(tuple(confidences), metrics, point, samples)


def intervals(resamples: Resamples, level: float = 0.95) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the percentile interval of every metric of every score.

    Args:
      resamples: from `bootstrap`.
      level: probability that an interval is to cover, in (0, 1).

    Returns:
      {score: {metric: (low, high)}}, over the resamples in which the metric is defined; (NaN, NaN) where it is not
      defined on the data, or in fewer than half of the resamples.

    Reference: Efron & Tibshirani, 1993, section 13.3 (the percentile interval).
    """
    low, high = _interval(resamples.samples, level)
    defined = ~np.isnan(resamples.values)
    low, high = (np.where(defined, limit, np.nan) for limit in (low, high))
    return {
        score: {metric: (float(low[m, s]), float(high[m, s])) for m, metric in enumerate(resamples.metrics)}
        for s, score in enumerate(resamples.scores)
    }


def _interval(samples: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the central interval over the last axis, NaN where fewer than half are defined."""
    defined = ~np.isnan(samples)
    enough = defined.mean(axis=-1) >= 0.5
    # A row of NaN would make nanquantile warn; its result is not used.
    filled = np.where(enough[..., None], samples, 0).astype(np.float64)
    ends = np.nanquantile(filled, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    return tuple(np.where(enough, end, np.nan) for end in ends)


def compare(resamples: Resamples, first: str, second: str, metric: str, level: float = 0.95) -> Comparison:
    """Compare two scores by one metric on the same resamples.

    Args:
      resamples: from `bootstrap`.
      first, second: score names.
      metric: a metric name.
      level: probability that the interval is to cover, in (0, 1).

    Returns:
      Comparison; NaN throughout, and not distinguishable, where the metric is undefined.

    Raises:
      UserError: a name is not in `resamples`.

    Reference: Koehn, EMNLP 2004 ("paired bootstrap resampling").
    """
    for given, allowed, kind in ((first, resamples.scores, 'score'), (second, resamples.scores, 'score')):
        if given not in allowed:
            raise UserError(f"unknown {kind} '{given}' (resampled: {', '.join(allowed)})")
    if metric not in resamples.metrics:
        raise UserError(f"unknown metric '{metric}' (resampled: {', '.join(resamples.metrics)})")
    m, a, b = resamples.metrics.index(metric), resamples.scores.index(first), resamples.scores.index(second)
    change = resamples.samples[m, a].astype(np.float64) - resamples.samples[m, b]
    low, high = (float(end) for end in _interval(change, level))
    difference = float(resamples.values[m, a] - resamples.values[m, b])
    if np.isnan(difference) or np.isnan(low):
        return Comparison(np.nan, np.nan, np.nan, np.nan, False)
    sign = 1 if higher_is_better(metric) else -1
    better = sign * change[~np.isnan(change)]
    wins = float(np.mean(better > 0) + np.mean(better == 0) / 2)
    return Comparison(difference, low, high, wins, bool(low > 0 or high < 0))


def higher_is_better(metric: str) -> bool:
    """Return whether a failure or selective metric is better when higher; operating points of any level are known."""
    if metric in METRICS:
        return METRICS[metric].higher_is_better is not False
    return metric.startswith('coverage_at_')


def level_with_best(resamples: Resamples, level: float = 0.95) -> dict[str, tuple[str, ...]]:
    """Return, for each metric, the scores that the data cannot tell from the best one.

    Args:
      resamples: from `bootstrap`.
      level: of the intervals of the paired differences; no allowance is made for many comparisons.

    Returns:
      {metric: score names}, the best first and then those whose difference from it is not distinguishable, in the
      order of the scores; empty where the metric is undefined for all scores, or prefers no direction.
    """
    found = {}
    for m, metric in enumerate(resamples.metrics):
        point = resamples.values[m]
        has_direction = metric not in METRICS or METRICS[metric].higher_is_better is not None
        if np.isnan(point).all() or not has_direction:
            found[metric] = ()
            continue
        best = int(np.nanargmax(point) if higher_is_better(metric) else np.nanargmin(point))
        name = resamples.scores[best]
        level_scores = [
            other
            for s, other in enumerate(resamples.scores)
            if s != best
            and not np.isnan(point[s])
            and not compare(resamples, name, other, metric, level).is_distinguishable
        ]
        found[metric] = (name, *level_scores)
    return found
