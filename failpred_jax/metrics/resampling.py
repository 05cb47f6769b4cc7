"""Bootstrap resamples of every ranking metric, the same for all scores.

A resample is a vector of weights: how often each unit was drawn. The order of a score does not change with the weights,
so one sort a score serves all resamples, and all scores see the same resamples. Every core draws and walks
(reweighted.py) blocks of resamples, so time grows with units, resamples and scores, and memory does not.

What N units and a handful of errors show is not all there is: the next error may be far more confident than those seen,
and it would move AUROC and AURC more than all of them. So each resample draws from the N units and from one more unit
of the rarer kind (nearly always an error), as confident as a unit of the other kind drawn at random. With few errors
this is what keeps intervals honest, and what gives them a width where all resamples of the data agree; with many it
changes nothing. docs/metrics.md shows the coverage with and without.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.console import Phase, phase
from failpred_jax.errors import UserError
from failpred_jax.metrics.ranking import check_inputs, score_metrics, values, values_of_walks
from failpred_jax.metrics.reweighted import Ranking, make_ranking, walk_reweighted
from failpred_jax.metrics.sorting import CORRECT, sort_order
from failpred_jax.metrics.walk import STANDARD, Counts, Found, Points, begin, read_flags, visit
from failpred_jax.threads import in_threads
from failpred_jax.types import Array

# Where the one more unit may stand: at so many quantiles of the confidences of the other kind.
NUM_PLACES = 8
# Weights of one block of resamples, in numbers: what a core's cache holds while it walks.
_BLOCK_WEIGHTS = 1 << 16
_MAX_LANES = 256
# Numbers that are drawn are filled up to a multiple of this.
_DRAWN_AT_ONCE = 256


@dataclass(frozen=True)
class Resamples:
    """Metrics of S scores on R resamples.

    Attributes:
      scores: S names.
      metrics: M names.
      values: [M, S] float64, of the data themselves.
      samples: [M, S, R] float32; NaN where a resample leaves a metric undefined (it may hold no error).
      support: independent pieces that the figures rest on: units of the rarer kind (errors or correct ones), or
        clusters. It sets the degrees of freedom of intervals.
      is_clustered: whether clusters were drawn, not units.
      pieces: what the support counts, in the plural, for sentences.
    """

    scores: tuple[str, ...]
    metrics: tuple[str, ...]
    values: np.ndarray
    samples: np.ndarray
    support: int
    is_clustered: bool = False
    pieces: str = 'units'

    def of(self, names: Sequence[str]) -> 'Resamples':
        """Return the resamples of these scores alone, in this order."""
        at = [self.scores.index(name) for name in names]
        return dataclasses.replace(self, scores=tuple(names), values=self.values[:, at], samples=self.samples[:, at])


def resample_weights(
    key: jax.Array, num_units: int, num_resamples: int, first: int | jax.Array = 0, num_places: int = 0
) -> jax.Array:
    """Draw how often each unit is in each resample.

    Args:
      key: PRNG key.
      num_units: N, static.
      num_resamples: R, static.
      first: number of the first resample; the r-th depends on the key and on r alone.
      num_places: K, static: places of one more unit, which is at each of them with a chance of 1/K. 0 for none.

    Returns:
      [N + K, R] int32, columns adding up to N, or to N + 1 with one more unit: multinomial with equal chances.

    Reference: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 6.2.
    """
    drawn = _draws(key, num_units, num_resamples, first, num_places)[:, : num_units + (num_places > 0)]
    return jax.vmap(lambda of_one: jnp.zeros(num_units + num_places, jnp.int32).at[of_one].add(1), out_axes=1)(drawn)


def _draws(key: jax.Array, num_units: int, num_resamples: int, first: int | jax.Array, num_places: int) -> jax.Array:
    """Return which units, or places of the one more, each resample draws.

    Returns:
      [R, M] int32, of which the first N draws count, or N + 1 with one more. The others only fill a block up: of
      500,001 numbers XLA makes each in 39 ns on a CPU, of 500,224 in 5, and the first 500,001 of these are the same.
    """
    num_draws = num_units + (num_places > 0)
    # A unit holds K tickets, and each place of the one more holds one.
    tickets = max(num_places, 1)
    size = num_draws + -num_draws % _DRAWN_AT_ONCE

    def one(number: jax.Array) -> jax.Array:
        drawn = jax.random.randint(jax.random.fold_in(key, number), (size,), 0, tickets * num_draws, jnp.int32)
        return jnp.where(drawn < tickets * num_units, drawn // tickets, drawn - (tickets - 1) * num_units)

    return jax.vmap(one)(first + jnp.arange(num_resamples, dtype=jnp.int32))


_jitted_draws = jax.jit(_draws, static_argnames=('num_units', 'num_resamples', 'num_places'))


def host_weights(key: jax.Array, num_units: int, num_resamples: int, first: int, num_places: int) -> np.ndarray:
    """Return what `resample_weights` does, transposed and counted on the host: [R, N + K] uint8 (int32 where many)."""
    drawn = np.asarray(_jitted_draws(key, num_units, num_resamples, np.int32(first), num_places))
    drawn = drawn[:, : num_units + (num_places > 0)]
    counts = np.stack([np.bincount(row, minlength=num_units + num_places) for row in drawn])
    return counts.astype(np.uint8 if counts.max(initial=0) < 256 else np.int32)


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


@jax.jit
def sorted_flags(confidence: jax.Array, correct: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (order, flags) for `weighted_metrics` of confidences [S, N] and correct [N] bool."""
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
    num_places: int = NUM_PLACES,
) -> Resamples:
    """Compute every failure and selective metric of several scores of one classifier on the same resamples.

    Args:
      confidences: score name -> [...] of any real type, higher means more confident.
      correct: [...] bool.
      mask: [...] bool; False marks units that count nowhere. None counts all.
      num_resamples: R.
      seed: an int or a PRNG key; the same one gives the same resamples, whatever the scores are.
      points: operating points.
      num_places: quantiles at which the one more unit may stand; 0 for the plain bootstrap, without it.

    Returns:
      Resamples, each of the N units and one more; see above.

    Raises:
      UserError: as `failure_metrics`, or where no unit is counted.

    Reference: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13. One more unit: in the
      spirit of Laplace's rule of succession, as Agresti & Coull, The American Statistician 1998, add units to a sample.
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
    num_errors = int(np.count_nonzero(~right))
    support = min(num_errors, right.size - num_errors)
    rows = [with_one_more(row, right, num_places)[0] for row in rows]
    right = with_one_more(rows[0][: right.size], right, num_places)[1]
    rankings = [make_ranking(row, right) for row in rows]
    with phase('resampling', num_resamples, 'resamples') as resampled:
        walks = _walked(rankings, key, right.size - num_places, num_places, num_resamples, points, resampled)
        samples = _metrics_of(walks, metrics, points)[..., :num_resamples]
    point = np.array([[one[name] for one in found] for name in metrics])
    return Resamples(tuple(confidences), metrics, point, samples, support)


def _walked(
    rankings: Sequence[Ranking],
    key: jax.Array,
    num_units: int,
    num_places: int,
    num_resamples: int,
    points: Points,
    resampled: Phase,
) -> list[list[tuple[Found, Counts]]]:
    """Return what the walks over blocks of resamples find: one list per block, with one entry per score."""
    size = min(num_resamples, max(1, min(_MAX_LANES, _BLOCK_WEIGHTS // (num_units + num_places))))
    walks: list[list[tuple[Found, Counts]]] = [[] for _ in range(0, num_resamples, size)]

    def walk_block(number: int) -> None:
        weights = host_weights(key, num_units, size, number * size, num_places)
        for ranking in rankings:
            walks[number].append(walk_reweighted(ranking, weights, points))
        resampled.add(size)

    in_threads(walk_block, range(len(walks)))
    return walks


def _metrics_of(walks: Sequence[Sequence[tuple[Found, Counts]]], metrics: Sequence[str], points: Points) -> np.ndarray:
    """Return the metrics of walks, by block and score: [M, S, R] float32."""

    def joined(*parts: np.ndarray) -> np.ndarray:
        return np.concatenate(parts)

    def stacked(*scores: np.ndarray) -> np.ndarray:
        return np.stack(scores)

    of_scores = [jax.tree.map(joined, *blocks) for blocks in zip(*walks, strict=True)]
    found, total = jax.tree.map(stacked, *of_scores)
    with jax.enable_x64(jax.default_backend() != 'tpu'):
        by_name = values_of_walks(found, total, points)
        return np.stack([np.asarray(jax.device_get(by_name[name]), np.float32) for name in metrics])


def with_one_more(
    confidence: np.ndarray, correct: np.ndarray, num_places: int = NUM_PLACES
) -> tuple[np.ndarray, np.ndarray]:
    """Add the places of one more unit of the rarer kind, which stand for a single unit together.

    Args:
      confidence: [N] of one score.
      correct: [N] bool.
      num_places: K; 0 adds nothing.

    Returns:
      Confidences and what is correct, [N + K] each: those of the units, then those of the places, whose confidences are
      evenly spread quantiles of those of the other kind. `resample_weights` draws them.
    """
    is_error_rarer = 2 * np.count_nonzero(correct) >= correct.size
    others = np.sort(confidence[correct == is_error_rarer])
    places = others[len(others) * (2 * np.arange(num_places) + 1) // (2 * max(num_places, 1))]
    return np.append(confidence, places), np.append(correct, np.full(num_places, not is_error_rarer))
