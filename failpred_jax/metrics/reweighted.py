"""The walk of walk.py on the host, down one order under many weightings: what a bootstrap consists of.

A resample changes how often a unit counts, not where it stands. Between two errors nothing happens but that more units
lie above, so counts at the errors alone give every rate, every operating point and the areas under ROC, AUGRC and
AUPR-Error; only the risk itself is summed over all thresholds. That takes some 3 ns a unit, in pieces that stay in a
core's cache, where a compiled walk with a lane for each resample took 20 to 40.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from failpred_jax.metrics.sorting import CORRECT, THRESHOLD, falling_keys_on_host
from failpred_jax.metrics.walk import Counts, Found, Points, at_least, fraction_of

# Thresholds whose risks are summed at once: in float32, where more would lose digits.
_PIECE = 1 << 13
# float32 holds every count up to here.
_MAX_FLOAT32 = 1 << 24


class Ranking(NamedTuple):
    """Where N units stand in one score's order, as far as no weight changes it.

    Attributes:
      order: [N] intp, units in falling confidence.
      ends: [T] intp, place in the order of the last unit of each distinct confidence; None where all are distinct.
      wrong: [E] intp, places of the errors.
      starts: [G] intp, for each of the G confidences that errors have: the first of its errors, counted in `wrong`.
      at: [G] intp, which of the T thresholds that confidence is, rising.
      pieces: the thresholds from the first error on, some at a time: first and last + 1, the number of confidences of
        errors above the first, and how many thresholds in a row have as many errors above them.
    """

    order: np.ndarray
    ends: np.ndarray | None
    wrong: np.ndarray
    starts: np.ndarray
    at: np.ndarray
    pieces: tuple[tuple[int, int, int, np.ndarray], ...]


def make_ranking(confidence: np.ndarray, correct: np.ndarray) -> Ranking:
    """Return the ranking of units that all count: confidence [N] float32 or int32 without NaN, correct [N] bool."""
    keys = falling_keys_on_host(confidence)
    order = np.argsort(keys)
    keys = keys[order]
    return _ranking(order, np.append(keys[1:] != keys[:-1], True), np.flatnonzero(~correct[order]))


def _ranking(order: np.ndarray, is_end: np.ndarray, wrong: np.ndarray) -> Ranking:
    """Return the ranking of an order whose ties end where `is_end` [N] is True, with errors at `wrong` [E]."""
    ends = np.flatnonzero(is_end)
    are_distinct = len(ends) == len(is_end)
    # The threshold of a unit is the number of thresholds before its place.
    of_wrong = wrong if are_distinct else ends.searchsorted(wrong)
    starts = np.flatnonzero(np.diff(of_wrong, prepend=-1))
    at = of_wrong[starts]
    bounds = np.append(at, len(ends))
    pieces = []
    for start in range(int(bounds[0]), len(ends), _PIECE):
        stop = min(start + _PIECE, len(ends))
        first, last = bounds.searchsorted(start, side='right'), bounds.searchsorted(stop)
        pieces.append((start, stop, int(first), np.diff(bounds[first - 1 : last + 1].clip(start, stop))))
    return Ranking(order, None if are_distinct else ends, wrong, starts, at, tuple(pieces))


class _AtErrors(NamedTuple):
    """Counts of B weightings at the G confidences of errors, [B, G] each, and of all units, [B, 1]; float64, exact.

    Attributes:
      own: errors of that confidence.
      errors, correct: above and of that confidence.
      errors_before, correct_before: above it alone.
      all_errors, all_correct: of all confidences.
    """

    own: np.ndarray
    errors: np.ndarray
    correct: np.ndarray
    errors_before: np.ndarray
    correct_before: np.ndarray
    all_errors: np.ndarray
    all_correct: np.ndarray


def walk_once(flags: np.ndarray, points: Points) -> tuple[Found, Counts]:
    """Return what `walk` does for [N] flags of units that are there and all count, on the host: scalars."""
    is_end = flags & THRESHOLD != 0
    wrong = np.flatnonzero(flags & CORRECT == 0)
    # Each unit counts once, so counts above a threshold are places.
    ranking = _ranking(np.empty(0, np.intp), is_end, wrong)
    above = np.arange(1, len(flags) + 1, dtype=np.int32) if ranking.ends is None else ranking.ends.astype(np.int32) + 1
    own = np.diff(ranking.starts, append=len(wrong)).astype(np.float64)[None]
    found, total = _walked(ranking, above[None], own, points, np.float64)
    return jax.tree.map(lambda x: x[0], (found, total))


def walk_reweighted(ranking: Ranking, weights: np.ndarray, points: Points) -> tuple[Found, Counts]:
    """Walk down an order under each of several weightings.

    Args:
      ranking: of N units, at least one.
      weights: [B, N] uint8 or int32, by unit, rows adding up to less than 2^31.
      points: operating points.

    Returns:
      As `walk`, in float64, [B] each.
    """
    drawn = _columns(weights, ranking.order)
    above = np.cumsum(drawn, axis=1, dtype=np.int32)
    if ranking.ends is not None:
        above = _columns(above, ranking.ends)
    own = _columns(drawn, ranking.wrong).astype(np.float64)
    if len(ranking.at) < len(ranking.wrong):
        own = np.add.reduceat(own, ranking.starts, axis=1)
    # Where most are wrong, what is left of one minus the risk would lose digits too.
    is_small = above[:, -1].max() < _MAX_FLOAT32 and 2 * len(ranking.wrong) < len(ranking.order)
    return _walked(ranking, above, own, points, np.float32 if is_small else np.float64)


def _walked(
    ranking: Ranking, above: np.ndarray, own: np.ndarray, points: Points, kind: type[np.floating]
) -> tuple[Found, Counts]:
    """Return what a walk finds.

    Args:
      ranking: thresholds and errors.
      above: [B, T] int32, units above and at each threshold.
      own: [B, G] float64, errors of each confidence of errors.
      points: operating points.
      kind: in which risks are added up.
    """
    found = _at_errors(ranking, own, above)
    # NumPy's arrays in the place of JAX's, from here on.
    sums: Any = {name: (value, np.zeros_like(value)) for name, value in _sums(ranking, above, found, kind).items()}
    at_coverage: Any = _at_coverage(ranking, above, found.errors, points.coverage)
    at_tpr: Any = tuple(_at_tpr(found, level) for level in points.tpr)
    at_risk: Any = tuple(_at_risk(found, level) for level in points.risk)
    all_correct: Any = found.all_correct[:, 0]
    return Found(sums, at_tpr, at_coverage, at_risk), Counts(all_correct + found.all_errors[:, 0], all_correct)


def _columns(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    # Several times as fast as rows[:, at].
    return np.take(rows, at, axis=1, mode='clip')


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # Not BLAS, whose own threads would get in the way of ours.
    return np.einsum('bi,bi->b', a, b)


def _at_errors(ranking: Ranking, own: np.ndarray, above: np.ndarray) -> _AtErrors:
    errors = np.cumsum(own, axis=1)
    before = errors - own
    correct_before = _columns(above, np.maximum(ranking.at - 1, 0)) - before
    correct_before[:, ranking.at == 0] = 0
    all_errors = errors[:, -1:] if errors.shape[1] else np.zeros((len(own), 1))
    correct = _columns(above, ranking.at) - errors
    return _AtErrors(own, errors, correct, before, correct_before, all_errors, above[:, -1:] - all_errors)


def _sums(ranking: Ranking, above: np.ndarray, found: _AtErrors, kind: type[np.floating]) -> dict[str, np.ndarray]:
    """Return the sums that walk.py defines, term by term, in another order of summation."""
    all_errors, all_correct = found.all_errors[:, 0], found.all_correct[:, 0]
    auroc = _dot(found.own, found.correct + found.correct_before)
    below = found.all_errors - found.errors_before
    units_below = np.maximum(below + found.all_correct - found.correct_before, 1)
    of_risk, of_risk_before = _risk_sums(ranking, above, found.errors, kind)
    at_errors = _dot(found.own, found.errors / np.maximum(found.errors + found.correct, 1))
    return {
        'auroc': auroc,
        # Sum of own correct units times (1 - risk).
        'aupr_success': all_correct - of_risk + at_errors,
        'aupr_error': _dot(found.own, below / units_below),
        'aurc': of_risk + of_risk_before,
        # Sum over correct units of the errors above them, and of errors over themselves: by parts.
        'augrc': all_errors**2 + 2 * all_correct * all_errors - auroc,
    }


def _risk_sums(
    ranking: Ranking, above: np.ndarray, errors: np.ndarray, kind: type[np.floating]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums over thresholds of own units times the risk there, and times the risk one before: [B] each."""
    num_rows, num_thresholds = above.shape
    # Errors above each threshold: constant from one confidence of errors to the next.
    levels = np.concatenate([np.zeros((num_rows, 1), kind), errors.astype(kind)], axis=1)
    here, before = np.zeros(num_rows), np.zeros(num_rows)
    # Nothing is wrong, and no risk anywhere, before the first error.
    for start, stop, first, lengths in ranking.pieces:
        units = np.empty((num_rows, stop - start + 2), kind)
        units[:, 1:-1] = above[:, start:stop]
        units[:, 0] = above[:, start - 1] if start else 0
        units[:, -1] = above[:, min(stop, num_thresholds - 1)]
        own = units[:, 1:] - units[:, :-1]
        risk = np.repeat(levels[:, first : first + len(lengths)], lengths, axis=1)
        if not units[:, 1].all():
            # Where nothing lies above, nothing is wrong either.
            np.maximum(units, 1, out=units)
        risk /= units[:, 1:-1]
        here += _dot(own[:, :-1], risk)
        before += _dot(own[:, 1:], risk)
    # The first risk is carried to coverage 0; all units there are its own, so it brings its errors.
    for row in range(num_rows):
        first = above[row].searchsorted(np.int32(1))
        before[row] += levels[row, ranking.at.searchsorted(first, side='right')]
    return here, before


def _at_tpr(found: _AtErrors, level: float) -> np.ndarray:
    """Return the errors above the first threshold with enough correct units."""
    errors = found.all_errors[:, 0].copy()
    all_correct: Any = found.all_correct[:, 0]
    enough = np.asarray(at_least(level, all_correct))
    for row, wanted in enumerate(enough):
        # The first confidence of errors with enough; beyond the last, all errors lie above.
        g = found.correct[row].searchsorted(wanted)
        if g < found.correct.shape[1]:
            is_before = found.correct_before[row, g] >= wanted
            errors[row] = (found.errors_before if is_before else found.errors)[row, g]
    return errors


def _at_coverage(
    ranking: Ranking, above: np.ndarray, errors: np.ndarray, levels: Sequence[float]
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Return, for each level, the units and the errors above the first threshold with enough units."""
    found = []
    row = np.arange(len(above))
    with_none = np.concatenate([np.zeros((len(above), 1)), errors], axis=1)
    for level in levels:
        all_units: Any = above[:, -1]
        enough = np.asarray(at_least(level, all_units))
        place = np.array([units.searchsorted(wanted) for units, wanted in zip(above, enough, strict=True)])
        groups = ranking.at.searchsorted(place, side='right')
        found.append((above[row, place].astype(np.float64), with_none[row, groups]))
    return tuple(found)


def _at_risk(found: _AtErrors, level: float) -> np.ndarray:
    """Return the most units above a threshold at which the risk is no higher: just before an error, or at the end."""
    top, bottom = fraction_of(level)
    # errors / (errors + correct) <= top / bottom, without rounding.
    good = found.errors_before * (bottom - top) <= found.correct_before * top
    most = np.where(good, found.errors_before + found.correct_before, 0).max(axis=1, initial=0)
    is_good = found.all_errors * (bottom - top) <= found.all_correct * top
    return np.where(is_good, found.all_errors + found.all_correct, most[:, None])[:, 0]
