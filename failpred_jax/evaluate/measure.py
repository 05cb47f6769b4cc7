"""From the units of each split to what is measured of them: one path for runs, pixels and prediction files."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from failpred_jax.calibrate.confidence import Calibrator, is_probability
from failpred_jax.config import EvaluateConfig
from failpred_jax.console import phase
from failpred_jax.errors import UserError
from failpred_jax.evaluate.calibrating import calibrate_scores
from failpred_jax.evaluate.comparing import compare_scores, reference_of
from failpred_jax.evaluate.faults import drop_undefined
from failpred_jax.evaluate.fits import Fits
from failpred_jax.evaluate.operating import with_operating
from failpred_jax.evaluate.parts import Part, Parts
from failpred_jax.evaluate.pixels import count_pixels
from failpred_jax.evaluate.resampling import accuracy_interval, resample
from failpred_jax.evaluate.scoring import WITHIN_UNIT, Fitted, Plan, compute_scores, fit_scores
from failpred_jax.evaluate.tally import Tally
from failpred_jax.metrics import (
    interval_warning,
    intervals,
    is_graded,
    measure_calibration,
    measure_classifier,
    measure_outcome,
    measure_score,
    no_interval,
    undefined_of_grades,
    undefined_reasons,
    without_shared_pass,
)
from failpred_jax.registry import METRICS, SCORES
from failpred_jax.results import Interval, Measures, Predictions, ScoreResult
from failpred_jax.scores.score import FitInputs

GRADED = (
    'correct holds grades: risk is 1 - grade, and metrics that need right or wrong (AUROC, AUPR, FPR at a TPR) are '
    'undefined; right_at=0.5 (--right_at=0.5) makes them right or wrong'
)
NOT_RESAMPLED = 'its own function would take too long on every resample'


@dataclass(frozen=True)
class Measured:
    """An evaluation without the description of where it comes from.

    Attributes:
      measures: the figures.
      test: the evaluated units, or a sample of the pixels.
      validation: those that scores were fitted on, or None.
      calibration: those that certificates alone read, or None; scores that they lack something for are left out.
      fits: what was fitted, for new units.
      maps: segmentation: maps of a few images; see results/folder.py.
      shifts: name -> shifted units, with every score that they have all for.
    """

    measures: Measures
    test: Predictions
    validation: Predictions | None = None
    maps: Mapping[str, np.ndarray] | None = None
    calibration: Predictions | None = None
    fits: Fits = field(default_factory=Fits)
    shifts: Mapping[str, Predictions] = field(default_factory=dict)


def measure(parts: Parts, plan: Plan, options: EvaluateConfig) -> Measured:
    """Fit every score of the plan on held-out units, and measure all of them on the test units.

    Args:
      parts: the units of each split; scores that came with them are measured too.
      plan: the scores to compute.
      options: what is measured.

    Returns:
      Measured; every value that is not finite has its reason in `measures.undefined`.
    """
    fitted = _fit(parts, plan)
    validation = _validation(parts, fitted)
    if isinstance(parts.test, Part):
        tally = count_units(parts, plan, fitted, options)
    else:
        tally = count_pixels(parts.test, plan, fitted, validation, options)
    measures = _assemble(tally, plan, fitted, options)
    # Of pixels a sample is calibrated, without intervals: neighbors err together.
    num_resamples = options.resamples if isinstance(parts.test, Part) and not parts.no_intervals else 0
    calibrators: dict[str, Calibrator] = {}
    with phase('calibrating scores'):
        calibrated = calibrate_scores(validation, tally.kept, num_resamples, options.interval, calibrators)
    scores = {name: replace(score, calibrated=calibrated.get(name)) for name, score in measures.scores.items()}
    measures = replace(measures, scores=scores)
    # Pixels of a file err together as those of a run do.
    measures = with_operating(measures, validation, tally.kept, parts.task == 'segmentation', options.interval)
    calibration = None if parts.cal is None else predict_part(parts.cal, plan, fitted)
    names = tuple(score.name for score in plan.scores if score.name in measures.scores)
    fits = Fits(names, fitted.values, measures.unavailable, calibrators)
    shifts = {name: predict_part(part, plan, fitted) for name, part in parts.shifts.items()}
    return Measured(measures, tally.kept, validation, tally.maps, calibration, fits, shifts)


def _fit(parts: Parts, plan: Plan) -> Fitted:
    if parts.val is None:
        return Fitted()
    if not plan.scores:
        return Fitted(columns=dict(parts.val.confidences))
    train = parts.train
    given = FitInputs(
        val=parts.val.inputs,
        val_labels=parts.val.labels,
        train=None if train is None else train.inputs,
        train_labels=None if train is None else train.labels,
        key=parts.key,
    )
    return fit_scores(plan, given, parts.val.confidences)


def _validation(parts: Parts, fitted: Fitted) -> Predictions | None:
    if parts.val is None:
        return None
    logits, labels = np.asarray(parts.val.inputs.logits), np.asarray(parts.val.labels)
    return Predictions(labels, logits, parts.val.outcome(), fitted.columns, parts.val.about, _probs(parts.val))


def _probs(part: Part) -> np.ndarray | None:
    found = part.inputs.probabilities
    return None if found is None else np.asarray(found)


def predict_part(part: Part, plan: Plan, fitted: Fitted) -> Predictions:
    """Return units that nothing is fitted on, with every score of the plan that they have all for."""
    logits, labels = np.asarray(part.inputs.logits), np.asarray(part.labels)
    inputs = part.inputs._replace(labels=labels)
    lacking = {need for need in inputs._fields if getattr(inputs, need) is None} - {'columns'}
    scores = tuple(score for score in plan.scores if not score.needs & lacking)
    computed = {}
    if scores:
        computed, lost = compute_scores(Plan(scores, {}), inputs, fitted, part.confidences)
        computed = drop_undefined(computed, lost)
    confidences = {**part.confidences, **{k: v for k, v in computed.items() if k not in part.confidences}}
    return Predictions(labels, logits, part.outcome(), confidences, part.about, _probs(part))


def count_units(parts: Parts, plan: Plan, fitted: Fitted, options: EvaluateConfig) -> Tally:
    """Measure units that are all in memory."""
    test = parts.test
    assert isinstance(test, Part)
    logits, labels = np.asarray(test.inputs.logits), np.asarray(test.labels)
    correct = test.outcome()
    computed, unavailable = {}, {}
    if plan.scores:
        computed, unavailable = compute_scores(plan, test.inputs._replace(labels=labels), fitted, test.confidences)
        computed = drop_undefined(computed, unavailable)
    # Scores that came with the units first: they are what the units were given for.
    confidences = {**test.confidences, **{k: v for k, v in computed.items() if k not in test.confidences}}
    with phase('measuring metrics', len(confidences) + 1, 'scores') as measuring:
        scores = {}
        for name, confidence in confidences.items():
            scores[name] = _score(name, confidence, correct)
            measuring.add()
        classifier = (
            measure_classifier(logits, labels, parts.task, _probs(test))
            if test.has_classes
            else measure_outcome(correct)
        )
        measuring.add()
    resamples, accuracy = None, {}
    if options.resamples and confidences and not parts.no_intervals:
        resamples, notes = resample(confidences, correct, test.about, scores, options)
        accuracy = accuracy_interval(resamples, options.interval)
    else:
        notes = ()
    return Tally(
        classifier=replace(classifier, intervals={**classifier.intervals, **accuracy}),
        scores=scores,
        unavailable=unavailable,
        kept=Predictions(labels, logits, correct, confidences, test.about, _probs(test)),
        resamples=resamples,
        undefined=undefined_of_grades() if is_graded(correct) else {},
        notes=(*notes, *([GRADED] if is_graded(correct) else [])),
    )


def _score(name: str, confidence: np.ndarray, correct: np.ndarray) -> ScoreResult:
    calibration, notes = {}, ()
    if is_probability(name, confidence):
        if name not in SCORES:
            notes = (WITHIN_UNIT,)
        try:
            calibration = measure_calibration(confidence, correct)
        except UserError as error:
            notes = (f'calibration unavailable: {error}',)
    return ScoreResult(measure_score(confidence, correct), calibration=calibration, notes=notes)


def _assemble(tally: Tally, plan: Plan, fitted: Fitted, options: EvaluateConfig) -> Measures:
    """Return the figures with roles, notes, intervals, comparisons and the reasons of what is undefined."""
    unavailable = {**plan.unavailable, **tally.unavailable}
    found, lacking, notes = {}, {}, tally.notes
    if tally.resamples is not None:
        found, lacking = intervals(tally.resamples, options.interval), no_interval(tally.resamples)
        notes = (*notes, *filter(None, [interval_warning(tally.resamples)]))
    scores = {
        name: replace(
            _with_intervals(score, found.get(name), lacking.get(name, {})),
            notes=(*fitted.notes.get(name, ()), *score.notes),
            role=SCORES[name].role if name in SCORES else '',
        )
        for name, score in tally.scores.items()
    }
    reference, about_it = reference_of(options.reference_score, scores, unavailable)
    best, comparisons = {}, ()
    if tally.resamples is not None:
        bounds = {name for name, score in scores.items() if score.is_bound}
        best, comparisons = compare_scores(tally.resamples, bounds, reference, options.interval)
    measures = Measures(
        classifier=tally.classifier,
        scores=scores,
        unavailable={name: reason for name, reason in unavailable.items() if name not in scores},
        reference=reference,
        best=best,
        comparisons=comparisons,
        curves=tally.curves,
        notes=(*notes, *about_it),
    )
    return replace(measures, undefined={**tally.undefined, **dict(_undefined(measures))})


def _with_intervals(
    score: ScoreResult, found: Mapping[str, tuple[float, float]] | None, lacking: Mapping[str, str]
) -> ScoreResult:
    """Return a score with its intervals, and the reason where a metric that is defined has none."""
    if found is None:
        return score
    defined = {name for name, value in score.metrics.items() if math.isfinite(value)}
    kept = {name: Interval(*ends) for name, ends in found.items() if name in defined and not np.isnan(ends).any()}
    reasons = dict.fromkeys(defined - found.keys(), NOT_RESAMPLED)
    return replace(score, intervals=kept, no_interval={**lacking, **reasons, **score.no_interval})


def _undefined(measures: Measures) -> Iterator[tuple[str, str]]:
    """Yield (metric, or 'score.metric', why) for every value that is not finite."""
    classifier = measures.classifier
    for name, value in classifier.metrics.items():
        if not math.isfinite(value) and name in METRICS:
            yield name, METRICS[name].reason(value)
    for name, values in classifier.per_class.items():
        if np.isnan(values).any():
            yield name, f'undefined for {int(np.isnan(values).sum())} classes: {METRICS[name].undefined}'
    for score, found in measures.scores.items():
        others = {metric.name for metric in without_shared_pass()}
        from_sort = {name: value for name, value in found.metrics.items() if name not in others}
        # Of grades, nothing that is measured is undefined.
        shared = undefined_reasons(from_sort) if 'num_errors' in from_sort else {}
        for name, value in found.metrics.items():
            if not math.isfinite(value):
                yield (name, shared[name]) if name in shared else (f'{score}.{name}', METRICS[name].reason(value))
        for name, value in found.calibration.items():
            if not math.isfinite(value):
                yield f'{score}.{name}', METRICS[name].reason(value)
