"""Anybody's predictions: the evaluation and the report without a model, a config or a data set of ours."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from failpred_jax.config import EvaluateConfig
from failpred_jax.console import say
from failpred_jax.data.disjoint import row_hashes, shared_rows
from failpred_jax.errors import UserError
from failpred_jax.evaluate.describe import describe
from failpred_jax.evaluate.measure import measure
from failpred_jax.evaluate.parts import Part, Parts
from failpred_jax.evaluate.scoring import Plan, make_plan
from failpred_jax.evaluate.table import to_markdown
from failpred_jax.prediction_file import Units, parse_arrays, read_predictions
from failpred_jax.results import DatasetDescription, Evaluation, read_evaluation, write_evaluation
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.types import Array
from failpred_jax.workdir import environment

MAX_RESAMPLED = 1_000_000
# Units up to this number are looked for in other parts, which takes about a microsecond each.
MAX_COMPARED = 1_000_000
# Why there are no intervals.
PIXELS = 'no intervals are given: neighboring pixels err together, so resampling pixels would claim far too narrow ones'
TOO_MANY = (
    f'no intervals are given: resampling more than {MAX_RESAMPLED:,} units takes too long (a part of them, drawn at '
    'random, has intervals)'
)


@dataclass(frozen=True)
class Table:
    """The evaluation of some predictions; `print(table)` shows it, and a notebook renders it.

    Attributes:
      evaluation: everything, as the report takes it: `evaluation.scores['mcp'].metrics['aurc']`, say.
      text: the table in markdown.
    """

    evaluation: Evaluation
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


def score_file(path: Path, workdir: Path) -> None:
    """Evaluate a file of predictions into `workdir/evaluation`, and build the report beside it.

    Raises:
      UserError: the file has problems, or the WORKDIR holds something else.
    """
    parts = read_predictions(path)
    _check_folder(workdir)
    table = _evaluate(parts, path.stem, EvaluateConfig().resamples)
    try:
        write_evaluation(table.evaluation, table.text, workdir / 'evaluation')
    except OSError as error:
        raise UserError(
            f"the WORKDIR '{workdir}' cannot be written: {error.strerror or error}; choose another with --workdir=DIR"
        ) from error
    say(str(table))


def _check_folder(workdir: Path) -> None:
    """Refuse a folder whose content is not an earlier evaluation of predictions."""
    if not workdir.exists() or not any(workdir.iterdir()):
        return
    evaluation = workdir / 'evaluation'
    is_ours = evaluation.is_dir() and not (workdir / 'config.json').exists()
    if not is_ours or read_evaluation(evaluation).run.mode != 'score':
        raise UserError(
            f"the WORKDIR '{workdir}' holds something else than an evaluation of predictions; choose another with "
            '--workdir=DIR'
        )


def _evaluate(given: Mapping[str, Units], name: str, resamples: int) -> Table:
    units = given['evaluated']
    no_intervals = ''
    if resamples:
        no_intervals = PIXELS if units.is_segmentation else TOO_MANY if len(units.labels) > MAX_RESAMPLED else ''
    parts = Parts(
        task='segmentation' if units.is_segmentation else 'classification',
        test=_part(units),
        val=_part(given['validation']) if 'validation' in given else None,
        train=_part(given['training']) if 'training' in given else None,
        no_intervals=no_intervals,
    )
    options = dataclasses.replace(EvaluateConfig(), resamples=resamples)
    found = measure(parts, _plan(given, parts), options)
    num_classes = units.logits.shape[1]
    dataset = DatasetDescription(
        name=name,
        task=parts.task,
        num_classes=num_classes,
        class_names=tuple(map(str, range(num_classes))),
        num_train=len(given['training'].labels) if 'training' in given else 0,
        num_val=len(given['validation'].labels) if 'validation' in given else 0,
        num_test=units.shape[0],
    )
    run = describe(
        found.measures,
        dataset,
        options.interval,
        mode='score',
        warnings=(*filter(None, [no_intervals]), *_shared_units(given)),
        environment=environment(),
    )
    evaluation = Evaluation(found.measures, run, found.test, found.validation)
    return Table(evaluation, to_markdown(found.measures, run))


def _shared_units(given: Mapping[str, Units]) -> list[str]:
    """Return a sentence for each other part that holds some of the evaluated units."""
    units, warnings = given['evaluated'], []
    if len(units.labels) > MAX_COMPARED:
        return []
    # The label tells units apart whose logits are saturated alike.
    rows = _rows(units)
    hashes = row_hashes(rows)
    # Units that are equal among themselves say nothing: their logits are saturated, or rounded.
    _, at, count = np.unique(hashes, return_index=True, return_counts=True)
    single = np.sort(at[count == 1])
    for name in ('validation', 'training'):
        if name not in given or given[name].logits.shape[1] != units.logits.shape[1] or not len(single):
            continue
        others = _rows(given[name])
        shared = len(shared_rows(rows[single], others, (hashes[single], row_hashes(others))))
        if len(rows) == len(others) and np.array_equal(rows, others):
            warnings.append(
                f'the {name} units are the evaluated ones, number by number: whatever is fitted on them is judged on '
                'what it was fitted on, and its figures are too good; give other units'
            )
        elif shared:
            warnings.append(
                f'{shared:,} of the {len(rows):,} evaluated units also stand among the {name} units, with the same '
                'label and logits; what is fitted there looks better than it is'
            )
    return warnings


def _rows(units: Units) -> np.ndarray:
    """Return labels and logits as bytes, one row per unit: [N, ...] uint8."""
    logits = np.ascontiguousarray(units.logits)
    return np.concatenate([units.labels.astype(np.int32)[:, None].view(np.uint8), logits.view(np.uint8)], axis=1)


def _part(units: Units) -> Part:
    return Part(ScoreInputs(logits=units.logits, features=units.features), units.labels, units.confidences)


def _plan(given: Mapping[str, Units], parts: Parts) -> Plan:
    """Return which scores these predictions can have; the user's own columns of the same name take their place."""
    own = given['evaluated'].confidences
    reasons = {
        'features': "it reads features: add 'features'",
        'confidence_logit': 'it is the output of a trained confidence head',
        'finetuned_logit': 'it is the output of a trained confidence head',
        'mc_dropout': 'it needs dropout passes of the model',
        'ensemble': 'it needs several models',
    }
    if given['evaluated'].features is not None:
        del reasons['features']
    plan = make_plan(('all',), reasons, parts.task)
    kept, unavailable = [], {k: v for k, v in plan.unavailable.items() if k not in own}
    for score in plan.scores:
        if score.name in own:
            continue
        if score.fit is None:
            kept.append(score)
            continue
        asked = [('validation', 'val_')] + ([('training', 'train_')] if score.fits_on_train else [])
        lacking = []
        for part, prefix in asked:
            if part not in given:
                lacking.append(f"'{prefix}labels' and '{prefix}logits'")
            if 'features' in score.needs and (part not in given or given[part].features is None):
                lacking.append(f"'{prefix}features'")
        if lacking:
            unavailable[score.name] = f'it is fitted on other units: add {", ".join(lacking)}'
        else:
            kept.append(score)
    return Plan(tuple(kept), unavailable)
