"""Distances from units to the training units, in one pass for every score that asks for some.

The costly part, the matrix product of all units with the bank, is the same for Trust Score under every alpha, its
reference form and the nearest neighbors of features of length 1. So scores say what they ask (`InClasses`, `Nearest`),
and each block of units is multiplied once. As in neighbors.py the product only proposes: SPARE more candidates than are
needed; their distances are then taken from the differences, so that answers are exact to float32 unless more than SPARE
other points lie within the product's rounding of what is looked for. Where bfloat16 is fast it proposes, with what its
rounding can hide counted in (short_products.py), and units for which the candidates prove nothing are multiplied again.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from failpred_jax.console import Phase
from failpred_jax.outcomes import predicted_classes
from failpred_jax.scores.bank import NO_CLASS, Bank, Prepared, lengths, scaled_by
from failpred_jax.scores.density import ALPHAS
from failpred_jax.scores.neighbors import SPARE, rows_of
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.scores.short_products import ShortPoints, largest_products, pays

# Distances held at once: few, for the passes over them to find them in a cache, but more where features are wide, since
# a product reads all points for each block. Chosen by measuring on 2 CPU cores.
_MIN_ENTRIES, _MAX_ENTRIES, _ENTRIES_A_FEATURE = 1 << 23, 1 << 25, 1 << 15
_MIN_ROWS, _MAX_ROWS = 64, 512
# In the first block, so many units without a proof end the use of bfloat16.
_MAX_DOUBTFUL = 0.25
# Of the nearest units, whose distances lie close together, more candidates in bfloat16.
_SHORT_SPARE = 4 * SPARE
# Of the squares of lengths, more than all that is computed in float32 beside the product is off by.
_ROUNDING = 1e-5
# Of the other classes' points as many are looked at before it is found out that they do not tell the nearest class.
_MAX_OTHERS = 48
# Differences held at once where many have to be taken: 64 MB.
_MAX_DIFFERENCES = 1 << 24


class InClasses(NamedTuple):
    """Asks for the distance to the predicted class, and to the nearest other class.

    Attributes:
      level: of the units that count, the density filter; every one of ALPHAS where it is None.
      nth: the distance to a class is that to its nearest (1) or second nearest (2) unit.
    """

    level: int | None = 0
    nth: int = 1


class Nearest(NamedTuple):
    """Asks for the distances to the k nearest units of the uniform draw, all features scaled to length 1."""

    k: int


Ask = InClasses | Nearest


def distances(inputs: ScoreInputs, bank: Bank, ask: Ask) -> Any:
    """Return the answer to one question; see `measure_distances`."""
    return measure_distances(inputs, bank, (ask,))[0]


def measure_distances(inputs: ScoreInputs, bank: Bank, asks: Sequence[Ask], told: Phase | None = None) -> list[Any]:
    """Return the answers to several questions, from one pass.

    Args:
      inputs: reads `features` [N, D], and `logits` [N, C] if any question is about classes.
      bank: holds at least what is asked for.
      asks: the questions.
      told: hears of the units that are done.

    Returns:
      For InClasses (own, other), [N, L] float32 each: the distances to the predicted class and to the nearest other
      one, where a class without an n-th unit is infinitely far; L is 1, or len(ALPHAS) where every level is asked for.
      For Nearest [N, k] float32, nearest first; inf where there are fewer units.
    """
    features = jnp.asarray(inputs.get('features'), jnp.float32)
    num_units = features.shape[0]
    reads_classes = any(isinstance(ask, InClasses) for ask in asks)
    predicted = predicted_classes(inputs.logits) if reads_classes else jnp.zeros(num_units, jnp.int32)
    sets = tuple(_sets(bank, ask) for ask in asks if isinstance(ask, InClasses))
    given = (jnp.asarray(bank.points), bank.prepared, jnp.asarray(bank.labels), sets)
    is_traced = isinstance(features, Tracer) or isinstance(predicted, Tracer)
    num_others = len(np.unique(bank.labels)) + SPARE
    if not is_traced:
        num_others = min(num_others, _MAX_OTHERS)
    entries = min(max(features.shape[1] * _ENTRIES_A_FEATURE, _MIN_ENTRIES), _MAX_ENTRIES)
    rows = 1 << int(math.log2(max(1, entries // len(bank.is_unit))))
    rows = min(max(rows, _MIN_ROWS), _MAX_ROWS)
    run = functools.partial(_block, asks=tuple(asks), chunk=bank.chunk, num_others=num_others)
    padding = -num_units % rows
    features = jnp.pad(features, ((0, padding), (0, 0)))
    predicted = jnp.pad(jnp.asarray(predicted, jnp.int32), (0, padding))
    if is_traced:
        blocks = features.reshape(-1, rows, features.shape[1]), predicted.reshape(-1, rows)
        found = lax.map(lambda block: run(block[0], block[1], *given), blocks)
        found = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_units], found)
        return [_nested(ask, answer) for ask, answer in zip(asks, found, strict=True)]
    short = bank.short if pays(num_units, *bank.points.shape) else None
    found = _in_passes(lambda at, short: run(features[at], predicted[at], *given, short), num_units, rows, short, told)
    doubtful = np.flatnonzero(_doubtful(found)) if short is not None else np.zeros(0, int)
    if len(doubtful):
        at = np.pad(doubtful, (0, -len(doubtful) % rows))
        again = _in_passes(lambda of, _: run(features[at[of]], predicted[at[of]], *given), len(doubtful), rows)
        for column, exact in zip(jax.tree.leaves(found), jax.tree.leaves(again), strict=True):
            column[doubtful] = exact
    answers = []
    for ask, answer in zip(asks, found, strict=True):
        if isinstance(ask, InClasses):
            answer = _with_sure(inputs, bank, ask, answer, num_others)
        answers.append(_nested(ask, answer))
    return answers


def _in_passes(
    run: Callable[[slice, ShortPoints | None], list[Any]],
    num_units: int,
    rows: int,
    short: ShortPoints | None = None,
    told: Phase | None = None,
) -> list[Any]:
    """Return the answers of all blocks of units, on the host; float32 proposes where bfloat16 soon proves little."""
    parts, ahead = [], []
    for start in range(0, num_units, rows):
        # Two at a time: the candidates of one are looked for beside the product of the next.
        ahead.append(run(slice(start, start + rows), short))
        if len(ahead) > 1:
            parts.append(jax.device_get(ahead.pop(0)))
        if start == rows and short is not None and _doubtful(parts[0]).mean() > _MAX_DOUBTFUL:
            short = None
        if told is not None:
            told.add(min(rows, num_units - start))
    parts += jax.device_get(ahead)
    return jax.tree.map(lambda *columns: np.concatenate(columns)[:num_units], *parts)


def _doubtful(found: list[Any]) -> np.ndarray:
    """Return for which units an answer is not known to be right: [N] bool."""
    return ~np.all([answer[-1].reshape(len(answer[-1]), -1).all(axis=1) for answer in found], axis=0)


def _sets(bank: Bank, ask: InClasses) -> jax.Array:
    """Return which chunks are in each of the sets that are looked at: [L, num_chunks] bool."""
    if ask.level is not None:
        return jnp.asarray((bank.levels >= ask.level) & (bank.levels != NO_CLASS))[None]
    return jnp.asarray(bank.levels == np.arange(len(ALPHAS))[:, None])


def _nested(ask: Ask, answer: Any) -> Any:
    """Return an answer as the caller is given it: what a filter keeps is what lies in its shell or further inside."""
    if isinstance(ask, Nearest):
        return answer[0]
    own, other, _ = answer
    if ask.level is not None:
        return own, other
    return tuple(lax.cummin(jnp.asarray(x), axis=1, reverse=True) for x in (own, other))


def _with_sure(inputs: ScoreInputs, bank: Bank, ask: InClasses, answer: Any, num_others: int) -> Any:
    """Return the answer with the units looked at again for which so many candidates did not tell the nearest class."""
    own, other, is_sure = answer
    doubtful = np.flatnonzero(~is_sure.all(axis=1))
    if not len(doubtful):
        return answer
    other = other.copy()
    num_others = len(np.unique(bank.labels)) + SPARE
    rows = max(1, _MAX_DIFFERENCES // (num_others * bank.points.shape[1]))
    run = functools.partial(_block, asks=(ask,), chunk=bank.chunk, num_others=num_others)
    predicted = np.asarray(predicted_classes(inputs.logits))
    for start in range(0, len(doubtful), rows):
        at = np.resize(doubtful[start : start + rows], rows)
        found = run(
            jnp.asarray(np.asarray(inputs.get('features'))[at], jnp.float32), jnp.asarray(predicted[at]),
            jnp.asarray(bank.points), bank.prepared, jnp.asarray(bank.labels), (_sets(bank, ask),),
        )[0]  # fmt: skip
        other[at] = np.asarray(found[1])
    return own, other, is_sure


class _Block(NamedTuple):
    """A block of units beside the bank, for the questions of one pass.

    Attributes:
      units: [B, D] float32.
      predicted: [B] int32.
      shifted: [B, D] float32, units less the center of the bank.
      products: [B, chunk, num_chunks] float32, of shifted units and centered points, or what they are at most.
      points: [R, D] float32.
      prepared: of the bank.
      labels: [num_chunks] int32.
    """

    units: jax.Array
    predicted: jax.Array
    shifted: jax.Array
    products: jax.Array
    points: jax.Array
    prepared: Prepared
    labels: jax.Array


def _block(
    units: jax.Array,
    predicted: jax.Array,
    points: jax.Array,
    prepared: Prepared,
    labels: jax.Array,
    sets: tuple[jax.Array, ...],
    short: ShortPoints | None = None,
    *,
    asks: tuple[Ask, ...],
    chunk: int,
    num_others: int,
) -> list[Any]:
    """Return the answers for a block of units [B, D] with predicted classes [B]."""
    # In programs of their own: in one, XLA makes loops that read the products once for several passes, and are slower.
    shifted, products = _multiplied(units, prepared, short, chunk=chunk)
    block = _Block(units, predicted, shifted, products, points, prepared, labels)
    answers, left = [], list(sets)
    for ask in asks:
        if isinstance(ask, InClasses):
            options = {'nth': ask.nth, 'num_others': num_others}
            answers.append(_in_classes(block, left.pop(0), **options, is_short=short is not None))
        else:
            answers.append(_nearest(block, k=ask.k, is_short=short is not None))
    return answers


@functools.partial(jax.jit, static_argnames='chunk')
def _multiplied(
    units: jax.Array, prepared: Prepared, short: ShortPoints | None, *, chunk: int
) -> tuple[jax.Array, jax.Array]:
    """Return the units less the center, and their products [B, chunk, num_chunks] (or what they are at most)."""
    shifted = units - prepared.center[None]
    if short is None:
        # HIGHEST: a GPU's tensor cores would otherwise round the features to 10 bits.
        products = jnp.dot(shifted, prepared.centered.T, precision=lax.Precision.HIGHEST)
    else:
        products = largest_products(shifted, short)
    return shifted, products.reshape(len(units), chunk, -1)


@functools.partial(jax.jit, static_argnames=('nth', 'num_others', 'is_short'))
def _in_classes(
    block: _Block, sets: jax.Array, *, nth: int, num_others: int, is_short: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return (own [B, L], other [B, L], whether the candidates tell the nearest other class [B, L])."""
    norms = block.prepared.squared_norms.reshape(block.products.shape[1:])
    best = jnp.max(2 * block.products - norms[None], axis=1)
    is_own = block.labels[None] == block.predicted[:, None]

    length = jnp.sum(block.shifted**2, axis=1)[:, None]

    def candidates(is_in: jax.Array, num: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return rows [B, L, num] of points in these chunks, their squared distances, one that no other is below."""
        rows, value = _candidates(block, norms, best, is_in[:, None] & sets[None], num)
        squares = jnp.sum((block.units[:, None, None] - rows_of(block.points, rows)) ** 2, axis=3)
        # Not the last of them: where one place is read, XLA sorts everything in place of choosing the largest.
        last = jnp.min(value, axis=2)
        reach = jnp.where(last == -jnp.inf, jnp.inf, length - last - _ROUNDING * (length + jnp.abs(last)))
        return rows, jnp.where(jnp.isfinite(value), squares, jnp.inf), reach

    _, own, own_reach = candidates(is_own, nth + SPARE)
    own = jnp.sort(own, axis=2)
    own = own[..., nth - 1] if own.shape[2] >= nth else jnp.full(own.shape[:2], jnp.inf)
    rows, found, reach = candidates(~is_own, 1 + SPARE if nth == 1 else num_others)
    other = jnp.min(found, axis=2) if nth == 1 else _nth_of_a_class(found, block.labels[rows % len(block.labels)], nth)
    if is_short:
        is_sure = (own <= own_reach) & (other <= reach)
    elif nth == 1:
        is_sure = jnp.ones(own.shape, bool)
    else:
        # A class whose n-th is nearer has it among the candidates; and nothing is missed where these are all there are.
        is_sure = jnp.isfinite(other) | jnp.isinf(found).any(axis=2)
    return jnp.sqrt(own), jnp.sqrt(other), is_sure


def _candidates(
    block: _Block, norms: jax.Array, best: jax.Array, within: jax.Array, num: int
) -> tuple[jax.Array, jax.Array]:
    """Return the rows of the `num` points that the product says are nearest in each set, and the values that say so.

    They lie in the `num` chunks with the best points, since any other chunk has `num` better ones before it.

    Args:
      block: the units.
      norms: [chunk, num_chunks] squared norms.
      best: [B, num_chunks], of each chunk the largest 2 x product - squared norm.
      within: [B, L, num_chunks] bool, the chunks of each set.
      num: static.

    Returns:
      [B, L, num] int32 and float32, falling, -inf for no point; fewer where the bank has fewer rows.
    """
    num_rows, num_sets, num_chunks = within.shape
    chunk_best, at = lax.top_k(jnp.where(within, best[:, None], -jnp.inf), min(num, num_chunks))
    inside = at.reshape(num_rows, -1)
    values = 2 * jnp.take_along_axis(block.products, inside[:, None], axis=2) - norms[:, inside].transpose(1, 0, 2)
    values = jnp.where(jnp.isfinite(chunk_best.reshape(num_rows, 1, -1)), values, -jnp.inf)
    # [B, chunk, L x chunks] -> [B, L, chunks x chunk]
    chunk = len(norms)
    values = jnp.moveaxis(values.reshape(num_rows, chunk, num_sets, -1), 1, 3).reshape(num_rows, num_sets, -1)
    value, place = lax.top_k(values, min(num, values.shape[2]))
    return place % chunk * num_chunks + jnp.take_along_axis(at, place // chunk, axis=2), value


def _nth_of_a_class(squares: jax.Array, labels: jax.Array, nth: int) -> jax.Array:
    """Return the least n-th smallest among those of one label: [...], of squares and labels [..., K]."""
    # In order within each label, where one that is n-th or later follows n - 1 of its label.
    labels, squares = lax.sort((labels, squares), num_keys=2)
    is_nth = labels[..., nth - 1 :] == labels[..., : labels.shape[-1] - nth + 1]
    return jnp.min(jnp.where(is_nth, squares[..., nth - 1 :], jnp.inf), axis=-1, initial=jnp.inf)


@functools.partial(jax.jit, static_argnames=('k', 'is_short'))
def _nearest(block: _Block, *, k: int, is_short: bool) -> tuple[jax.Array, jax.Array]:
    """Return the distances to the k nearest, of features of length 1: [B, k], and whether the candidates tell: [B]."""
    prepared, (chunk, num_chunks) = block.prepared, block.products.shape[1:]
    # The product with the points themselves, from that of both less the center, over the points' lengths.
    back = jnp.dot(block.shifted, prepared.center, precision=lax.Precision.HIGHEST)[:, None, None]
    inverse, shift = (x.reshape(1, chunk, num_chunks) for x in (prepared.inverse, prepared.along - prepared.outside))
    values = (block.products + back) * inverse + shift
    num = min(k + (_SHORT_SPARE if is_short else SPARE), chunk * num_chunks)
    _, at = lax.top_k(jnp.max(values, axis=1), min(num, num_chunks))
    inside = jnp.moveaxis(jnp.take_along_axis(values, at[:, None], axis=2), 1, 2).reshape(len(at), -1)
    value, place = lax.top_k(inside, min(num, inside.shape[1]))
    rows = place % chunk * num_chunks + jnp.take_along_axis(at, place // chunk, axis=1)
    largest, length = lengths(block.units)
    own = scaled_by(block.units, largest, length)
    others = scaled_by(rows_of(block.points, rows), prepared.largest[rows], prepared.length[rows])
    squares = jnp.where(jnp.isfinite(value), jnp.sum((own[:, None] - others) ** 2, axis=2), jnp.inf)
    squares = jnp.sort(squares, axis=1)[:, :k]
    is_sure = jnp.ones(len(squares), bool)
    if is_short:
        # Of length 1 both, so that a square is 2 less twice the product.
        last = jnp.min(value, axis=1)
        is_sure = (last == -jnp.inf) | (squares[:, -1] <= 2 - 2 * last / (largest * length) - _ROUNDING)
    found = jnp.sqrt(squares)
    return jnp.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=jnp.inf), is_sure
