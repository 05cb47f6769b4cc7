"""What scores are worth where inputs are shifted: errors, strangers and both at once, by one exact evaluator.

A unit is to be accepted or rejected, and what is to be rejected differs by setting:

  errors      the units of a labeled shift alone: the errors
  strangers   the test set and strangers, half and half: the strangers (errors of the classifier count as accepted)
  joint_10,   the test set and shifted units, which make 10 or 50 %: the errors and the strangers; a corrupted image
  joint_50    that is classified right is right

Shares are made by weights, not by leaving units out, so that every unit counts and the values are exact (weighted.py).
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import sparse

from failpred_jax.calibrate.selective import threshold_at_coverage
from failpred_jax.evaluate.resampling import group_of
from failpred_jax.evaluate.shift_severity import Judge, measured_severity, split_severities
from failpred_jax.evaluate.tally import RESAMPLES_SEED
from failpred_jax.metrics import graded_names, is_graded
from failpred_jax.metrics.walk import Points
from failpred_jax.metrics.weighted import falling_levels, weighted_values
from failpred_jax.registry import SCORES
from failpred_jax.results import Interval, Predictions
from failpred_jax.results.shifted import Shifted, ShiftedSet, ShiftValues

# Of the operating points, those of METRICS.
POINTS = Points(tpr=(0.95,), coverage=(0.8,), risk=())
METRICS = ('auroc', 'fpr_at_95tpr', 'aupr_success', 'aupr_error', 'aurc', 'augrc', 'risk_at_80coverage')
SHARES = {'joint_10': 0.1, 'joint_50': 0.5}
# Of unshifted units, by which the threshold is chosen that accepted shares belong to.
COVERAGE = 0.95
# Intervals come from levels of about equal weight; the value itself is exact.
NUM_LEVELS = 256
# Whole numbers up to here are exact in float32.
MAX_FLOAT32 = 2**24
MAX_RESAMPLES = 300


@dataclass(frozen=True)
class ShiftUnits:
    """A shifted set on its way to be measured.

    Attributes:
      name: as it was asked for.
      predictions: its units; of strangers `correct` is False throughout, and labels mean nothing.
      is_strangers: whether the units are of no class.
      description: what it is.
      severity: [N] int of a corruption, or None.
      number: [N] int, the image that each unit was made of, or None where each is one of its own.
      unavailable: score -> why it has no values here.
      key: digest of all that decides the figures, or ''.
    """

    name: str
    predictions: Predictions
    is_strangers: bool
    description: str = ''
    severity: np.ndarray | None = None
    number: np.ndarray | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)
    key: str = ''


class Evaluator:
    """Measures shifted sets against one test set, on the same resamples of it for all of them.

    Args:
      test: the unshifted units.
      validation: those by which thresholds are chosen; None takes the test units, which is said.
      reference: the score that the others are compared with; '' for none.
      judge: what the run's policy and prediction sets say of units.
      resamples: behind intervals, at most 300; 0 for none.
      interval: probability that an interval covers.
    """

    def __init__(
        self,
        test: Predictions,
        validation: Predictions | None,
        reference: str = '',
        judge: Judge | None = None,
        resamples: int = 1000,
        interval: float = 0.95,
    ):
        self.test, self.interval, self.resamples = test, interval, min(resamples, MAX_RESAMPLES)
        self.judge = judge or Judge()
        self.scores = [n for n in test.confidences if not (n in SCORES and SCORES[n].reads_label)]
        self.reference = reference if reference in self.scores else ''
        of = test if validation is None else validation
        self.threshold_from = 'test' if validation is None else 'validation'
        self.thresholds = {
            name: threshold_at_coverage((of if name in of.confidences else test).confidences[name], COVERAGE)
            for name in self.scores
        }
        self.correct = test.correct.astype(np.float64)
        self._counts = self._draw('', len(self.correct), group_of(test.about))

    def measured(self, units: ShiftUnits) -> ShiftedSet:
        """Return what every score is worth on a shifted set."""
        found = units.predictions
        names = [name for name in self.scores if name in found.confidences]
        group = group_of(found.about) if units.number is None else np.unique(units.number, return_inverse=True)[1]
        counts = self._draw(units.name, len(found.correct), group)
        correct = found.correct.astype(np.float64)
        drawn: dict[str, dict[str, dict[str, np.ndarray]]] = {}
        values = {}
        for name in [self.reference, *(n for n in names if n != self.reference)]:
            if name in names:
                values[name], drawn[name] = self._of_score(name, units, correct, counts)
        values = {name: self._with_differences(values[name], drawn, name) for name in names}
        accepted = {name: float(np.mean(found.confidences[name] > self.thresholds[name])) for name in names}
        return ShiftedSet(
            name=units.name,
            description=units.description,
            is_strangers=units.is_strangers,
            units=len(correct),
            num_images=len(correct) if group is None else int(group.max()) + 1,
            accuracy=np.nan if units.is_strangers else float(correct.mean()),
            scores=values,
            accepted=accepted,
            policy_accepted=self.judge.policy_share(found),
            severities=tuple(
                measured_severity(level, part, self.thresholds, self.judge, self.reference)
                for level, part in split_severities(found, units.severity)
            ),
            unavailable={name: 'it is not there for these units' for name in self.scores if name not in names}
            | dict(units.unavailable),
            key=units.key,
        )

    def summary(self, sets: Sequence[ShiftedSet], notes: Sequence[str] = ()) -> Shifted:
        """Return everything together, with the test set itself beside it."""
        errors = {}
        drawn: dict[str, dict[str, dict[str, np.ndarray]]] = {}
        for name in sorted(self.scores, key=lambda name: name != self.reference):
            errors[name], drawn[name] = self._alone(self.test.confidences[name], self.correct, self._counts)
        errors = {name: self._with_differences(errors[name], drawn, name)['errors'] for name in self.scores}
        test = measured_severity(0, self.test, self.thresholds, self.judge, self.reference)
        return Shifted(
            self.reference,
            self.interval,
            self.resamples,
            self.threshold_from,
            test,
            errors,
            tuple(sets),
            tuple(notes),
            self.judge.sets_are,
            self.judge.judged_by,
        )

    def _draw(self, name: str, num_units: int, group: np.ndarray | None) -> '_Draws':
        """Return how often each unit is drawn; units of one group are drawn together.

        By the name of the set, so that its intervals are the same whatever else is measured.
        """
        rng = np.random.default_rng([RESAMPLES_SEED, zlib.crc32(name.encode())])
        count = num_units if group is None else int(group.max()) + 1
        drawn = rng.multinomial(count, np.full(count, 1 / count), self.resamples).T.astype(np.float32)
        counts = np.ascontiguousarray(drawn if group is None else drawn[group])
        return _Draws(counts, counts.sum(axis=0, dtype=np.float64))

    def _of_score(
        self, name: str, units: ShiftUnits, correct: np.ndarray, counts: '_Draws'
    ) -> tuple[dict[str, ShiftValues], dict[str, dict[str, np.ndarray]]]:
        """Return (setting -> values, setting -> metric -> [B] on resamples) of one score."""
        own = units.predictions.confidences[name]
        values, drawn = ({}, {}) if units.is_strangers else self._alone(own, correct, counts)
        num_test = len(self.correct)
        level, num_levels = falling_levels(np.concatenate([self.test.confidences[name], own]))
        places = level[:num_test], level[num_test:]
        settings = {setting: (self.correct, share) for setting, share in SHARES.items()}
        if units.is_strangers:
            settings = {'strangers': (np.ones(num_test), 0.5), **settings}
        for setting, (right, share) in settings.items():
            parts = (_Part(places[0], right, self._counts, 1 - share), _Part(places[1], correct, counts, share))
            values[setting], drawn[setting] = self._mixed(parts, num_levels)
        return values, drawn

    def _alone(
        self, confidence: np.ndarray, correct: np.ndarray, counts: '_Draws'
    ) -> tuple[dict[str, ShiftValues], dict[str, dict[str, np.ndarray]]]:
        level, num_levels = falling_levels(confidence)
        found, drawn = self._mixed((_Part(level, correct, counts, 1.0),), num_levels)
        return {'errors': found}, {'errors': drawn}

    def _mixed(self, parts: Sequence['_Part'], num_levels: int) -> tuple[ShiftValues, dict[str, np.ndarray]]:
        """Return the values of a mixture, and those on resamples."""
        kept = set(graded_names()) if any(is_graded(part.right) for part in parts) else set(METRICS)
        names = [name for name in METRICS if name in kept]
        # Exact: every distinct confidence is a level of its own.
        right, wrong = (np.sum([part.sums(num_levels)[side] for part in parts], axis=0) for side in (0, 1))
        exact = weighted_values(right, wrong, POINTS)
        metrics = {name: float(exact[name]) for name in names}
        if not self.resamples:
            return ShiftValues(metrics), {}
        weight = np.cumsum(right + wrong)
        coarse = np.minimum((weight * NUM_LEVELS / weight[-1] - 1e-9).astype(int), NUM_LEVELS - 1)
        coarse = np.unique(coarse, return_inverse=True)[1]
        sides = [part.resampled(coarse) for part in parts]
        above, below = (np.sum([side[i] for side in sides], axis=0) for i in (0, 1))
        resampled = weighted_values(above, below, POINTS)
        above, below = (np.bincount(coarse, weight, coarse.max() + 1) for weight in (right, wrong))
        middle = weighted_values(above, below, POINTS)
        # What the levels lose is the same on every resample, and taken back.
        drawn = {name: resampled[name] + (metrics[name] - float(middle[name])) for name in names}
        return ShiftValues(metrics, {name: self._interval(drawn[name]) for name in names}), drawn

    def _with_differences(
        self,
        values: Mapping[str, ShiftValues],
        drawn: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]],
        name: str,
    ) -> dict[str, ShiftValues]:
        """Return the values of a score with the intervals of its differences from the reference."""
        if not self.reference or name == self.reference or self.reference not in drawn:
            return dict(values)
        found = {}
        for setting, of in values.items():
            own, other = drawn[name][setting], drawn[self.reference][setting]
            differences = {metric: self._interval(own[metric] - other[metric]) for metric in own}
            found[setting] = ShiftValues(of.metrics, of.intervals, differences)
        return found

    def _interval(self, drawn: np.ndarray) -> Interval:
        usable = drawn[~np.isnan(drawn)]
        if len(usable) < 0.9 * len(drawn):
            return Interval(np.nan, np.nan)
        low, high = np.quantile(usable, [(1 - self.interval) / 2, (1 + self.interval) / 2])
        return Interval(float(low), float(high))


class _Draws(NamedTuple):
    """Resamples of units.

    Attributes:
      counts: [N, B] float32, how often each unit is drawn.
      totals: [B] float64, how many are.
    """

    counts: np.ndarray
    totals: np.ndarray


@dataclass(frozen=True)
class _Part:
    """Units that make a share of a mixture.

    Attributes:
      place: [N] int, the level of each.
      right: [N] float64, 1 for what is to be accepted, 0 for what is to be rejected, or a grade.
      drawn: resamples of them.
      share: of the whole.
    """

    place: np.ndarray
    right: np.ndarray
    drawn: _Draws
    share: float

    def sums(self, num_levels: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight of what is right and of what is wrong at each level."""
        weight = self.share / len(self.right)
        right = np.bincount(self.place, weight * self.right, num_levels)
        return right, np.bincount(self.place, weight * (1 - self.right), num_levels)

    def resampled(self, coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the same at coarser levels, [B, L], on every resample."""
        num_levels, weight = int(coarse.max()) + 1, self.share / self.drawn.totals
        if not is_graded(self.right):
            # One side after the other in one matrix, and sums of whole numbers, which float32 holds exactly up to 2^24.
            rows = coarse[self.place] + num_levels * (self.right == 0)
            sums = self._summed(rows, 2 * num_levels, np.ones(len(rows), np.float32))
            sides = np.split(sums, 2)
        else:
            sides = [self._summed(coarse[self.place], num_levels, side) for side in (self.right, 1 - self.right)]
        right, wrong = ((side * weight).T for side in sides)
        return right, wrong

    def _summed(self, rows: np.ndarray, num_rows: int, values: np.ndarray) -> np.ndarray:
        """Return the sum of value x count over the units of each row, on every resample: [num_rows, B]."""
        exact = self.drawn.totals.max() < MAX_FLOAT32
        counts = self.drawn.counts if exact else self.drawn.counts.astype(np.float64)
        shape = (num_rows, len(rows))
        return sparse.csr_matrix((values, (rows, np.arange(len(rows)))), shape) @ counts
