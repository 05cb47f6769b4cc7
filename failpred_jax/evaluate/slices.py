"""The same figures for parts of the units, by columns that came with them; and for all units, as they are weighted.

Each slice is measured for itself: its units, or its groups, are resampled within it, and its intervals are not
corrected for the number of slices that are looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from failpred_jax.config import EvaluateConfig
from failpred_jax.errors import UserError, nearest
from failpred_jax.evaluate.resampling import group_of
from failpred_jax.evaluate.tally import RESAMPLES_SEED
from failpred_jax.metrics import bootstrap_pieces, intervals, is_graded, main_columns, values_of_units
from failpred_jax.metrics.weighted import in_range
from failpred_jax.metrics.working_points import binomial_interval
from failpred_jax.results import Interval, Measures, Predictions, Slice, SliceScore
from failpred_jax.slicing.values import edges_of, in_words, quantities

# Fewer errors, or correct predictions, say nothing of how well they can be told apart.
FEWEST = 5
NUM_BINS = 5
# Whole numbers with more distinct values than this are cut into bins.
MOST_VALUES = 12
MOST_SLICES = 50
NUM_LEVELS = 256
WEIGHT = 'weight'


class _Cut(NamedTuple):
    name: str
    mask: np.ndarray


def with_slices(
    measures: Measures, test: Predictions, slice_by: Sequence[str], options: EvaluateConfig, no_intervals: str = ''
) -> Measures:
    """Return the figures with those of every slice, and of the weighted units where there are weights.

    Args:
      measures: what was measured of all units.
      test: the evaluated units, with their columns.
      slice_by: names of columns.
      options: of the evaluation.
      no_intervals: why there are none; '' if there are.
    """
    usable = [name for name, score in measures.scores.items() if not score.is_bound and name in test.confidences]
    num_resamples = 0 if no_intervals else options.resamples
    found, notes = [], list(measures.notes)
    if test.about.weight is not None:
        found.append(_measured(WEIGHT, _Cut('all units, weighted', _all(test)), test, usable, num_resamples, options))
        notes.append(
            "the main figures count every unit once; with 'weight', the accuracy is "
            f'{found[0].accuracy:.2%}, and the scores are in the table of slices'
        )
    for by in slice_by:
        cuts, left = cut(test.about.columns[by])
        if left:
            notes.append(f"'{by}' has {left + len(cuts):,} values: the {len(cuts)} with most units are reported")
        found += [_measured(by, one, test, usable, num_resamples, options) for one in cuts]
    return replace(measures, slices=tuple(found), notes=tuple(notes))


def check_columns(columns: Mapping[str, np.ndarray], slice_by: Sequence[str]) -> None:
    """Raise UserError for a name that is no column, or is there twice."""
    there = list(columns)
    for number, name in enumerate(slice_by):
        if name not in there:
            raise UserError(
                f"slice_by names '{name}', but the predictions have no such column (further columns: "
                f'{", ".join(there) or "none"}){nearest(name, there)}'
            )
        if name in slice_by[:number]:
            raise UserError(f"slice_by names '{name}' twice")


def cut(values: np.ndarray) -> tuple[list[_Cut], int]:
    """Return the slices of a column [N], and how many values with fewer units are left out.

    Words, truth values and whole numbers of few distinct values are a slice each; other numbers are cut into bins of
    about equally many units. What is missing (NaN, an empty word) is a slice of its own.
    """
    values = quantities(values, MOST_VALUES)
    if values.dtype.kind in 'SU':
        words = np.char.decode(values, 'utf-8', 'replace') if values.dtype.kind == 'S' else values
        distinct, place, count = np.unique(words, return_inverse=True, return_counts=True)
        names = [str(name) or '(empty)' for name in distinct.tolist()]
    elif values.dtype.kind == 'b' or (values.dtype.kind in 'iuf' and _is_discrete(values)):
        distinct, place, count = np.unique(values, return_inverse=True, return_counts=True)
        names = [name or '(missing)' for name in in_words(distinct)]
    elif values.dtype.kind in 'iuf':
        return _bins(values), 0
    else:
        raise UserError(f'a column to slice by has type {values.dtype}; it must hold words, numbers or truth values')
    kept = np.sort(np.argsort(-count, kind='stable')[:MOST_SLICES])
    place = place.reshape(-1)
    return [_Cut(names[i], place == i) for i in kept], len(names) - len(kept)


def _is_discrete(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)] if values.dtype.kind == 'f' else values
    return bool((finite == np.round(finite)).all()) and len(np.unique(finite)) <= MOST_VALUES


def _bins(values: np.ndarray) -> list[_Cut]:
    missing = np.isnan(values) if values.dtype.kind == 'f' else np.zeros(len(values), bool)
    edges = edges_of(values[~missing], NUM_BINS)
    place = np.where(missing, -1, np.searchsorted(edges, values, side='left'))
    inside = [values[place == number] for number in np.unique(place[~missing])]
    # All at once, so that as many digits are shown as tell them apart.
    ends = iter(in_words(np.array([end for bin_ in inside for end in (bin_.min(), bin_.max())])))
    cuts = []
    for number, low in zip(np.unique(place[~missing]), ends, strict=False):
        high = next(ends)
        cuts.append(_Cut(low if low == high else f'{low} to {high}', place == number))
    return cuts + ([_Cut('(missing)', missing)] if missing.any() else [])


def _all(test: Predictions) -> np.ndarray:
    return np.ones(len(test.correct), bool)


def _measured(
    by: str, one: _Cut, test: Predictions, usable: Sequence[str], num_resamples: int, options: EvaluateConfig
) -> Slice:
    correct, graded = test.correct[one.mask], is_graded(test.correct)
    group = group_of(test.about)
    group = None if group is None else group[one.mask]
    weight = in_range(test.about.weight) if by == WEIGHT and test.about.weight is not None else None
    grade = correct.astype(np.float64)
    num_errors = 0 if graded else int(np.count_nonzero(grade == 0))
    found = Slice(
        by,
        one.name,
        len(correct),
        0 if group is None else len(np.unique(group)),
        num_errors,
        float(np.average(grade, weights=weight)),
    )
    confidences = {name: np.asarray(test.confidences[name])[one.mask] for name in usable}
    columns = [metric.name for metric in main_columns()]
    reason = _too_few(found, graded)
    if reason:
        confidences = dict(list(confidences.items())[:1])
    scores: dict[str, SliceScore] = {}
    ends, no_intervals = {}, ''
    if num_resamples:
        try:
            drawn = bootstrap_pieces(
                confidences,
                # Whether units are graded is a matter of all of them.
                grade if graded else correct,
                group,
                weight,
                num_resamples=num_resamples,
                seed=RESAMPLES_SEED,
                num_levels=NUM_LEVELS,
            )
            ends = intervals(drawn, options.interval)
        except UserError as error:
            no_intervals = f'no intervals: {error}'
    for name, confidence in {} if reason else confidences.items():
        values = values_of_units(confidence, correct, weight)
        shown = {metric: values[metric] for metric in columns if metric in values}
        of_score = {m: Interval(*e) for m, e in ends.get(name, {}).items() if m in shown and not np.isnan(e).any()}
        scores[name] = SliceScore(shown, of_score)
    accuracy = _accuracy_interval(found, ends, group is None and weight is None and not graded, options.interval)
    if not options.resamples or not num_resamples:
        accuracy = Interval(np.nan, np.nan)
    return replace(found, scores=scores, accuracy_interval=accuracy, unavailable=reason or no_intervals)


def _accuracy_interval(found: Slice, ends: dict, is_plain: bool, level: float) -> Interval:
    if is_plain:
        return Interval(*binomial_interval(found.num_units - found.num_errors, found.num_units, level))
    of_score = next(iter(ends.values()), {})
    return Interval(*of_score.get('accuracy', (np.nan, np.nan)))


def _too_few(found: Slice, graded: bool) -> str:
    """Return why a slice is too small for its scores to be judged, or ''."""
    counts: Iterator[tuple[int, str]] = iter(
        [(found.num_units, 'units')]
        if graded
        else [(found.num_errors, 'errors'), (found.num_units - found.num_errors, 'correct predictions')]
    )
    few = [f'{number} {noun}' for number, noun in counts if number < FEWEST]
    if found.num_groups and found.num_groups < FEWEST:
        few.append(f'{found.num_groups} groups')
    return f'too few to judge scores: {" and ".join(few)} (fewer than {FEWEST})' if few else ''
