"""What an evaluation measured: the typed content of metrics.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from failpred_jax.results.interval import Interval as Interval
from failpred_jax.results.operating import ClassFailures, WorkingPoint
from failpred_jax.results.slices import Slice


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix as its cells that are not zero: with many classes nearly all are zero.

    Attributes:
      num_classes: C.
      label: [M] int32, the true class of each cell.
      predicted: [M] int32, its predicted class.
      count: [M] int64, its units; greater than 0.
    """

    num_classes: int
    label: np.ndarray
    predicted: np.ndarray
    count: np.ndarray

    @classmethod
    def from_dense(cls, matrix: np.ndarray) -> 'Confusion':
        """Return the cells of a matrix [C, C], rows labels."""
        matrix = np.asarray(matrix)
        label, predicted = np.nonzero(matrix)
        cells = matrix[label, predicted].astype(np.int64)
        return cls(len(matrix), label.astype(np.int32), predicted.astype(np.int32), cells)

    @classmethod
    def from_classes(cls, labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> 'Confusion':
        """Return the cells of units with labels [N] and predicted classes [N], both in [0, C)."""
        flat = np.asarray(labels).astype(np.int64) * num_classes + np.asarray(predicted)
        cells, count = np.unique(flat, return_counts=True)
        label, column = np.divmod(cells, num_classes)
        return cls(num_classes, label.astype(np.int32), column.astype(np.int32), count.astype(np.int64))

    def dense(self) -> np.ndarray:
        """Return the matrix, [C, C] int64, rows labels."""
        matrix = np.zeros((self.num_classes, self.num_classes), np.int64)
        matrix[self.label, self.predicted] = self.count
        return matrix

    def marginals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return, for each class, the units that are right, that have the label, and that are predicted: [C] each."""
        on_diagonal = self.label == self.predicted
        pairs = (
            (self.label[on_diagonal], self.count[on_diagonal]),
            (self.label, self.count),
            (self.predicted, self.count),
        )
        right, occurs, chosen = (np.bincount(c, n, self.num_classes).astype(np.int64) for c, n in pairs)
        return right, occurs, chosen

    def top(self, most: int) -> list[tuple[int, int, int]]:
        """Return the largest cells off the diagonal as (label, predicted, count), largest first."""
        wrong = np.flatnonzero(self.label != self.predicted)
        order = wrong[np.argsort(-self.count[wrong], kind='stable')][:most]
        return [(int(self.label[i]), int(self.predicted[i]), int(self.count[i])) for i in order]


@dataclass(frozen=True)
class ClassifierResult:
    """How good the classifier itself is.

    Attributes:
      num_units: units measured.
      num_errors: of them, those predicted wrongly.
      metrics: metric -> value; NaN where undefined.
      per_class: metric -> [C] float64; NaN where undefined.
      confusion: None where nothing is known of it.
      intervals: metric -> interval, where one was measured.
      is_graded: whether units are right by a share, a grade in [0, 1]: the accuracy is then the mean grade, and there
        are no errors to count.
    """

    num_units: int = 0
    num_errors: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    per_class: Mapping[str, np.ndarray] = field(default_factory=dict)
    confusion: Confusion | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    is_graded: bool = False


@dataclass(frozen=True)
class CalibratedScore:
    """A score as P(correct), before and after calibration on validation units.

    Attributes:
      figures: 'before' (only of a score that is meant as a probability) and each method -> metric -> value.
      intervals: the same -> metric -> interval.
      chosen: the method that predicts validation units left out of its fit best, 'none' if that is to leave the score
        as it is, '' without validation units.
      unavailable: 'before', a method, or 'method.metric' -> why it is unavailable.
      notes: sentences for the reader.
    """

    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    chosen: str = ''
    unavailable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def after(self) -> str:
        """The key in `figures` of the chosen calibration; '' without one."""
        return 'before' if self.chosen == 'none' else self.chosen


@dataclass(frozen=True)
class ScoreResult:
    """How well one confidence score finds the errors.

    Attributes:
      metrics: metric -> value; NaN where undefined, with the reason in `Measures.undefined`.
      intervals: metric -> interval.
      no_interval: metric -> why it has no interval.
      limits: metric -> limits of what counts at levels cannot know (segmentation only).
      calibration: metric -> value, read as P(correct); empty where the score is no probability.
      notes: sentences that its fit left.
      role: 'baseline', 'learned', 'bound' (it reads the label, so it is no score that can be used), or ''.
      calibrated: the score as P(correct), before and after; None where that was not measured.
      working_points: thresholds chosen on validation units with what they give on test units; empty without the former.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    no_interval: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Interval] = field(default_factory=dict)
    calibration: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    role: str = ''
    calibrated: CalibratedScore | None = None
    working_points: tuple[WorkingPoint, ...] = ()

    @property
    def is_bound(self) -> bool:
        """Whether the score reads the label."""
        return self.role == 'bound'


@dataclass(frozen=True)
class Comparison:
    """Two scores by one metric on the same resamples.

    Attributes:
      metric, a, b: what is compared; b is the reference.
      difference: metric of a less metric of b.
      low, high: interval of the difference.
      a_wins: share of resamples in which a is better, ties counting one half.
      p_value: two-sided, of no difference; NaN where it was not computed.
      p_adjusted: the same, corrected for all comparisons with this reference by this metric.
      is_distinguishable: whether the two can be told apart, after the correction where there is one.
    """

    metric: str
    a: str
    b: str
    difference: float = np.nan
    low: float = np.nan
    high: float = np.nan
    a_wins: float = np.nan
    p_value: float = np.nan
    p_adjusted: float = np.nan
    is_distinguishable: bool = False


@dataclass(frozen=True)
class ScoreCurves:
    """What curves and histograms of one score are drawn from, where the units are too many to be kept.

    Attributes:
      threshold: [P] float64, falling.
      units: [P] int64, units of at least that confidence.
      correct: [P] int64, the correct ones of them.
      edges: [K + 1] float64, of the histogram.
      in_bins_correct: [K] int64.
      in_bins_wrong: [K] int64.
    """

    threshold: np.ndarray
    units: np.ndarray
    correct: np.ndarray
    edges: np.ndarray
    in_bins_correct: np.ndarray
    in_bins_wrong: np.ndarray


@dataclass(frozen=True)
class Spread:
    """A mean over seeds.

    Attributes:
      mean: over seeds.
      std: sample standard deviation over seeds; NaN for one seed, or where all seeds share what is measured.
      low, high: interval over seeds and test units together; NaN where it was not computed.
    """

    mean: float = np.nan
    std: float = np.nan
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class SeedComparison:
    """The differences of two scores by one metric, seed by seed.

    Attributes:
      metric, a, b: what is compared; b is the reference.
      mean, std: of the difference over seeds.
      a_wins: share of seeds in which a is better, ties counting one half.
      num_seeds: seeds compared.
      low, high: interval over seeds and test units together; NaN where it was not computed.
      p_value: two-sided, of no difference, over seeds and test units together; NaN where it was not computed.
      p_sign: two-sided, of `a_wins` alone (sign test): what a count of seeds is worth.
    """

    metric: str
    a: str
    b: str
    mean: float = np.nan
    std: float = np.nan
    a_wins: float = np.nan
    num_seeds: int = 0
    low: float = np.nan
    high: float = np.nan
    p_value: float = np.nan
    p_sign: float = np.nan


@dataclass(frozen=True)
class SeedsSummary:
    """Several seeds of one experiment together.

    Attributes:
      seeds: the seeds.
      classifier: metric -> spread.
      scores: score -> metric -> spread.
      paired: differences to the reference score; a score that all seeds share is left out.
      notes: sentences on what the summary is worth.
      calibration: score -> calibration metric -> spread.
      shared: scores that are one and the same for all seeds, such as the ensemble of their classifiers.
      calibrated: score -> 'before' or 'after' calibration on validation units -> calibration metric -> spread. The
        method is each seed's own choice.
    """

    seeds: tuple[int, ...] = ()
    classifier: Mapping[str, Spread] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, Spread]] = field(default_factory=dict)
    paired: tuple[SeedComparison, ...] = ()
    notes: tuple[str, ...] = ()
    calibration: Mapping[str, Mapping[str, Spread]] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    calibrated: Mapping[str, Mapping[str, Mapping[str, Spread]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measures:
    """Everything that was measured of one set of predictions.

    Attributes:
      classifier: the classifier itself.
      scores: score -> result, in the order of the table.
      unavailable: score -> why it is unavailable.
      undefined: metric, or 'score.metric' where it concerns one score only -> why the value is undefined.
      reference: the score that the others are compared with, named beforehand; '' if it is not among them.
      best: metric -> the scores that may be the best (all that truly are, with the chance of the intervals), the best
        on these data first; bounds left out.
      comparisons: paired differences to the reference, corrected for all of them together by each metric.
      curves: score -> curves over all units, where `Evaluation.test` holds a sample only.
      seeds: the summary over several seeds, where there are several.
      notes: sentences on what the figures are worth.
      own: 'ensemble' or 'mc_dropout' -> the same for these as a classifier with predictions, and errors, of its own.
      per_class: the failure metrics within each predicted class; None where they were not measured.
      slices: parts of the units, by the columns that were asked for; and all of them, weighted.
    """

    classifier: ClassifierResult = field(default_factory=ClassifierResult)
    scores: Mapping[str, ScoreResult] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    reference: str = ''
    best: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    curves: Mapping[str, ScoreCurves] = field(default_factory=dict)
    seeds: SeedsSummary | None = None
    own: Mapping[str, 'Measures'] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    per_class: ClassFailures | None = None
    slices: tuple[Slice, ...] = ()
