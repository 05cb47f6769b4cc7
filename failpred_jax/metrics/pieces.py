"""Bootstrap of units that belong together, have weights, or are graded: whole pieces are drawn, each with its units.

A piece is what is independent of the others: a patient with several images, a prompt with several answers, or a single
unit. Each score's units are summed at a few hundred levels of confidence, as those of pixels are (clusters.py); the
sums of a resample are then one sparse product, whose cost is the number of units.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse

from failpred_jax.errors import UserError
from failpred_jax.metrics.resampling import NUM_PLACES, Resamples, with_one_more
from failpred_jax.metrics.walk import STANDARD, Points
from failpred_jax.metrics.weighted import (
    best_graded_aurc,
    falling_levels,
    graded_names,
    in_range,
    is_graded,
    values_of_units,
    weighted_values,
)

NUM_LEVELS = 512
# Numbers that are drawn at once: 64 MB.
_BLOCK = 1 << 23


class _Draw(NamedTuple):
    """What is drawn.

    Attributes:
      piece: [N'] int64, the piece of each unit, those of the one more unit last.
      num_pieces: of the data; those of the one more unit follow.
      num_places: pieces that stand for one more unit together; 0 for none.
    """

    piece: np.ndarray
    num_pieces: int
    num_places: int


def bootstrap_pieces(
    confidences: Mapping[str, np.ndarray],
    correct: np.ndarray,
    group: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    points: Points = STANDARD,
    num_levels: int = NUM_LEVELS,
) -> Resamples:
    """Compute every failure and selective metric of several scores on the same resamples of pieces.

    Args:
      confidences: score name -> [N] of any real type, higher means more confident.
      correct: [N] bool, or float grades in [0, 1].
      group: [N] int, equal for units that are drawn together; None where each unit is a piece of its own.
      weight: [N] float64 >= 0, what a unit counts; None for 1 each.
      num_resamples: R.
      seed: the same one gives the same resamples, whatever the scores are.
      points: operating points.
      num_levels: most levels of confidence; the resamples are moved by what these change on the data themselves.

    Returns:
      Resamples. Without group, weight and grades they are those of `bootstrap` (N units and one more), and their
      support is the rarer kind; else whole pieces are drawn, and it is their number, or with weights the number of
      equal ones that would be as good.

    Raises:
      UserError: there are fewer than two pieces, or a confidence is NaN.

    Reference: Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8 (clusters); Kish, Survey
      Sampling, 1965, section 11.7 (the effective number).
    """
    correct, weight = np.asarray(correct), None if weight is None else in_range(weight)
    grade, graded = correct.astype(np.float64), is_graded(correct)
    is_plain = group is None and weight is None and not graded
    piece = np.arange(len(grade)) if group is None else np.unique(group, return_inverse=True)[1].reshape(-1)
    num_pieces = int(piece.max(initial=-1)) + 1
    if num_pieces < 2:
        what = 'unit' if group is None else 'group'
        raise UserError(f'there is {num_pieces} {what} to resample; intervals need 2 or more')
    places = NUM_PLACES if is_plain else 0
    draw = _Draw(np.append(piece, num_pieces + np.arange(places)), num_pieces, places)
    exact = [values_of_units(values, correct, weight, points) for values in confidences.values()]
    metrics = tuple(exact[0])
    rows = [_sums_by_level(values, correct, weight, draw, num_levels) for values in confidences.values()]
    by_grade = _sums_by_grade(grade, weight, piece, num_pieces, num_levels) if graded else None
    samples = np.empty((len(metrics), len(rows), num_resamples), np.float32)
    for first, drawn in _weights(draw, num_resamples, seed):
        best = None if by_grade is None else _best(by_grade, drawn)
        for s, matrix in enumerate(rows):
            found = _values(matrix, drawn, best, points)
            # The first column is the data themselves.
            for m, name in enumerate(metrics):
                moved = np.nan_to_num(exact[s][name] - found[name][0])
                samples[m, s, first : first + drawn.shape[1] - 1] = found[name][1:] + moved
    point = np.array([[of_score[name] for of_score in exact] for name in metrics])
    support, pieces = _support(grade, piece, num_pieces, group is not None, weight, graded)
    return Resamples(tuple(confidences), metrics, point, samples, support, not is_plain, pieces)


def _support(
    grade: np.ndarray, piece: np.ndarray, num_pieces: int, has_groups: bool, weight: np.ndarray | None, graded: bool
) -> tuple[int, str]:
    """Return what the figures rest on, and what it counts."""
    if has_groups:
        of_piece = np.bincount(piece, weight, num_pieces) if weight is not None else np.ones(num_pieces)
        return int(_effective(of_piece)), 'groups'
    weight = np.ones(len(grade)) if weight is None else weight
    if graded:
        return int(_effective(weight)), 'units'
    return int(min(_effective(weight * (grade == kind)) for kind in (0, 1))), 'units'


def _effective(weight: np.ndarray) -> float:
    """Return how many equal weights are worth as much as these."""
    square = float((weight**2).sum())
    return float(weight.sum()) ** 2 / square + 1e-9 if square else 0.0


def coarse_levels(confidence: np.ndarray, loss: np.ndarray, num_levels: int) -> tuple[np.ndarray, int]:
    """Return the level [N] of each unit, falling with confidence from 0, and how many levels there are.

    Where there are more distinct confidences than levels, half of the levels hold equally many units each, and half
    equally much of what is wrong.
    """
    level, count = falling_levels(confidence)
    if count <= num_levels:
        return level, count
    cuts: list[np.ndarray] = [np.zeros(1, np.int64)]
    for mass in (np.bincount(level, minlength=count).astype(np.float64), np.bincount(level, loss, count)):
        cumulative = np.cumsum(mass)
        targets = np.linspace(0, cumulative[-1], num_levels // 2 + 1)[1:-1]
        cuts.append(np.searchsorted(cumulative, targets, side='left') + 1)
    edges = np.unique(np.concatenate(cuts))
    edges = edges[edges < count]
    return np.searchsorted(edges, level, side='right') - 1, len(edges)


def _sums_by_level(
    confidence: np.ndarray, correct: np.ndarray, weight: np.ndarray | None, draw: _Draw, num_levels: int
) -> sparse.csr_matrix:
    """Return [2 L, pieces]: what each piece adds to the right of each level, then to the wrong."""
    confidence = np.asarray(confidence)
    if draw.num_places:
        confidence, correct = with_one_more(confidence, correct.astype(bool), draw.num_places)
    grade = correct.astype(np.float64)
    worth = np.ones(len(grade)) if weight is None else weight
    level, count = coarse_levels(confidence, worth * (1 - grade), num_levels)
    return _sparse(
        np.concatenate([level, count + level]),
        np.concatenate([draw.piece, draw.piece]),
        np.concatenate([worth * grade, worth * (1 - grade)]),
        (2 * count, draw.num_pieces + draw.num_places),
    )


def _sums_by_grade(
    grade: np.ndarray, weight: np.ndarray | None, piece: np.ndarray, num_pieces: int, num_levels: int
) -> sparse.csr_matrix:
    """Return [2 L, pieces]: what each piece weighs at each level of falling grade, then what is wrong of it."""
    worth = np.ones(len(grade)) if weight is None else weight
    level, count = coarse_levels(grade, worth * (1 - grade), num_levels)
    rows, columns = np.concatenate([level, count + level]), np.concatenate([piece, piece])
    return _sparse(rows, columns, np.concatenate([worth, worth * (1 - grade)]), (2 * count, num_pieces))


def _sparse(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    there = values != 0
    return sparse.csr_matrix((values[there], (rows[there], columns[there])), shape=shape)


def drawn_pieces(num_pieces: int, num_resamples: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of the first resample, [G, 1 + B] how often each piece is in each); the first column is the data.

    Args:
      num_pieces: G.
      num_resamples: R, in blocks of B.
      seed: of the draws; the same one gives those of `bootstrap_pieces`.
    """
    yield from _weights(_Draw(np.zeros(0, np.int64), num_pieces, 0), num_resamples, seed)


def _weights(draw: _Draw, num_resamples: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of the first resample, how often each piece is in each: [pieces, 1 + B]); the first is the data."""
    rng = np.random.default_rng(seed)
    width = draw.num_pieces + draw.num_places
    size = max(1, min(num_resamples, _BLOCK // width))
    data = np.append(np.ones(draw.num_pieces), np.zeros(draw.num_places))
    # A piece of the data holds K tickets, and each place of the one more unit holds one.
    tickets, num_draws = max(draw.num_places, 1), draw.num_pieces + (draw.num_places > 0)
    for first in range(0, num_resamples, size):
        columns = [data]
        for _ in range(min(size, num_resamples - first)):
            ticket = rng.integers(0, tickets * num_draws, num_draws)
            at = np.where(
                ticket < tickets * draw.num_pieces, ticket // tickets, ticket - (tickets - 1) * draw.num_pieces
            )
            columns.append(np.bincount(at, minlength=width).astype(np.float64))
        yield first, np.stack(columns, axis=1)


def _values(
    matrix: sparse.csr_matrix, drawn: np.ndarray, best: np.ndarray | None, points: Points
) -> dict[str, np.ndarray]:
    sums = np.asarray(matrix @ drawn)
    half = len(sums) // 2
    found = weighted_values(sums[:half].T, sums[half:].T, points)
    if best is None:
        return found
    found['e_aurc'] = found['aurc'] - best
    return {name: found[name] for name in graded_names(points)}


def _best(by_grade: sparse.csr_matrix, drawn: np.ndarray) -> np.ndarray:
    """Return the AURC of the best order in each resample."""
    sums = np.asarray(by_grade @ drawn)
    weight, lost = sums[: len(sums) // 2].T, sums[len(sums) // 2 :].T
    return best_graded_aurc(weight, np.divide(lost, weight, out=np.zeros(weight.shape), where=weight > 0))
