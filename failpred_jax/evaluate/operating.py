"""Thresholds chosen on validation units with what they give on test units; failure metrics per predicted class."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from failpred_jax.blocks import in_blocks
from failpred_jax.evaluate.resampling import group_of
from failpred_jax.metrics import class_failure_metrics, compared, working_points
from failpred_jax.metrics.ranking import names
from failpred_jax.outcomes import predicted_classes
from failpred_jax.registry import METRICS
from failpred_jax.results import ClassFailures, Measures, Predictions, WorkingPoint

# With more classes than this, those with most errors are measured: the others have too few to say anything, and a
# thousand classes times 25 scores would be most of metrics.json.
MAX_CLASSES = 100
# The key of `Measures.undefined` is this and the metric.
PER_CLASS = 'per_class.'
_INTERVALS = ('coverage_low', 'coverage_high', 'risk_low', 'risk_high')


def with_operating(
    measures: Measures, validation: Predictions | None, test: Predictions, is_pixels: bool, level: float
) -> Measures:
    """Return the figures with working points and the failure metrics per predicted class.

    Args:
      measures: what was measured of all units.
      validation: held-out units, whose confidences come from fits that have not seen their labels; None without any.
      test: the evaluated units, or a sample of them.
      is_pixels: whether units err together, so that intervals for independent ones would be too narrow.
      level: of the intervals.
    """
    usable = [name for name, score in measures.scores.items() if not score.is_bound and name in test.confidences]
    per_class = _per_class({name: test.confidences[name] for name in usable}, test)
    # Units of a group err together, as neighboring pixels do.
    is_together = is_pixels or group_of(test.about) is not None
    points = {name: _points(name, validation, test, is_together, level) for name in usable}
    scores = {name: replace(score, working_points=points.get(name, ())) for name, score in measures.scores.items()}
    undefined = {**measures.undefined, **dict(_undefined(per_class))}
    return replace(measures, scores=scores, per_class=per_class, undefined=undefined)


def _points(
    name: str, validation: Predictions | None, test: Predictions, is_pixels: bool, level: float
) -> tuple[WorkingPoint, ...]:
    # Without a unit on either side there is nothing to choose a threshold on, or to measure it on.
    if validation is None or name not in validation.confidences or not len(validation.correct) * len(test.correct):
        return ()
    held_out = validation.confidences[name]
    found = working_points(held_out, validation.correct, test.confidences[name], test.correct, level=level)
    no_intervals = dict.fromkeys(_INTERVALS, np.nan)
    return tuple(replace(point, **no_intervals) for point in found) if is_pixels else found


def _per_class(confidences: Mapping[str, np.ndarray], test: Predictions) -> ClassFailures | None:
    # A file may have nothing but what is correct.
    if not confidences or not len(test.correct) or test.logits.ndim != 2 or len(test.logits) != len(test.correct):
        return None
    num_classes, predicted = test.logits.shape[-1], in_blocks(predicted_classes, test.logits)
    num_units = np.bincount(predicted, minlength=num_classes)
    num_errors = np.bincount(predicted[~test.correct], minlength=num_classes)
    chosen = np.sort(np.argsort(-num_errors, kind='stable')[:MAX_CLASSES])
    note = ''
    if num_classes > MAX_CLASSES:
        note = f'the {MAX_CLASSES} predicted classes with most errors, of {num_classes:,}'
    place = np.full(num_classes, -1)
    place[chosen] = np.arange(len(chosen))
    is_in = place[predicted] >= 0
    found = class_failure_metrics(
        {name: confidence[is_in] for name, confidence in confidences.items()},
        test.correct[is_in], place[predicted[is_in]], len(chosen),
    )  # fmt: skip
    kept = [metric.name for metric in compared() if metric.name in names()]
    return ClassFailures(
        tuple(map(int, chosen)),
        tuple(map(int, num_units[chosen])),
        tuple(map(int, num_errors[chosen])),
        {name: {metric: tuple(map(float, of[metric])) for metric in kept} for name, of in found.items()},
        note,
    )


def _undefined(found: ClassFailures | None) -> Iterator[tuple[str, str]]:
    """Yield (key, why) for each metric that some class leaves undefined; a class does so for all scores alike."""
    if found is None or not found.scores:
        return
    for metric, values in next(iter(found.scores.values())).items():
        num = int(np.isnan(values).sum())
        if num:
            yield PER_CLASS + metric, f'undefined for {num} predicted classes: {METRICS[metric].undefined}'
