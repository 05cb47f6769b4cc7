"""Anybody's predictions: the evaluation and the report without a model, a config or a data set of ours."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.config import EvaluateConfig
from failpred_jax.console import listen
from failpred_jax.errors import UserError
from failpred_jax.evaluate.describe import describe
from failpred_jax.evaluate.measure import measure
from failpred_jax.evaluate.parts import Parts
from failpred_jax.evaluate.shift_table import to_table
from failpred_jax.evaluate.slices import check_columns, with_slices
from failpred_jax.evaluate.table import to_markdown
from failpred_jax.prediction_file import Units, parse_arrays, read_predictions
from failpred_jax.prediction_file.file import ARGUMENTS, PARTS
from failpred_jax.prediction_file.part import CONFIDENCE
from failpred_jax.readers.reading import is_table
from failpred_jax.registry import SCORES
from failpred_jax.results import DatasetDescription, Evaluation
from failpred_jax.results.codec import measures_to_json
from failpred_jax.results.measures import Interval, Measures
from failpred_jax.results.shifted import Shifted
from failpred_jax.scored_parts import TABLE, measure_shifts, named_shifts, part_of, plan_of, shift_parts
from failpred_jax.shared_parts import shared_units
from failpred_jax.types import Array
from failpred_jax.workdir import environment

MAX_RESAMPLED = 1_000_000
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

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json, as plain dictionaries: `table.metrics['scores']['mcp']['aurc']`."""
        return measures_to_json(self.evaluation.measures)

    @property
    def shifted(self) -> Shifted | None:
        """What was measured on shifted parts, or None."""
        return self.evaluation.shifted

    @property
    def results(self) -> 'Table':
        """The table itself: `table.results.metrics` is what `table.metrics` was first called."""
        return self

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def evaluate_predictions(
    labels: Array | None = None,
    logits: Array | None = None,
    confidences: Mapping[str, Array] | None = None,
    *,
    correct: Array | None = None,
    features: Array | None = None,
    mask: Array | None = None,
    mc_probs: Array | None = None,
    ensemble_probs: Array | None = None,
    validation: Mapping[str, Array] | None = None,
    training: Mapping[str, Array] | None = None,
    calibration: Mapping[str, Array] | None = None,
    name: str = 'predictions',
    class_names: Sequence[str] | None = None,
    ignore_label: int | str | None = None,
    resamples: int = 1000,
    group: Array | None = None,
    ids: Array | None = None,
    right_at: float | None = None,
    weight: Array | None = None,
    columns: Mapping[str, Array] | None = None,
    slice_by: Sequence[str] = (),
    shifts: Mapping[str, Mapping[str, Array]] | None = None,
) -> Table:
    """Compare confidence scores on the predictions of any model, in arrays of any framework and real type.

    Args:
      labels: [N] or [N, H, W]: class numbers in [0, C), class names, or one-hot; None, as the logits, with `correct`.
      logits: [N, C], [N, H, W, C], or one column [N]: that of class 1. Probabilities and their logarithms will do.
      confidences: your own scores, name -> shaped as labels; higher means more confident.
      correct: [N] bool, or grades in [0, 1], where labels and logits are not known; needs `confidences`.
      features: [N, D] float, for the scores that measure distances.
      mask: shaped as labels, bool; False leaves a unit out.
      mc_probs, ensemble_probs: [N, T, C] class probabilities of dropout passes, or of the members of an ensemble.
      validation: 'labels', 'logits' and perhaps 'features' of held-out units, for the scores that are fitted.
      training: the same of the training units, for the scores that are fitted on them.
      calibration: the same, with your own `confidence_<name>`, of units that certificates alone read.
      name: of the data, for the table.
      class_names: C names, in the order of the logits.
      ignore_label: units of this label are left out.
      resamples: bootstrap resamples behind the intervals; 0 for none.
      group, ids: [N] words or numbers: units of one group (a patient) are resampled together; what each is called.
      right_at: grades of at least this are right, lower ones wrong; None measures the grades.
      weight: [N] 0 or greater, what each unit counts in the weighted figures, which stand beside the others.
      columns: name -> [N] words, numbers or truth values, by which units can be told apart.
      slice_by: names of columns; the units of each value, or range of values, are reported for themselves.
      shifts: 'ood_<name>' -> the same of strangers, without labels; 'shift_<name>' -> the same of shifted units.

    Raises:
      UserError: naming everything that is wrong with the arrays.
    """
    _check_numbers(resamples, right_at)
    given = {
        'labels': labels, 'logits': logits, 'class_names': class_names, 'features': features, 'mc_probs': mc_probs,
        'ensemble_probs': ensemble_probs, 'mask': mask, 'correct': correct, 'group': group, 'id': ids, 'weight': weight,
    }  # fmt: skip
    parts = {'validation': validation, 'training': training, 'calibration': calibration}
    arrays = _named_as_in_a_file(given, confidences, columns, parts) | named_shifts(shifts)
    return _evaluate(parse_arrays(arrays, ARGUMENTS, ignore_label, (), right_at), name, resamples, slice_by)


def _named_as_in_a_file(
    given: Mapping[str, Any],
    confidences: Mapping[str, Array] | None,
    columns: Mapping[str, Array] | None,
    parts: Mapping[str, Mapping[str, Array] | None],
) -> dict[str, Any]:
    """Return the arrays of all parts by the names that they have in a file of predictions."""
    for name, value in {'confidences': confidences, 'columns': columns, **parts}.items():
        if value is not None and not isinstance(value, Mapping):
            raise UserError(
                f"{name} is a {type(value).__name__}; give a dict of names and arrays, such as {{'mine': x}}"
            )
    arrays = {key: value for key, value in given.items() if value is not None}
    arrays |= {CONFIDENCE + key: value for key, value in (confidences or {}).items()}
    for key, value in (columns or {}).items():
        if key in arrays:
            raise UserError(f"columns names '{key}', which is an argument of its own; give it there, or rename it")
        arrays[key] = value
    for prefix, name in PARTS.items():
        arrays |= {prefix + key: value for key, value in (parts.get(name) or {}).items()}
    return arrays


def _check_numbers(resamples: Any, right_at: Any) -> None:
    """Raise a UserError for resamples that are no whole number, or a grade that is none."""
    count = _number(resamples)
    if not 0 <= count < 2**31 or count != int(count):
        raise UserError(f'resamples is {resamples!r}; it must be a whole number, 0 for no intervals')
    if right_at is not None and not 0 < _number(right_at) <= 1:
        raise UserError(f'right_at is {right_at!r}; it must be a grade above 0 and up to 1, such as 0.5')


def _number(value: Any) -> float:
    """Return a number of any type as float, NaN for what is none."""
    return float(value) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else math.nan


def evaluate_file(
    path: Path,
    ignore_label: int | str | None = None,
    name: str = '',
    resamples: int = EvaluateConfig().resamples,
    right_at: float | None = None,
    slice_by: Sequence[str] = (),
    must_have: str = '',
    check: Callable[[Parts], None] = lambda parts: None,
) -> Table:
    """Compare confidence scores on the predictions of a file; see prediction_file/file.py.

    Args:
      path: the file, in any format of readers/.
      ignore_label: units of this label are left out.
      name: of the data, for the table; '' takes that of the file.
      resamples: bootstrap resamples behind the intervals; 0 for none.
      right_at: grades of at least this are right, lower ones wrong; None measures the grades.
      slice_by: names of columns; the units of each value, or range of values, are reported for themselves.
      must_have: name of a score without which nothing is evaluated; '' for none.
      check: raises a UserError for units that will not do, before anything is measured of them.

    Raises:
      UserError: naming everything that is wrong with the file, or there is no column or score of such a name.
    """
    _check_numbers(resamples, right_at)
    given = read_predictions(path, ignore_label, right_at)
    of = TABLE if is_table(path) else ''
    return _evaluate(given, name or path.stem, resamples, slice_by, must_have, check, of)


def _evaluate(
    given: Mapping[str, Units],
    name: str,
    resamples: int,
    slice_by: Sequence[str],
    must_have: str = '',
    check: Callable[[Parts], None] = lambda parts: None,
    of: str = ARGUMENTS,
) -> Table:
    units = given['evaluated']
    slice_by = [slice_by] if isinstance(slice_by, str) else slice_by
    check_columns(units.slices, slice_by)
    notes = [note for part in given.values() for note in part.notes]
    warnings = [*notes, *_without_outputs(units), *_unused(given), *_replaced(units)]
    no_intervals = ''
    if resamples:
        no_intervals = PIXELS if units.is_segmentation else TOO_MANY if units.num_units > MAX_RESAMPLED else ''
    parts = _parts_of(given, no_intervals)
    plan = plan_of(given, parts, must_have, of)
    check(parts)
    options = dataclasses.replace(EvaluateConfig(), resamples=resamples)
    seconds: dict[str, float] = {}
    with listen(seconds):
        found = measure(parts, plan, options)
        measures = with_slices(found.measures, found.test, slice_by, options, no_intervals)
        shifted = measure_shifts(found, options)
    warnings += [*filter(None, [no_intervals]), *shared_units(given), *_backward(measures, units.confidences)]
    dataset = DatasetDescription(
        name=name,
        task=parts.task,
        num_classes=units.num_classes,
        class_names=units.class_names,
        num_train=given['training'].num_units if 'training' in given else 0,
        num_val=given['validation'].num_units if 'validation' in given else 0,
        num_test=units.shape[0],
        num_calibration=given['calibration'].num_units if 'calibration' in given else 0,
        unit='' if units.is_segmentation else 'unit',
    )
    run = describe(
        measures,
        dataset,
        options.interval,
        mode='score',
        warnings=tuple(warnings),
        environment=environment(),
        seconds=seconds,
    )
    evaluation = Evaluation(measures, run, found.test, found.validation, calibration=found.calibration, shifted=shifted)
    text = to_markdown(measures, run)
    return Table(evaluation, text if shifted is None else f'{text}\n{to_table(shifted, name)}')


def _parts_of(given: Mapping[str, Units], no_intervals: str) -> Parts:
    """Return the parts of a file as an evaluation takes them."""
    units = given['evaluated']
    held = {name: part_of(given[name]) for name in ('validation', 'training', 'calibration') if name in given}
    return Parts(
        task='segmentation' if units.is_segmentation else 'classification',
        test=part_of(units),
        val=held.get('validation'),
        train=held.get('training'),
        cal=held.get('calibration'),
        no_intervals=no_intervals,
        shifts=shift_parts(given),
    )


def _without_outputs(units: Units) -> list[str]:
    """Return what a file without outputs cannot have."""
    if units.logits is not None:
        return []
    return [
        'the classes and their outputs are not known: only the scores that came with the predictions are measured '
        "(with 'labels' and 'logits' or 'probs', those computed here are too)"
    ]


def _replaced(units: Units) -> list[str]:
    """Return a sentence on the user's own scores that have the name of one of ours."""
    names = [name for name in units.confidences if name in SCORES]
    return [f'your own {", ".join(names)} stands in the place of the score of that name here'] if names else []


def _unused(given: Mapping[str, Units]) -> list[str]:
    """Return one sentence that names the arrays that no evaluation uses yet; none where all are used."""
    names = []
    for prefix, part in PARTS.items():
        if part not in given:
            continue
        units = given[part]
        found = {} if part == 'evaluated' else {'weight': units.weight, **units.slices}
        # What the evaluated units have too is no mistake: a table has all of its columns in every part.
        of_first = given['evaluated']
        found = {name: values for name, values in found.items() if name not in of_first.slices}
        if part in ('validation', 'training'):
            found |= {'group': units.group if of_first.group is None else None}
            found |= {'id': units.ids if of_first.ids is None else None}
        if part == 'training':
            found |= {CONFIDENCE + name: values for name, values in units.confidences.items()} | dict(units.samples)
        names += [f"'{prefix}{name}'" for name, values in found.items() if values is not None]
    return [f'given, but not used: {", ".join(names)}'] if names else []


def _backward(measures: Measures, given: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each score that came with the predictions and ranks errors above what is right."""
    for name in given:
        score = measures.scores.get(name)
        auroc = math.nan if score is None else score.metrics.get('auroc', math.nan)
        # Without an interval, so far below a half that chance does not explain it of some errors.
        low = auroc < 0.5 - 1.5 / math.sqrt(max(1.0, measures.classifier.num_errors))
        if score is not None and score.intervals.get('auroc', Interval(0, 0.0 if low else 1.0)).high < 0.5:
            yield (
                f"'{name}' ranks errors above what is right (AUROC {100 * auroc:.1f} %); higher must mean more "
                'confident: if it is an uncertainty, give its negative'
            )
