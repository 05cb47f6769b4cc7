"""Anybody's predictions: the evaluation and the report without a model, a config or a data set of ours."""

import dataclasses
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from failpred_jax.calibrate.temperature import fit_temperature
from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.collect import predictions
from failpred_jax.evaluate.evaluation import aurc
from failpred_jax.evaluate.scoring import Fitted, Plan, compute_scores, fit_scores, make_plan
from failpred_jax.evaluate.table import definitions, measure, to_markdown
from failpred_jax.prediction_file import Units, parse_arrays, read_predictions
from failpred_jax.results import Results
from failpred_jax.scores.score import FitInputs, ScoreInputs
from failpred_jax.types import Array
from failpred_jax.workdir import environment

MAX_RESAMPLED = 1_000_000
NO_INTERVALS = (
    'no intervals are given: neighboring pixels err together, so resampling pixels would claim far too narrow ones '
    f'(and above {MAX_RESAMPLED:,} units they say little)'
)


@dataclass(frozen=True)
class Table:
    """The evaluation of some predictions; `print(table)` shows it, and a notebook renders it.

    Attributes:
      results: everything, as the report takes it: `results.metrics['scores']['mcp']['aurc']`, say.
      text: the table in markdown.
    """

    results: Results
    text: str

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def evaluate_predictions(
    labels: Array,
    logits: Array,
    confidences: Mapping[str, Array] | None = None,
    *,
    features: Array | None = None,
    validation: Mapping[str, Array] | None = None,
    training: Mapping[str, Array] | None = None,
    name: str = 'predictions',
    resamples: int = 1000,
) -> Table:
    """Compare confidence scores on the predictions of any classifier.

    Args:
      labels: [N] or [N, H, W] int, in [0, C).
      logits: [N, C] or [N, H, W, C] float; the logarithm of class probabilities does as well.
      confidences: your own scores, name -> shaped as labels; higher means more confident.
      features: [N, D] float, for the scores that measure distances.
      validation: 'labels', 'logits' and perhaps 'features' of held-out units, for the scores that are fitted.
      training: the same of the training units, for the scores that are fitted on them.
      name: of the data, for the table.
      resamples: bootstrap resamples behind the intervals; 0 for none.

    Returns:
      Table.

    Raises:
      UserError: naming everything that is wrong with the arrays.
    """
    arrays = {'labels': labels, 'logits': logits}
    arrays |= {f'confidence_{key}': value for key, value in (confidences or {}).items()}
    if features is not None:
        arrays['features'] = features
    for prefix, part in (('val_', validation), ('train_', training)):
        arrays |= {prefix + key: value for key, value in (part or {}).items()}
    parts = parse_arrays({key: np.asarray(value) for key, value in arrays.items()}, 'the arguments')
    return _evaluate(parts, name, resamples)


def evaluate_file(path: Path) -> Table:
    """Compare confidence scores on the predictions of a file; see prediction_file.py.

    Raises:
      UserError: naming everything that is wrong with the file.
    """
    return _evaluate(read_predictions(path), path.stem, EvaluateConfig().resamples)


def _evaluate(parts: Mapping[str, Units], name: str, resamples: int) -> Table:
    units = parts['evaluated']
    task = 'segmentation' if units.is_segmentation else 'classification'
    warnings = []
    if resamples and (units.is_segmentation or len(units.labels) > MAX_RESAMPLED):
        resamples = 0
        warnings.append(NO_INTERVALS)
    inputs = _inputs(units)._replace(labels=units.labels)
    plan = _plan(parts, inputs, task)
    fitted = Fitted({}, {}, {})
    if 'validation' in parts:
        fitted = fit_scores(plan, _fit_inputs(parts))
    computed, unavailable = compute_scores(plan, inputs, fitted)
    # The user's own columns first: they are what the file was made for.
    confidences = {**units.confidences, **computed}
    correct = predictions(units.logits) == units.labels
    metrics = measure(
        np.asarray(jax.nn.softmax(units.logits)),
        units.labels,
        correct,
        confidences,
        task,
        dataclasses.replace(EvaluateConfig(), resamples=resamples),
        notes=fitted.notes,
        unavailable={**plan.unavailable, **unavailable},
    )
    num_classes = units.logits.shape[1]
    context = {
        'mode': 'score',
        'created': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'dataset': {
            'name': name,
            'task': task,
            'num_classes': num_classes,
            'class_names': [str(i) for i in range(num_classes)],
            'num_train': len(parts['training'].labels) if 'training' in parts else 0,
            'num_val': len(parts['validation'].labels) if 'validation' in parts else 0,
            'num_test': units.shape[0],
        },
        'stages': [],
        'warnings': warnings,
        'environment': environment(),
        'definitions': definitions(confidences),
    }
    results = Results(metrics, context, units.labels, units.logits, correct, confidences)
    return Table(results, to_markdown(metrics, context))


def _inputs(units: Units) -> ScoreInputs:
    return ScoreInputs(logits=units.logits, features=units.features)


def _plan(parts: Mapping[str, Units], inputs: ScoreInputs, task: str) -> Plan:
    """Return which scores these predictions can have; the user's own columns of the same name take their place."""
    given = parts['evaluated'].confidences
    reasons = {
        'features': "it reads features: add 'features'",
        'confidence_logit': 'it is the output of a trained confidence head',
        'finetuned_logit': 'it is the output of a trained confidence head',
        'mc_dropout': 'it needs dropout passes of the model',
        'ensemble': 'it needs several models',
    }
    missing = {need: reason for need, reason in reasons.items() if getattr(inputs, need) is None}
    plan = make_plan(('all',), missing, task)
    kept, unavailable = [], {k: v for k, v in plan.unavailable.items() if k not in given}
    for score in plan.scores:
        if score.name in given:
            continue
        if score.fit is None:
            kept.append(score)
            continue
        asked = [('validation', 'val_')] + ([('training', 'train_')] if score.fits_on_train else [])
        lacking = []
        for part, prefix in asked:
            if part not in parts:
                lacking.append(f"'{prefix}labels' and '{prefix}logits'")
            if 'features' in score.needs and (part not in parts or parts[part].features is None):
                lacking.append(f"'{prefix}features'")
        if lacking:
            unavailable[score.name] = f'it is fitted on other units: add {", ".join(lacking)}'
        else:
            kept.append(score)
    return Plan(tuple(kept), unavailable)


def _fit_inputs(parts: Mapping[str, Units]) -> FitInputs:
    training = parts.get('training')
    return FitInputs(
        val=_inputs(parts['validation']),
        val_labels=parts['validation'].labels,
        train=_inputs(training) if training else None,
        train_labels=training.labels if training else None,
        key=jax.random.key(0),
        aurc_fn=aurc,
        temperature_fn=fit_temperature,
    )
