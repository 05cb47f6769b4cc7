"""Failure and selective metrics of more units than fit, or that many hosts hold: counts at fixed confidence levels.

The state is integers, so that states of parts of the data, of devices (`jax.lax.psum`) and of hosts add up exactly, in
any order. A unit is counted at the highest level that its confidence reaches. If every confidence is itself a level,
the metrics are those of the sort, to the last digit; if not, the state knows at which levels, and the metrics come
with limits that hold for whatever the true order inside these levels is.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.metrics.failure import fpr_name
from failpred_jax.metrics.ranking import names, values
from failpred_jax.metrics.selective import coverage_name, risk_name
from failpred_jax.metrics.sorting import falling_keys
from failpred_jax.metrics.walk import STANDARD, Counts, Points, at_least, walk_levels
from failpred_jax.types import Array

MAX_LEVELS = 1 << 16


class LevelCounts(NamedTuple):
    """Counts at L levels of rising confidence; every leaf is additive. A count holds up to 2^31 - 1 units.

    Attributes:
      correct: [L] int32, correct units.
      errors: [L] int32, wrong units.
      between: [L] int32, units whose confidence is not that of their level.
    """

    correct: jax.Array
    errors: jax.Array
    between: jax.Array


class StreamedMetrics(NamedTuple):
    """Metrics from level counts.

    Attributes:
      values: metric -> float, of the confidences rounded down to their level.
      low: metric -> float, no larger than the metric of the true confidences.
      high: metric -> float, no smaller.
      is_exact: whether no unit was between levels; then low, values and high are equal.
    """

    values: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    is_exact: bool


def levels_from(confidence: Array, num_levels: int = MAX_LEVELS) -> np.ndarray:
    """Return levels that fit a sample of confidences (validation data, a first batch).

    Args:
      confidence: [...] float32, without NaN.
      num_levels: largest number of levels.

    Returns:
      [L] float32 rising: all distinct values if there are no more than `num_levels`, which makes a stream of such
      values exact; else the sample's quantiles, which put about as many units at each level.
    """
    distinct = np.unique(np.asarray(confidence, np.float32).reshape(-1) + np.float32(0))
    if distinct.size <= num_levels:
        return distinct
    in_order = np.sort(np.asarray(confidence, np.float32).reshape(-1) + np.float32(0))
    return np.unique(in_order[np.linspace(0, in_order.size - 1, num_levels).astype(np.int64)])


def probability_levels() -> np.ndarray:
    """Return about 2^16 levels in [0, 1], rising float32, for confidences of which no sample is at hand.

    They are finest near 0 and 1, where softmax confidences crowd: neighbors differ by less than 1/1200 of the
    distance to the nearer end, down to 2^-26.
    """
    per_octave = 1260
    octaves = 2.0 ** np.arange(-26, -1)
    below_half = np.ravel(octaves[:, None] * (1 + np.arange(per_octave) / per_octave)[None, :])
    levels = np.concatenate([[0.0], below_half, [0.5], 1 - below_half, [1.0]])
    return np.unique(levels.astype(np.float32))


def bfloat16_levels() -> np.ndarray:
    """Return every bfloat16 but NaN, as rising float32: with them, a stream of bfloat16 confidences is exact."""
    bits = np.arange(1 << 16, dtype=np.uint32) << 16
    with np.errstate(invalid='ignore'):
        return np.unique(bits.view(np.float32)[~np.isnan(bits.view(np.float32))] + np.float32(0))


def init_counts(levels: Array) -> LevelCounts:
    """Return the state of an empty stream over [L] levels."""
    return LevelCounts(*(jnp.zeros(levels.shape, jnp.int32) for _ in LevelCounts._fields))


def update_counts(
    counts: LevelCounts, levels: Array, confidence: Array, correct: Array, mask: Array | None = None
) -> LevelCounts:
    """Add units to a state; pure and jittable.

    Args:
      counts: state over L levels.
      levels: [L] float32 rising, the same for all updates.
      confidence: [...] float32 (or float16, bfloat16). NaN must be masked; it is counted at an end, as between.
      correct: [...] bool.
      mask: [...] bool or None; False marks units that count nowhere.

    Returns:
      The new state. Units below the lowest level are counted there, as between.
    """
    # Keys fall, levels rise: turned around, both are sorted, and compared as integers to the last bit.
    level_keys = falling_keys(levels)[::-1]
    keys = jnp.ravel(falling_keys(confidence))
    num_levels = level_keys.size
    place = jnp.searchsorted(level_keys, keys, side='left').astype(jnp.int32)
    place = jnp.minimum(place, num_levels - 1)
    is_between = level_keys[place] != keys
    is_correct = jnp.ravel(jnp.asarray(correct)).astype(bool)
    counted = jnp.ones(keys.shape, bool) if mask is None else jnp.ravel(jnp.asarray(mask))

    def histogram(select: jax.Array) -> jax.Array:
        slot = jnp.where(select & counted, place, num_levels)
        return jnp.zeros(num_levels, jnp.int32).at[slot].add(1, mode='drop')[::-1]

    added = LevelCounts(histogram(is_correct), histogram(~is_correct), histogram(is_between))
    return merge_counts(counts, added)


def merge_counts(first: LevelCounts, second: LevelCounts) -> LevelCounts:
    """Return the state of two streams together, over the same levels."""
    return jax.tree.map(jnp.add, first, second)


def streamed_values(counts: LevelCounts, points: Points = STANDARD) -> dict[str, jax.Array]:
    """Return every failure and selective metric of the confidences rounded to levels; pure and jittable.

    Args:
      counts: a state; fewer than 2^31 units in all.
      points: operating points, static.

    Returns:
      {name: scalar}, as `ranking_metrics`.
    """
    falling = Counts((counts.correct + counts.errors)[::-1], counts.correct[::-1])
    return values(*walk_levels(falling, points), points)


_streamed = functools.partial(jax.jit, static_argnames='points')(streamed_values)


def compute_streamed(counts: LevelCounts, points: Points = STANDARD) -> StreamedMetrics:
    """Return the metrics of a stream, with limits between which those of the true confidences lie.

    Args:
      counts: a state, of this host or summed over hosts.
      points: operating points.

    Returns:
      StreamedMetrics, in double precision.

    Raises:
      UserError: the counts do not fit 2^31 - 1 units.
    """
    counts = jax.tree.map(np.asarray, counts)
    if sum(int(np.sum(x, dtype=np.int64)) for x in counts[:2]) >= 2**31 or min(x.min() for x in counts) < 0:
        raise UserError('the stream holds 2^31 units or more, which its counts cannot; use one state for each part')
    with jax.enable_x64(jax.default_backend() != 'tpu'):
        found = jax.device_get(_streamed(counts, points))
    found = {name: float(found[name]) for name in names(points)}
    if not counts.between.any():
        return StreamedMetrics(found, dict(found), dict(found), True)
    low, high = _limits(counts, points)
    defined = {name: not np.isnan(value) for name, value in found.items()}
    low, high = (
        {name: float(limit.get(name, value)) if defined[name] else value for name, value in found.items()}
        for limit in (low, high)
    )
    return StreamedMetrics(found, low, high, False)


def _limits(counts: LevelCounts, points: Points) -> tuple[dict[str, float], dict[str, float]]:
    """Return limits of each metric over every order, and every tie, that units between levels may have.

    Level edges are thresholds of the true ranking too, so only what happens between two edges is unknown: with c
    correct and e wrong units there, and n units and f errors above, the risk at any true threshold between lies from
    f / (n + c) (all correct ones first) to (f + e) / (n + e) (all errors first), and its curve between these.
    """
    correct, errors, between = (x[::-1].astype(np.int64) for x in counts)
    keep = correct + errors > 0
    c, e, unknown = correct[keep], errors[keep], between[keep] > 0
    units, wrong = np.cumsum(c + e), np.cumsum(e)
    n, f = units - c - e, wrong - e
    num_units, num_errors = units[-1], wrong[-1]
    num_correct = num_units - num_errors
    risk = wrong / units
    risk_before = np.where(n > 0, f / np.maximum(n, 1), risk)
    least = np.where(n + c > 0, f / np.maximum(n + c, 1), 1.0)
    most = np.where(n + e > 0, wrong / np.maximum(n + e, 1), 0.0)
    # The same from below, for the precision among rejected units.
    below, wrong_below = num_units - units, num_errors - wrong
    least_below = np.where(below + c > 0, wrong_below / np.maximum(below + c, 1), 1.0)
    most_below = np.where(below + e > 0, (wrong_below + e) / np.maximum(below + e, 1), 0.0)
    precision_below = (wrong_below + e) / (below + c + e)

    def total(if_known: Array, if_unknown: Array, scale: float) -> float:
        return float(np.sum(np.where(unknown, if_unknown, if_known)) / max(scale, 1))

    low, high = {}, {}
    share = (c + e) / num_units
    area = (risk + risk_before) / 2 * share
    low['aurc'], high['aurc'] = total(area, least * share, 1), total(area, most * share, 1)
    rate = num_errors / num_units
    best = rate + (1 - rate) * np.log(1 - rate) if rate < 1 else 1.0
    low['e_aurc'], high['e_aurc'] = low['aurc'] - best, high['aurc'] - best
    area = (c + e) * (wrong + f) / 2
    for sign, limit in ((-0.5, low), (0.5, high)):
        limit['augrc'] = total(area, area + sign * (c * e), num_units**2)
    area = e * (units - wrong + n - f) / 2
    for sign, limit in ((-0.5, low), (0.5, high)):
        limit['auroc'] = total(area, area + sign * (c * e), num_correct * num_errors)
    for limit, bound, bound_below in ((low, most, least_below), (high, least, most_below)):
        limit['aupr_success'] = total(c * (1 - risk), c * (1 - bound), num_correct)
        limit['aupr_error'] = total(e * precision_below, e * bound_below, num_errors)
    for tpr in points.tpr:
        at = np.argmax(units - wrong >= int(at_least(tpr, num_correct)))
        low[fpr_name(tpr)] = (f[at] if unknown[at] else wrong[at]) / max(num_errors, 1)
        high[fpr_name(tpr)] = wrong[at] / max(num_errors, 1)
    for coverage in points.coverage:
        at = np.argmax(units >= int(at_least(coverage, num_units)))
        low[risk_name(coverage)] = least[at] if unknown[at] else risk[at]
        high[risk_name(coverage)] = most[at] if unknown[at] else risk[at]
    for level in points.risk:
        at_edges = np.max(np.where(risk <= level, units, 0), initial=0)
        # All correct ones first, then as many errors as the risk allows.
        possible = np.where(unknown & (least <= level), np.floor((n + c - f) / (1 - level)), 0)
        possible = np.minimum(np.maximum(possible, np.where(unknown & (least <= level), n + c, 0)), units)
        low[coverage_name(level)] = at_edges / num_units
        high[coverage_name(level)] = max(at_edges, possible.max(initial=0)) / num_units
    return low, high
