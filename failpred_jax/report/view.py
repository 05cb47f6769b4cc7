"""One reading of a Results value: what is there, what is missing, and which score the verdict names."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from failpred_jax import metrics
from failpred_jax.report import curves, words
from failpred_jax.results import Results


class ScoreCurves(NamedTuple):
    """The curves of one score; a curve that is undefined or was not handed over is None."""

    counts: metrics.ThresholdCounts | None
    risk_coverage: curves.Curve | None
    roc: curves.Curve | None
    precision_recall: curves.Curve | None
    histogram: dict[str, np.ndarray] | None


def as_mapping(value: Any) -> Mapping:
    """Return a value that is a mapping, or an empty one: optional parts of the files may be absent or null."""
    return value if isinstance(value, Mapping) else {}


class View:
    """What the sections read.

    Args:
      results: the evaluation folder in memory. Optional parts may be absent; the sections then say so.
    """

    def __init__(self, results: Results):
        self.results = results
        self.classifier = as_mapping(results.metrics.get('classifier'))
        self.table = {name: as_mapping(row) for name, row in as_mapping(results.metrics.get('scores')).items()}
        self.context = as_mapping(results.context)
        self.dataset = as_mapping(self.context.get('dataset'))
        self.definitions = as_mapping(self.context.get('definitions'))
        self._curves: dict[str, ScoreCurves] = {}

    # The data set.

    @property
    def is_segmentation(self) -> bool:
        return self.dataset.get('task') == 'segmentation'

    @property
    def unit(self) -> str:
        """What is classified: 'image' or 'pixel'."""
        return 'pixel' if self.is_segmentation else 'image'

    @cached_property
    def has_units(self) -> bool:
        """Whether per-unit labels and logits are here."""
        logits = np.asarray(self.results.logits)
        return logits.ndim == 2 and len(logits) > 0 and len(logits) == len(self.results.labels)

    @cached_property
    def is_subsample(self) -> bool:
        """Whether the per-unit arrays are fewer than the units the metrics were computed on."""
        return self.has_units and len(self.results.labels) < self.num_units

    @cached_property
    def class_names(self) -> list[str]:
        names = [str(name) for name in self.dataset.get('class_names') or ()]
        size = self.results.logits.shape[-1] if self.has_units else int(self.dataset.get('num_classes') or 0)
        return names if len(names) >= size else names + [f'class {i}' for i in range(len(names), size)]

    @cached_property
    def predicted(self) -> np.ndarray:
        """[N] int predicted class."""
        return np.argmax(self.results.logits, axis=-1)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """[N, C] float32 class probabilities."""
        return curves.softmax(self.results.logits)

    @cached_property
    def true_probability(self) -> np.ndarray:
        """[N] float32 probability of the true class."""
        return self.probabilities[np.arange(len(self.results.labels)), self.results.labels]

    @cached_property
    def confusion(self) -> np.ndarray | None:
        """[C, C] int64, rows labels: metrics.json's, which saw every unit, or from the units; None without either."""
        given = self.classifier.get('confusion')
        if given is not None:
            return np.asarray(given, np.int64)
        if not self.has_units:
            return None
        size = len(self.class_names)
        flat = np.asarray(self.results.labels).astype(np.int64) * size + self.predicted
        return np.bincount(flat, minlength=size * size).reshape(size, size)

    # How often the model is right.

    @cached_property
    def num_units(self) -> int:
        given = self.classifier.get('num_units')
        return int(given) if words.is_number(given) else len(self.results.correct)

    @cached_property
    def num_errors(self) -> int | None:
        given = self.classifier.get('num_errors')
        if words.is_number(given):
            return int(given)
        return int((~np.asarray(self.results.correct, bool)).sum()) if len(self.results.correct) else None

    @cached_property
    def accuracy(self) -> float | None:
        given = self.classifier.get('accuracy')
        if words.is_number(given):
            return float(given)
        return None if self.num_errors is None or not self.num_units else 1 - self.num_errors / self.num_units

    @property
    def error_rate(self) -> float | None:
        return None if self.accuracy is None else 1 - self.accuracy

    @cached_property
    def interval_level(self) -> float:
        """The probability that the intervals of metrics.json cover."""
        level = as_mapping(as_mapping(self.context.get('config')).get('evaluate')).get('interval')
        return float(level) if words.is_number(level) else 0.95

    # Scores.

    @cached_property
    def scores(self) -> list[str]:
        """Every score of the table: best first by the verdict's metric, upper bounds last."""
        names = list(dict.fromkeys([*self.table, *self.results.confidences]))
        sign = 1 if words.metric_words(self.verdict_metric).better == 'lower' else -1

        def place(name: str) -> tuple:
            value = self.metric(name, self.verdict_metric)
            return self.reads_label(name), value is None, sign * (value or 0.0)

        return sorted(names, key=place)

    @cached_property
    def verdict_metric(self) -> str:
        """The metric that orders scores: the first of words.VERDICT_METRICS that any score has."""
        for name in words.VERDICT_METRICS:
            if any(words.is_number(row.get(name)) for row in self.table.values()):
                return name
        return words.VERDICT_METRICS[0]

    @cached_property
    def metric_names(self) -> list[str]:
        """Metrics of the table, the well-known first."""
        found = dict.fromkeys(
            name
            for row in self.table.values()
            for name, value in row.items()
            if value is None or words.is_number(value)
        )
        known = [name for name in words.METRICS if name in found]
        return known + [name for name in found if name not in words.METRICS]

    def metric_words(self, metric: str) -> words.MetricWords:
        """Return how a metric is shown; the direction of one that words.py does not know is as defined by the run."""
        known = words.metric_words(metric)
        higher = as_mapping(as_mapping(self.definitions.get('metrics')).get(metric)).get('higher_is_better')
        if known.better or higher is None:
            return known
        return known._replace(better='higher' if higher else 'lower')

    def metric(self, score: str, metric: str) -> float | None:
        """Return a score's value in [0, 1], or None where it is undefined or absent."""
        value = self.table.get(score, {}).get(metric)
        return float(value) if words.is_number(value) else None

    def interval(self, score: str, metric: str) -> tuple[float, float] | None:
        """Return the interval of a score's value, or None."""
        ends = as_mapping(self.table.get(score, {}).get('ci')).get(metric)
        if isinstance(ends, list | tuple) and len(ends) == 2 and all(words.is_number(end) for end in ends):
            return float(ends[0]), float(ends[1])
        return None

    def calibration(self, score: str) -> Mapping:
        """Return a score's calibration metrics, read as P(correct); empty where it is no probability."""
        return as_mapping(self.table.get(score, {}).get('calibration'))

    def score_definition(self, score: str) -> Mapping:
        """Return {'description', 'reference', 'reads_label', 'is_probability'}, as far as known."""
        return as_mapping(as_mapping(self.definitions.get('scores')).get(score))

    def reads_label(self, score: str) -> bool:
        """Return whether a score is an upper bound because it reads the label."""
        return bool(self.score_definition(score).get('reads_label', score == 'tcp'))

    def is_probability(self, score: str) -> bool:
        """Return whether a score is meant as P(correct)."""
        return bool(self.score_definition(score).get('is_probability', score in ('mcp', 'confidnet')))

    def label(self, score: str) -> str:
        """Return a score's name, an upper bound marked as such."""
        return f'{score} (upper bound)' if self.reads_label(score) else score

    @cached_property
    def best(self) -> str | None:
        """The best score that a deployed model could use, by the verdict's metric."""
        usable = [s for s in self.scores if not self.reads_label(s) and self.metric(s, self.verdict_metric) is not None]
        named = [s for s in self.equals(self.verdict_metric) if s in usable]
        return next(iter(named or usable), None)

    def equals(self, metric: str) -> list[str]:
        """Return the scores that cannot be told apart from the best one (itself first); empty if not known."""
        names = as_mapping(self.results.metrics.get('best')).get(metric) or []
        return [name for name in names if not self.reads_label(name)]

    @cached_property
    def learned(self) -> str | None:
        """The learned confidence that the images section looks at: the latest stage's."""
        return next((s for s in ('confidnet_finetuned', 'confidnet') if s in self.results.confidences), None)

    def confidence(self, score: str) -> np.ndarray | None:
        """Return [N] per-unit confidences that go with `correct`, or None where they are absent or hold NaN."""
        values = self.results.confidences.get(score)
        if values is None or not len(values) or len(values) != len(self.results.correct):
            return None
        values = np.asarray(values)
        return None if np.isnan(values).any() else values

    def curves(self, score: str) -> ScoreCurves:
        """Return a score's curves: those of metrics.json, which saw every unit, before those of the arrays here."""
        if score not in self._curves:
            self._curves[score] = self._make_curves(score)
        return self._curves[score]

    def _make_curves(self, score: str) -> ScoreCurves:
        given = as_mapping(as_mapping(self.results.metrics.get('curves')).get(score))
        histogram = given.get('histogram')
        counts = curves.count_from_histogram(**histogram) if histogram else None
        if given.get('counts'):
            # Finer than the histogram: counts at hundreds of thresholds, spread over units and errors.
            counts = metrics.ThresholdCounts(
                np.asarray(given['counts']['threshold'], np.float64),
                *(np.asarray(given['counts'][name], np.int64) for name in ('units', 'correct')),
            )
        confidence = self.confidence(score)
        if counts is None and confidence is not None:
            counts = metrics.threshold_counts(confidence, self.results.correct)
            histogram = curves.histogram(confidence, self.results.correct)
        thinned = None if counts is None else curves.thin_counts(counts)

        def curve(name: str, given_name: str) -> curves.Curve | None:
            if given.get(given_name):
                x, y = given[given_name][:2]
                return np.asarray(x, np.float64), np.asarray(y, np.float64)
            return None if thinned is None else curves.curve_of(name, thinned)

        return ScoreCurves(
            counts=counts,
            risk_coverage=curve('risk_coverage', 'risk_coverage'),
            roc=curve('roc', 'roc'),
            precision_recall=curve('precision_recall_error', 'pr_error'),
            histogram={key: np.asarray(value) for key, value in histogram.items()} if histogram else None,
        )
