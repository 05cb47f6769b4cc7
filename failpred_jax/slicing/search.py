"""Slices in which a model errs more often: searched on one half of the units, tested on the other.

Candidates are single conditions (a value of a column, a range of its quantiles, the class predicted, a cluster of
features), pairs of them, and cluster x class x confidence. A level of confidence alone is none, since errors are
expected where it is low; with another condition, a slice is compared with all units of that level. The best few of the
search, which do not repeat one another, go to the test: exact binomial tests on the other half, corrected by Holm's
method.

Reference: Chung et al., "Slice Finder", ICDE 2019; Eyuboglu et al., "Domino", ICLR 2022; the test on other units is
  ours.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from failpred_jax.console import phase
from failpred_jax.decide.binomial import share_interval
from failpred_jax.errors import UserError
from failpred_jax.results.failing import FoundSlice
from failpred_jax.results.measures import Interval
from failpred_jax.slicing.clusters import fit_clusters
from failpred_jax.slicing.conditions import CLUSTER, CONFIDENCE, PREDICTED, Condition, conditions_of
from failpred_jax.slicing.testing import holm, more_than
from failpred_jax.slicing.units import SliceUnits, halves, one_of_each

# Slices of fewer units of the searched half are not looked at.
FEWEST_UNITS, FEWEST_ERRORS = 15, 3
# So many go to the test at most, and only those that stand out this far on the searched half.
MOST_TESTED, STANDS_OUT = 20, 0.01
# A part of a slice that is to be told apart from it stands out from it this far.
REFINES = 0.001
MOST_SEARCHED = 200_000
# Of the candidates, so many of the best are looked at for what they share.
MOST_COMPARED = 500


class Candidate(NamedTuple):
    """A slice as the search sees it.

    Attributes:
      parts: its conditions.
      units, errors: of the searched half.
      baseline: the rate that it is compared with.
      p_value: on the searched half, where it was chosen: no test.
    """

    parts: tuple[Condition, ...]
    units: int
    errors: int
    baseline: float
    p_value: float

    @property
    def name(self) -> str:
        return ' and '.join(part.name for part in self.parts)

    @property
    def mask(self) -> np.ndarray:
        return np.logical_and.reduce([part.mask for part in self.parts])


class Search(NamedTuple):
    """What was found.

    Attributes:
      slices: those that were tested, confirmed ones first, each with its mask over all units.
      searched: [N] bool, the half that was searched.
      rate: error rate of the testing half.
      tried: candidates that the search looked at.
      distance: [N] float64 to the center of a unit's cluster, or None.
      columns: that were searched.
      unit: what was tested, 'units' or 'groups'.
      notes: sentences.
    """

    slices: list[tuple[FoundSlice, np.ndarray]]
    searched: np.ndarray
    rate: float
    tried: int
    distance: np.ndarray | None
    columns: tuple[str, ...]
    unit: str
    notes: tuple[str, ...] = ()


def find_failing(units: SliceUnits, columns: Sequence[str] | None = None, seed: int = 0, alpha: float = 0.05) -> Search:
    """Return slices with a higher error rate than all units have.

    Args:
      units: N units, of which it is known which are wrong.
      columns: names of the columns to search; None for all.
      seed: of the halves and the clusters.
      alpha: with at most this probability, any slice is confirmed that errs no more than the rest.

    Raises:
      UserError: there are too few units or errors, one group only, or no such column.
    """
    if units.wrong is None:
        raise UserError('slices of errors need to know which units are wrong')
    wrong = np.asarray(units.wrong, bool)
    searched = halves(units, seed)
    counted = [int(wrong[searched].sum()), int(wrong[~searched].sum())]
    if min(counted) < FEWEST_ERRORS:
        raise UserError(
            f'there are {sum(counted):,} errors among {len(wrong):,} units: too few to search one half and test on the '
            'other'
        )
    notes = []
    cluster = distance = None
    if units.features is not None:
        cluster, distance = fit_clusters(units.features, seed).of(units.features)
    conditions = conditions_of(units, cluster, columns)
    if not conditions:
        raise UserError("there is nothing to make slices of: add columns, 'features', or outputs")
    rows = np.flatnonzero(searched)
    if len(rows) > MOST_SEARCHED:
        rows = np.sort(np.random.default_rng([seed, 1]).choice(rows, MOST_SEARCHED, replace=False))
        notes.append(f'searched on {MOST_SEARCHED:,} units, drawn at random from that half')
    with phase('searching for slices'):
        found = list(_candidates(conditions, wrong, rows))
        chosen = _distinct([one for one in found if one.p_value <= STANDS_OUT], wrong, rows)
    is_single = units.group is None or len(np.unique(units.group)) == len(wrong)
    if units.group is not None and is_single:
        notes.append('every group has one unit, so groups change nothing')
    slices, rate = _tested(chosen, units, wrong, ~searched, seed, alpha)
    names = tuple(dict.fromkeys(one.column for one in conditions))
    return Search(slices, searched, rate, len(found), distance, names, 'units' if is_single else 'groups', tuple(notes))


def _candidates(conditions: Sequence[Condition], wrong: np.ndarray, rows: np.ndarray) -> Iterator[Candidate]:
    """Yield every candidate with enough units and errors in the searched half."""
    masks = np.stack([one.mask[rows] for one in conditions], axis=1).astype(np.float32)
    errors = wrong[rows]
    # One product counts the units of all pairs, another one their errors.
    together = np.rint(masks.T @ masks).astype(np.int64)
    wrong_together = np.rint(masks[errors].T @ masks[errors]).astype(np.int64)
    rates = np.diag(wrong_together) / np.maximum(np.diag(together), 1)
    overall = float(errors.mean())

    def made(places: tuple[int, ...], count: int, bad: int) -> Candidate | None:
        level = next((i for i in places if conditions[i].column == CONFIDENCE), None)
        baseline = overall if level is None else float(rates[level])
        if count < FEWEST_UNITS or bad < FEWEST_ERRORS or bad / count <= baseline or baseline in (0.0, 1.0):
            return None
        p_value = float(more_than(bad, count, baseline))
        if len(places) > 1:
            # A pair says more than its parts only if it is worse than each of them.
            worst = max(float(rates[i]) for i in places)
            p_value = max(p_value, float(more_than(bad, count, min(worst, 1 - 1e-9))) if worst > baseline else 0)
        return Candidate(tuple(conditions[i] for i in places), count, bad, baseline, p_value)

    for i, one in enumerate(conditions):
        if one.column != CONFIDENCE and (found := made((i,), int(together[i, i]), int(wrong_together[i, i]))):
            yield found
    for i, j in itertools.combinations(range(len(conditions)), 2):
        if conditions[i].column == conditions[j].column:
            continue
        if found := made((i, j), int(together[i, j]), int(wrong_together[i, j])):
            yield found
    kinds = [[i for i, one in enumerate(conditions) if one.column == name] for name in (CLUSTER, PREDICTED, CONFIDENCE)]
    for places in itertools.product(*kinds):
        if together[places[0], places[1]] < FEWEST_UNITS:
            continue
        inside = np.logical_and.reduce([conditions[i].mask[rows] for i in places])
        if found := made(places, int(inside.sum()), int((inside & errors).sum())):
            yield found


def _distinct(found: Sequence[Candidate], wrong: np.ndarray, rows: np.ndarray) -> list[Candidate]:
    """Return the best candidates that do not repeat one another.

    One is left out if it stands out through units of better ones alone, unless it stands out within one of these.
    """
    errors, covered = wrong[rows], np.zeros(len(rows), bool)
    chosen: list[tuple[Candidate, np.ndarray]] = []
    for one in sorted(found, key=lambda one: (one.p_value, len(one.parts), -one.units))[:MOST_COMPARED]:
        mask = one.mask[rows]
        left = mask & ~covered
        is_new = left.sum() >= FEWEST_UNITS and more_than(
            int((left & errors).sum()), int(left.sum()), one.baseline
        ) <= (STANDS_OUT)
        within = [c for c, other in chosen if (mask & other).sum() >= 0.9 * mask.sum()]
        refines = bool(within) and all(
            more_than(one.errors, one.units, min(c.errors / c.units, 1 - 1e-9)) <= REFINES for c in within
        )
        if is_new or refines:
            chosen.append((one, mask))
            covered |= mask
        if len(chosen) == MOST_TESTED:
            break
    return [one for one, _ in chosen]


def _tested(
    chosen: Sequence[Candidate], units: SliceUnits, wrong: np.ndarray, testing: np.ndarray, seed: int, alpha: float
) -> tuple[list[tuple[FoundSlice, np.ndarray]], float]:
    """Return the slices with what the testing half says of each, and the error rate of that half."""
    members = units.members

    def counted(inside: np.ndarray) -> tuple[int, int]:
        inside = inside & testing
        if units.group is not None:
            inside = one_of_each(members, inside, seed)
        return int(inside.sum()), int((inside & wrong).sum())

    count, bad = counted(np.ones(len(wrong), bool))
    overall, rows = bad / count, []
    for one in chosen:
        level = next((part for part in one.parts if part.column == CONFIDENCE), None)
        baseline = overall
        if level is not None:
            of_level, bad_of_level = counted(level.mask)
            baseline = bad_of_level / max(of_level, 1)
        num, errors = counted(one.mask)
        p_value = 1.0 if not num or not 0 < baseline < 1 else float(more_than(errors, num, baseline))
        rows.append((one, num, errors, baseline, p_value))
    adjusted = holm(np.array([row[-1] for row in rows])) if rows else np.zeros(0)
    found = [
        (
            FoundSlice(
                name=one.name,
                units=num,
                errors=errors,
                rate=errors / num if num else np.nan,
                interval=Interval(*share_interval(errors, num)),
                baseline=baseline,
                lift=errors / num / baseline if num and baseline else np.nan,
                p_value=p_value,
                p_adjusted=float(p_adjusted),
                is_confirmed=bool(p_adjusted <= alpha),
                found_units=one.units,
                found_rate=one.errors / one.units,
            ),
            one.mask,
        )
        for (one, num, errors, baseline, p_value), p_adjusted in zip(rows, adjusted, strict=True)
    ]
    return sorted(found, key=lambda pair: (not pair[0].is_confirmed, pair[0].p_adjusted, pair[0].p_value)), overall
