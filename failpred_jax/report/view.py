"""What the sections read of an evaluation: what is derived from it, computed once."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np

from failpred_jax import metrics, outcomes
from failpred_jax.blocks import in_blocks
from failpred_jax.report import curves, words
from failpred_jax.results import Comparison, Confusion, Evaluation, Interval, MetricDescription, ScoreDescription

# The first of these that a run has decides the verdict: AURC and AUGRC weigh every threshold a user may choose.
VERDICT_METRICS = ('aurc', 'augrc', 'auroc', 'aupr_error')
# With fewer errors, or fewer correct predictions, an interval on any failure metric spans much of its range.
FEW = 50
COUNTS = ('num_errors', 'num_units')
# The place of a column that nothing is known of.
NOT_DESCRIBED = 1000


class ScoreFigures(NamedTuple):
    """What the figures of one score are drawn from; a curve that is undefined or has no data is None."""

    counts: metrics.ThresholdCounts | None
    risk_coverage: curves.Curve | None
    roc: curves.Curve | None
    precision_recall: curves.Curve | None
    histogram: dict[str, np.ndarray] | None


class View:
    """What the sections read.

    Args:
      evaluation: the evaluation folder in memory. Optional parts may be absent; the sections then say so.
    """

    def __init__(self, evaluation: Evaluation):
        self.evaluation = evaluation
        self.run = evaluation.run
        self.dataset = evaluation.run.dataset
        self.classifier = evaluation.classifier
        self.test = evaluation.test
        self._figures: dict[str, ScoreFigures] = {}

    # The run and its data.

    @property
    def dataset_name(self) -> str:
        return self.dataset.name or 'results'

    @property
    def model_name(self) -> str:
        """The architecture, or '' where only predictions are known."""
        return str(self.run.model.get('name') or '')

    @property
    def stage_names(self) -> list[str]:
        return [stage.name for stage in self.run.stages]

    @property
    def created(self) -> str:
        """Date and time to the minute."""
        return self.run.created[:16].replace('T', ' ')

    @property
    def is_segmentation(self) -> bool:
        return self.run.is_segmentation

    @property
    def unit(self) -> str:
        """What is classified: 'image' or 'pixel'."""
        return self.run.unit

    @cached_property
    def has_units(self) -> bool:
        """Whether labels and logits of single units are available."""
        return self.test.logits.ndim == 2 and 0 < len(self.test.logits) == len(self.test.labels)

    @cached_property
    def is_subsample(self) -> bool:
        """Whether the arrays hold fewer units than the metrics were computed on."""
        return self.has_units and len(self.test.labels) < self.num_units

    @cached_property
    def class_names(self) -> list[str]:
        """C names; a class without one is 'class i'."""
        size = self.test.logits.shape[-1] if self.has_units else self.dataset.num_classes
        names = [str(name) for name in self.dataset.class_names]
        return names + [f'class {i}' for i in range(len(names), size)]

    @cached_property
    def predicted(self) -> np.ndarray:
        """[N] int, the predicted class."""
        return in_blocks(outcomes.predicted_classes, self.test.logits)

    @cached_property
    def class_probability(self) -> np.ndarray:
        """[N] float32, the probability of the predicted class."""
        if self.test.probs is not None:
            return self.test.probs.max(axis=-1)
        return in_blocks(lambda logits: jax.nn.softmax(logits, axis=-1).max(axis=-1), self.test.logits)

    @cached_property
    def true_probability(self) -> np.ndarray:
        """[N] float32, the probability of the true class."""
        if self.test.probs is not None:
            return self.test.probs[np.arange(len(self.test.labels)), self.test.labels]
        return in_blocks(lambda rows: outcomes.true_class_probability(*rows), (self.test.logits, self.test.labels))

    @cached_property
    def confusion(self) -> Confusion | None:
        """The confusion matrix, measured on every unit or else made from the arrays; None without either."""
        if self.classifier.confusion is not None or not self.has_units:
            return self.classifier.confusion
        return Confusion.from_classes(self.test.labels, self.predicted, len(self.class_names))

    @property
    def per_class(self) -> Mapping[str, np.ndarray]:
        """Metric -> [C] float64, NaN where undefined."""
        return self.classifier.per_class

    # How often the model is right.

    @cached_property
    def num_units(self) -> int:
        return self.classifier.num_units or len(self.test.correct)

    @property
    def is_graded(self) -> bool:
        """Whether units are right by a share: then there is a mean grade, and no errors to count."""
        return self.classifier.is_graded

    @cached_property
    def num_errors(self) -> int:
        """Wrong predictions; 0 where units are graded."""
        return self.classifier.num_errors if self.classifier.num_units else int(np.sum(~self.test.correct))

    @property
    def num_correct(self) -> int:
        return self.num_units - self.num_errors

    @property
    def accuracy(self) -> float | None:
        """In [0, 1], the mean grade where units are graded; None without a unit."""
        if self.is_graded:
            return self.classifier.metrics.get('accuracy')
        return self.num_correct / self.num_units if self.num_units else None

    @property
    def error_rate(self) -> float | None:
        """In [0, 1]; None without a unit."""
        if self.is_graded:
            return None if self.accuracy is None else 1 - self.accuracy
        return self.num_errors / self.num_units if self.num_units else None

    @property
    def scarce(self) -> str:
        """What the failure metrics have too few of, such as '12 errors' or '3 correct predictions'; '' if enough."""
        if self.is_graded:
            return ''
        found = (self.num_errors, 'error'), (self.num_correct, 'correct prediction')
        return words.listed([words.count(num, noun) for num, noun in found if self.num_units and num < FEW])

    # Metrics.

    @cached_property
    def verdict_metric(self) -> str:
        """The metric that orders scores: the first of VERDICT_METRICS that any score has, or any with a direction."""
        has_direction = [name for name in self.metric_names if self.facts(name).higher_is_better is not None]
        for name in (*VERDICT_METRICS, *has_direction):
            if any(words.is_number(found.metrics.get(name)) for found in self.evaluation.scores.values()):
                return name
        return VERDICT_METRICS[0]

    @cached_property
    def metric_names(self) -> list[str]:
        """Metrics that scores have: the columns of the main table first, then the others in the order measured.

        What is equal for all scores, as it describes the classifier, is left out.
        """
        found = dict.fromkeys(name for score in self.evaluation.scores.values() for name in score.metrics)
        own = [name for name in found if name not in self.classifier.metrics and name not in COUNTS]
        return sorted(own, key=lambda name: math.inf if (place := self.facts(name).column) is None else place)

    @property
    def columns(self) -> list[str]:
        """The metrics that are columns of the main table."""
        return [name for name in self.metric_names if self.facts(name).column is not None]

    def facts(self, metric: str) -> MetricDescription:
        """Return what a metric is and how it is shown; one that was not described keeps its name."""
        return self.run.metrics.get(metric) or MetricDescription(label=metric.replace('_', ' '), column=NOT_DESCRIBED)

    def arrow(self, metric: str) -> str:
        """Return an arrow that points to a metric's better side, or '' where neither is."""
        return {True: '\u00a0\u2191', False: '\u00a0\u2193', None: ''}[self.facts(metric).higher_is_better]

    def scale(self, metric: str) -> float:
        """Return what tables and figures multiply a metric by: 100 for percent, 1000 for thousandths, 1 for neither."""
        facts = self.facts(metric)
        return facts.scale if facts.is_share else 1.0

    def heading(self, metric: str) -> str:
        """Return a metric's label, with its scale where that is not percent."""
        scale = self.scale(metric)
        return self.facts(metric).label + ('' if scale in (1, 100) else f' x{scale:g}')

    def shown(self, metric: str, value: float | None, digits: int = 2) -> str:
        """Return a metric's value as tables show it, under its `heading`: without the sign of percent."""
        return words.metric_value(value, digits, self.scale(metric))

    def with_unit(self, metric: str, value: float | None, digits: int = 2) -> str:
        """Return a metric's value as a sentence shows it: '12.3 %', or '7.748 x1000'."""
        if self.scale(metric) == 100:
            return words.percent(value, digits)
        scale = self.heading(metric).removeprefix(self.facts(metric).label)
        return self.shown(metric, value, digits) + (scale if words.is_number(value) else '')

    def interval_with_unit(self, metric: str, ends: Interval, digits: int = 2) -> str:
        """Return an interval of a metric as a sentence shows it."""
        if self.scale(metric) == 100:
            return words.interval(*ends, digits)
        return f'{self.shown(metric, ends.low, digits)}{words.DASH}{self.with_unit(metric, ends.high, digits)}'

    # Scores.

    @cached_property
    def scores(self) -> list[str]:
        """Every score: best first by the verdict's metric, upper bounds last."""
        names = dict.fromkeys([*self.evaluation.scores, *self.test.confidences])
        sign = -1 if self.facts(self.verdict_metric).higher_is_better else 1

        def place(name: str) -> tuple[bool, bool, float]:
            value = self.metric(name, self.verdict_metric)
            return self.is_bound(name), value is None, sign * (value or 0.0)

        return sorted(names, key=place)

    def metric(self, score: str, metric: str) -> float | None:
        """Return a score's value, or None where it is undefined or was not measured."""
        found = self.evaluation.scores.get(score)
        value = found.metrics.get(metric) if found else None
        return float(value) if words.is_number(value) else None

    def interval(self, score: str, metric: str) -> Interval | None:
        """Return the interval of a score's value, or None where there is none."""
        found = self.evaluation.scores.get(score)
        ends = found.intervals.get(metric) if found else None
        return ends if ends and words.is_number(ends.low) and words.is_number(ends.high) else None

    def limits(self, score: str, metric: str) -> Interval | None:
        """Return the limits of a value that was counted at levels, or None for an exact one."""
        found = self.evaluation.scores.get(score)
        ends = found.limits.get(metric) if found else None
        return ends if ends and ends.low < ends.high else None

    def description(self, score: str) -> ScoreDescription:
        """Return what a score is, as far as it was described."""
        return self.run.scores.get(score) or ScoreDescription()

    def role(self, score: str) -> str:
        """Return 'baseline', 'learned', 'bound' or ''."""
        found = self.evaluation.scores.get(score)
        return found.role if found else self.description(score).role

    def is_bound(self, score: str) -> bool:
        """Return whether a score is an upper bound because it reads the label."""
        return self.role(score) == 'bound'

    def label(self, score: str) -> str:
        """Return a score's name, an upper bound marked as such."""
        return f'{score} (upper bound)' if self.is_bound(score) else score

    @cached_property
    def best(self) -> str | None:
        """The best score that a deployed model can compute, by the verdict's metric."""
        usable = [s for s in self.scores if not self.is_bound(s) and self.metric(s, self.verdict_metric) is not None]
        named = [s for s in self.tied_with_best(self.verdict_metric) if s in usable]
        return next(iter(named or usable), None)

    def tied_with_best(self, metric: str) -> Sequence[str]:
        """Return the best score, then those that cannot be told apart from it; empty if that was not measured."""
        return self.evaluation.measures.best.get(metric, ())

    @property
    def comparisons(self) -> Sequence[Comparison]:
        """The paired differences that are defined."""
        return [found for found in self.evaluation.measures.comparisons if words.is_number(found.difference)]

    @cached_property
    def learned(self) -> str | None:
        """The best learned score whose confidences are available."""
        return next((s for s in self.scores if self.role(s) == 'learned' and self.confidence(s) is not None), None)

    def confidence(self, score: str) -> np.ndarray | None:
        """Return the confidences [N] that go with `test.correct`, or None where there are none or some are NaN."""
        values = self.test.confidences.get(score)
        if values is None or not len(values) or len(values) != len(self.test.correct):
            return None
        return None if np.isnan(values).any() else values

    @cached_property
    def marks(self) -> dict[str, dict[str, float]]:
        """Score -> name of a promise -> its certified threshold, over which is accepted."""
        decided = self.evaluation.decisions
        if decided is None:
            return {}
        found = {
            f'{one.name}: {one.target * 100:.3g}{words.THIN}%': one.threshold
            for one in (*decided.guarantees, *decided.menu)
            if one.kind == 'selective' and one.is_certified and np.isfinite(one.threshold)
        }
        return {decided.score: found}

    def figures(self, score: str) -> ScoreFigures:
        """Return what a score's figures are drawn from: counts over every unit before those of the arrays."""
        if score not in self._figures:
            self._figures[score] = self._make_figures(score)
        return self._figures[score]

    def _make_figures(self, score: str) -> ScoreFigures:
        given, confidence = self.evaluation.measures.curves.get(score), self.confidence(score)
        if given is not None:
            counts = metrics.ThresholdCounts(given.threshold, given.units, given.correct)
            histogram = {'edges': given.edges, 'correct': given.in_bins_correct, 'wrong': given.in_bins_wrong}
        elif confidence is not None:
            counts = metrics.threshold_counts(confidence, self.test.correct)
            histogram = None if self.is_graded else curves.histogram(confidence, self.test.correct)
        else:
            return ScoreFigures(None, None, None, None, None)
        thinned = curves.thin_counts(counts)
        counts = curves.shown_counts(counts, list(self.marks.get(score, {}).values()))
        if self.is_graded:
            # Whom to find is not known where all are right in part.
            return ScoreFigures(counts, curves.curve_of('risk_coverage', thinned), None, None, None)
        return ScoreFigures(
            counts=counts,
            risk_coverage=curves.curve_of('risk_coverage', thinned),
            roc=curves.curve_of('roc', thinned),
            precision_recall=curves.curve_of('precision_recall_error', thinned),
            histogram=histogram,
        )
