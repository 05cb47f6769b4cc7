"""The walk down the thresholds: every area, rate and operating point of a score, each defined once, here.

Units come in falling confidence. At each distinct confidence the walk knows how many units, and how many correct
ones, lie above; all ranking metrics are sums, minima or maxima over these thresholds. The same step serves one pass
over 10^8 sorted units (lanes are consecutive segments of the order), bootstrap resamples (lanes are resamples, units
carry weights) and streamed histograms (units are levels that carry counts).

Counts are int32, exact to 2^31 - 1 units. Sums are error-compensated (TwoSum: Knuth, TAOCP vol. 2, section 4.2.2), so
that adding 10^8 terms costs no more than the rounding of one: 2^-23 in float32, 2^-52 under `jax.enable_x64`.
"""

import functools
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp

from failpred_jax.metrics.sorting import CORRECT, COUNTED, THRESHOLD
from failpred_jax.types import PyTree

_MAX_LANES = 1 << 14
_NEVER = jnp.iinfo(jnp.int32).max


class Points(NamedTuple):
    """Operating points to report, as fractions in (0, 1); read to four decimals, so that comparisons are exact."""

    tpr: tuple[float, ...] = (0.95,)
    coverage: tuple[float, ...] = (0.8, 0.9, 0.95)
    risk: tuple[float, ...] = (0.01, 0.05)


STANDARD = Points()


class Counts(NamedTuple):
    """Numbers of units, int32: all, and correct ones."""

    units: jax.Array
    correct: jax.Array

    @property
    def errors(self) -> jax.Array:
        return self.units - self.correct


class Found(NamedTuple):
    """What a walk has found; int32 counts, and sums as (high, low) pairs of the default float type.

    One array per value: stacked, they would be copied at every step, which makes a walk four times slower on CPU.

    Attributes:
      sums: name -> (high, low).
      at_tpr: one per TPR: errors above the first threshold that reaches it.
      at_coverage: one per coverage: (units, errors) above the first threshold that reaches it.
      at_risk: one per risk: most units above a threshold at which the risk is no higher.
    """

    sums: dict[str, tuple[jax.Array, jax.Array]]
    at_tpr: tuple[jax.Array, ...]
    at_coverage: tuple[tuple[jax.Array, jax.Array], ...]
    at_risk: tuple[jax.Array, ...]

    def totals(self) -> dict[str, jax.Array]:
        """Return the sums by name, [...] each."""
        return {name: high + low for name, (high, low) in self.sums.items()}


SUMS = ('auroc', 'aupr_success', 'aupr_error', 'aurc', 'augrc')


def float_type() -> jnp.dtype:
    """Return float64 under `jax.enable_x64`, else float32."""
    return jnp.zeros(()).dtype


@functools.cache
def fraction_of(level: float) -> tuple[int, int]:
    """Return a level, read to four decimals, as numerator and denominator."""
    fraction = Fraction(level).limit_denominator(10_000)
    return fraction.numerator, fraction.denominator


def at_least(level: float, total: jax.Array) -> jax.Array:
    """Return the smallest int32 count that is no less than level * total, without rounding."""
    top, bottom = fraction_of(level)
    return total // bottom * top + -(-(total % bottom * top) // bottom)


def at_most(level: float, total: jax.Array) -> jax.Array:
    """Return the largest int32 count that is no more than level * total, without rounding."""
    top, bottom = fraction_of(level)
    return total // bottom * top + total % bottom * top // bottom


def two_sum(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return fl(a + b) and the exact error of that addition."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def begin(shape: tuple[int, ...], points: Points) -> Found:
    """Return what a walk over no unit has found."""
    zero = jnp.zeros(shape, float_type())
    never = jnp.full(shape, _NEVER, jnp.int32)
    none = jnp.zeros(shape, jnp.int32)
    return Found(
        sums=dict.fromkeys(SUMS, (zero, zero)),
        at_tpr=tuple(never for _ in points.tpr),
        at_coverage=tuple((never, never) for _ in points.coverage),
        at_risk=tuple(none for _ in points.risk),
    )


def visit(found: Found, above: Counts, now: Counts, total: Counts, is_threshold: jax.Array, points: Points) -> Found:
    """Add one threshold to what a walk has found.

    Args:
      found: so far; [...] lanes.
      above: [...] counts at the threshold before (all zero at the first).
      now: [...] counts at this threshold, itself included.
      total: [...] or scalar counts of all units.
      is_threshold: [...] or scalar bool; where False, nothing changes.
      points: operating points, static.

    Returns:
      The new Found.
    """

    def real(count: jax.Array) -> jax.Array:
        return count.astype(float_type())

    def ratio(part: jax.Array, whole: jax.Array) -> jax.Array:
        return real(part) / real(jnp.maximum(whole, 1))

    units, errors = real(now.units - above.units), real(now.errors - above.errors)
    risk = ratio(now.errors, now.units)
    # The first risk is carried to coverage 0, where the selective risk itself has no value.
    risk_above = jnp.where(above.units == 0, risk, ratio(above.errors, above.units))
    terms = {
        'auroc': errors * (real(now.correct) + real(above.correct)),
        'aupr_success': real(now.correct - above.correct) * ratio(now.correct, now.units),
        'aupr_error': errors * ratio(total.errors - above.errors, total.units - above.units),
        'aurc': units * (risk + risk_above),
        'augrc': units * (real(now.errors) + real(above.errors)),
    }
    sums = {}
    for name, (high, low) in found.sums.items():
        high, error = two_sum(high, jnp.where(is_threshold, terms[name], 0))
        sums[name] = (high, low + error)

    def first(old: jax.Array, value: jax.Array, reached: jax.Array) -> jax.Array:
        # Counts only grow along the walk, so the first threshold that qualifies has the smallest of them.
        return jnp.minimum(old, jnp.where(is_threshold & reached, value, _NEVER))

    at_tpr, at_coverage, at_risk = [], [], []
    for level, old in zip(points.tpr, found.at_tpr, strict=True):
        at_tpr.append(first(old, now.errors, now.correct >= at_least(level, total.correct)))
    for level, (old_units, old_errors) in zip(points.coverage, found.at_coverage, strict=True):
        reached = now.units >= at_least(level, total.units)
        at_coverage.append((first(old_units, now.units, reached), first(old_errors, now.errors, reached)))
    for level, old in zip(points.risk, found.at_risk, strict=True):
        good = is_threshold & (now.errors <= at_most(level, now.units))
        at_risk.append(jnp.maximum(old, jnp.where(good, now.units, 0)))
    return Found(sums, tuple(at_tpr), tuple(at_coverage), tuple(at_risk))


def walk(flags: jax.Array, points: Points = STANDARD, weights: jax.Array | None = None) -> tuple[Found, Counts]:
    """Walk once down sorted units.

    Args:
      flags: [N] uint8 from sorting.py.
      points: operating points, static.
      weights: [N] int32 >= 0 in sorted order, or None for one each.

    Returns:
      found: scalars.
      total: counts of all units, scalars.
    """
    return _walk((flags, weights), lambda unit: read_flags(*unit), points)


def walk_levels(levels: Counts, points: Points = STANDARD) -> tuple[Found, Counts]:
    """Walk once down a histogram: `levels` holds the [L] counts of each distinct confidence, in falling order."""
    return _walk(levels, lambda level: (level, level.units > 0), points)


def read_flags(flags: jax.Array, weights: jax.Array | None) -> tuple[Counts, jax.Array]:
    """Return what each unit alone counts for, and whether it is a threshold."""
    units = (flags & COUNTED != 0).astype(jnp.int32)
    units = units if weights is None else units * weights
    return Counts(units, units * (flags & CORRECT)), flags & THRESHOLD != 0


def _walk(units: PyTree, read: Callable[[PyTree], tuple[Counts, jax.Array]], points: Points) -> tuple[Found, Counts]:
    size = jax.tree.leaves(units)[0].size
    lanes = min(_MAX_LANES, 1 << max(0, (size - 1).bit_length() - 4))
    steps = -(-max(size, 1) // lanes)
    # One lane a segment of the order, so that a step is elementwise; XLA runs long cumulative sums less well.
    units = jax.tree.map(lambda x: jnp.pad(x, (0, lanes * steps - size)).reshape(lanes, steps).T, units)
    start, above, total = _segment_starts(units, read)

    def step(carry: tuple[Found, Counts, Counts], unit: PyTree):
        found, above, now = carry
        own, is_threshold = read(unit)
        now = jax.tree.map(jnp.add, now, own)
        found = visit(found, above, now, total, is_threshold, points)
        above = jax.tree.map(lambda old, new: jnp.where(is_threshold, new, old), above, now)
        return (found, above, now), None

    carry = (begin((lanes,), points), above, start)
    (found, _, _), _ = jax.lax.scan(step, carry, units)
    return join_lanes(found), total


def _segment_starts(units: PyTree, read: Callable[[PyTree], tuple[Counts, jax.Array]]) -> tuple[Counts, Counts, Counts]:
    """Return, for each segment, counts before it and at the last threshold before it; and the total counts."""
    none = jnp.zeros(jax.tree.leaves(units)[0].shape[1], jnp.int32)

    def step(carry: tuple[Counts, Counts, jax.Array], unit: PyTree):
        now, at_last, any_threshold = carry
        own, is_threshold = read(unit)
        now = jax.tree.map(jnp.add, now, own)
        at_last = jax.tree.map(lambda old, new: jnp.where(is_threshold, new, old), at_last, now)
        return (now, at_last, any_threshold | is_threshold), None

    carry = (Counts(none, none), Counts(none, none), none > 0)
    (in_all, to_last, any_threshold), _ = jax.lax.scan(step, carry, units)
    ends = jax.tree.map(lambda x: jnp.cumsum(x, dtype=jnp.int32), in_all)
    starts = jax.tree.map(jnp.subtract, ends, in_all)

    def above(start: jax.Array, own: jax.Array) -> jax.Array:
        # Counts only grow along the order, so the latest is the largest.
        at_last = jax.lax.cummax(jnp.where(any_threshold, start + own, 0))
        return jnp.concatenate([jnp.zeros(1, jnp.int32), at_last[:-1]])

    return starts, jax.tree.map(above, starts, to_last), jax.tree.map(lambda end: end[-1], ends)


def join_lanes(found: Found) -> Found:
    """Join lanes, a power of two of them on the only axis, into scalars."""

    def total(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        high, low = pair
        while high.size > 1:
            half = high.size // 2
            high, error = two_sum(high[:half], high[half:])
            low = low[:half] + low[half:] + error
        return high[0], low[0]

    least = functools.partial(jax.tree.map, jnp.min)
    return Found(
        {name: total(pair) for name, pair in found.sums.items()},
        least(found.at_tpr),
        least(found.at_coverage),
        jax.tree.map(jnp.max, found.at_risk),
    )
