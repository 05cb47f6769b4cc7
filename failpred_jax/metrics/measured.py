"""Everything that is registered, measured on arrays.

Most metrics come from a pass that they share (one sort, one confusion matrix). Every other registered metric
is computed by its own function, so a new file is enough to have a metric measured.
"""

import functools
from collections.abc import Callable, Iterable, Mapping

import jax
import numpy as np

from failpred_jax.blocks import in_blocks
from failpred_jax.metrics.classification import class_values
from failpred_jax.metrics.classifier import calibration_metrics, checked_calibration
from failpred_jax.metrics.metric import Metric, of_inputs
from failpred_jax.metrics.ranking import check_inputs, names, score_metrics
from failpred_jax.metrics.reliability import NUM_BINS
from failpred_jax.metrics.segmentation import overlap_values
from failpred_jax.metrics.weighted import UNGRADED, has_grades, is_graded, values_of_units
from failpred_jax.outcomes import predicted_classes
from failpred_jax.results import ClassifierResult, Confusion
from failpred_jax.types import Array

_SEGMENTATION = 'segmentation'


def measure_score(confidence: Array, correct: Array) -> dict[str, float]:
    """Return every metric of the inputs 'ranking'.

    Args:
      confidence: [N] of any real type, higher means more confident.
      correct: [N] bool, or float grades in [0, 1].

    Returns:
      {name: float}, those from one sort first; NaN where undefined. Of grades, the metrics that have a meaning for
      them: those of a mean risk, which is 1 - grade.

    Raises:
      UserError: as `failure_metrics`.
    """
    correct = np.asarray(correct)
    if has_grades(correct):
        return values_of_units(np.asarray(confidence), correct)
    found = score_metrics(confidence, correct)
    others = without_shared_pass()
    if others:
        exact, right, _ = check_inputs(confidence, correct, None)
        found |= {name: float(value) for name, value in _each(others, exact, right).items()}
    return found


def without_shared_pass() -> list[Metric]:
    """Return the metrics of the inputs 'ranking' that a sort or counts shared with the others do not give."""
    from_walk = names()
    return [metric for metric in of_inputs('ranking') if metric.name not in from_walk]


def measure_calibration(confidence: Array, correct: Array, num_bins: int = NUM_BINS) -> dict[str, float]:
    """Return every metric of the inputs 'probability': confidence [N] in [0, 1], correct [N] bool or float grades.

    Raises:
      UserError: as `calibration_metrics`.
    """
    correct = np.asarray(correct)
    if has_grades(correct):
        return checked_calibration(confidence, correct, num_bins=num_bins)
    found = calibration_metrics(confidence, correct, num_bins=num_bins)
    others = [metric for metric in of_inputs('probability') if metric.name not in found]
    more = _each(others, np.asarray(confidence, np.float32), np.asarray(correct, bool))
    return found | {name: float(value) for name, value in more.items()}


def measure_classifier(logits: Array, labels: Array, task: str, probs: Array | None = None) -> ClassifierResult:
    """Return every metric of the inputs 'classes' and 'labels' that the task has.

    Args:
      logits: [N, C] float.
      labels: [N] int in [0, C).
      task: 'classification', or 'segmentation', where units are pixels and overlaps are measured too.
      probs: [N, C] float, the class probabilities where they were given, which are measured as they are; None for the
        softmax of the logits.

    Returns:
      ClassifierResult; NaN where undefined, infinite where the metric says so.
    """
    num_classes = logits.shape[-1]
    logits = np.asarray(logits)
    predicted = in_blocks(predicted_classes, logits)
    found = classifier_from_confusion(Confusion.from_classes(np.asarray(labels), predicted, num_classes), task)
    metrics: dict[str, Array] = {}
    given = every = None if probs is None else np.asarray(probs)
    for metric in of_inputs('classes'):
        if num_classes < metric.min_classes:
            continue
        if metric.on_host is not None:
            with jax.enable_x64(jax.default_backend() != 'tpu'):
                are_probs = given is not None and metric.from_logits is None
                rows = given if are_probs else logits
                metrics[metric.name] = np.array(metric.on_host(rows, np.asarray(labels), are_probs=are_probs))
        elif metric.from_logits is not None:
            metrics |= _each([metric], logits, labels)
        else:
            every = in_blocks(jax.nn.softmax, logits) if every is None else every
            metrics |= _each([metric], every, labels)
    known = {*found.metrics, *found.per_class}
    others = [m for m in of_inputs('labels') if m.name not in known and (m.family != _SEGMENTATION or task == m.family)]
    metrics |= _each(others, predicted, labels, num_classes=num_classes)
    return _with_values(found, metrics)


def measure_outcome(correct: Array) -> ClassifierResult:
    """Return what is known of a classifier of which only right and wrong [N] bool, or float grades, are known."""
    correct = np.asarray(correct)
    graded = is_graded(correct)
    num_errors = 0 if graded else int(np.count_nonzero(~correct.astype(bool)))
    return ClassifierResult(len(correct), num_errors, {'accuracy': float(np.mean(correct))}, is_graded=graded)


def undefined_of_grades() -> dict[str, str]:
    """Return, for each metric that needs right or wrong, why it has no value for grades."""
    return {
        metric.name: UNGRADED
        for kind in ('ranking', 'probability')
        for metric in of_inputs(kind)
        if not metric.has_grades
    }


def classifier_from_confusion(confusion: Confusion, task: str) -> ClassifierResult:
    """Return the metrics that follow from the confusion matrix."""
    right, occurs, chosen = confusion.marginals()
    with jax.enable_x64(jax.default_backend() != 'tpu'):
        values = class_values(right, occurs, chosen)
        if task == _SEGMENTATION:
            values |= overlap_values(right, occurs, chosen)
    num_units = int(occurs.sum())
    found = ClassifierResult(num_units, num_units - int(right.sum()), confusion=confusion)
    return _with_values(found, values)


def _with_values(found: ClassifierResult, values: Mapping[str, Array]) -> ClassifierResult:
    """Return a result with more values, each where its shape says."""
    scalars = {name: float(value) for name, value in values.items() if np.ndim(value) == 0}
    lists = {name: np.asarray(value, np.float64) for name, value in values.items() if np.ndim(value) == 1}
    return ClassifierResult(
        found.num_units,
        found.num_errors,
        {**found.metrics, **scalars},
        {**found.per_class, **lists},
        found.confusion,
        found.intervals,
        found.is_graded,
    )


@functools.cache
def _jitted(fn: Callable[..., jax.Array], **static: int) -> Callable[..., jax.Array]:
    return jax.jit(functools.partial(fn, **static))


def _each(metrics: Iterable[Metric], first: Array, second: Array, **static: int) -> dict[str, np.ndarray]:
    """Return name -> value of metrics of two inputs, in double precision, on the host."""
    with jax.enable_x64(jax.default_backend() != 'tpu'):
        return {
            metric.name: np.asarray(jax.device_get(_jitted(metric.from_logits or metric.fn, **static)(first, second)))
            for metric in metrics
        }
