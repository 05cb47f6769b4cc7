"""One part of a file of predictions: its arrays looked at, brought to one form, and checked for everything at once."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import softmax

from failpred_jax.errors import numbered
from failpred_jax.prediction_file.belonging import repeated_ids
from failpred_jax.prediction_file.correctness import check_predicted, compared, read_correct, right_from
from failpred_jax.prediction_file.fields import CONFIDENCE, NO_SLICES, OUTPUTS, SAMPLES, flattened, taken
from failpred_jax.prediction_file.labels import IgnoreLabel, leave_out, read_labels
from failpred_jax.prediction_file.names import vague_names
from failpred_jax.prediction_file.outputs import LOG_FLOOR, Outputs, read_outputs
from failpred_jax.prediction_file.places import Places
from failpred_jax.prediction_file.repeated import without_repeated


@dataclass(frozen=True)
class Units:
    """Predictions of one part, flattened to N units; units that are masked or of the ignored label are left out.

    Attributes:
      labels: [N] int32 in [0, C); None where only `correct` is known.
      logits: [N, C] float32, raw logits or log-probabilities; None where only `correct` is known.
      probs: [N, C] float32, where probabilities are given: these, not divided by anything; else None.
      correct: [N] bool or float64 grades in [0, 1], as given; None where it follows from labels and logits.
      outputs_are: what was found in the file: 'logits', 'probabilities' or 'log-probabilities'; '' for none.
      features: [N, D] float32, or None.
      confidences: the user's own scores, each [N] in the type in which it was given.
      samples: 'mc_probs' and 'ensemble_probs', each [N, T, C] float32, where they are there.
      group: [N] int64, equal for units that belong together, or None.
      group_names: [G] what the file calls them, in the order of `group`.
      ids: [N] words, or None.
      weight: [N] float64, 0 or greater, what each unit counts; None where all count alike.
      slices: further columns, each [N].
      class_names: C names, in the order of the logits.
      shape: of the labels as given.
      notes: sentences on what was read otherwise than it was given.
    """

    labels: np.ndarray | None
    logits: np.ndarray | None
    correct: np.ndarray | None = None
    outputs_are: str = 'logits'
    features: np.ndarray | None = None
    probs: np.ndarray | None = None
    confidences: Mapping[str, np.ndarray] = field(default_factory=dict)
    samples: Mapping[str, np.ndarray] = field(default_factory=dict)
    group: np.ndarray | None = None
    group_names: np.ndarray | None = None
    ids: np.ndarray | None = None
    weight: np.ndarray | None = None
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def num_units(self) -> int:
        """N, of the units that are kept."""
        first = self.correct if self.labels is None else self.labels
        return 0 if first is None else len(first)

    @property
    def is_segmentation(self) -> bool:
        """Whether the units are pixels."""
        return len(self.shape) == 3

    @property
    def are_raw_logits(self) -> bool:
        """Whether the logits have a scale of their own, which probabilities do not tell."""
        return self.outputs_are == 'logits'

    @property
    def num_classes(self) -> int:
        """C, or 0 where there are no classes."""
        return 0 if self.logits is None else self.logits.shape[-1]

    @property
    def probabilities(self) -> np.ndarray | None:
        """[N, C] float32, as given, or the softmax of the logits; None where there are no classes."""
        if self.probs is not None or self.logits is None:
            return self.probs
        return softmax(self.logits.astype(np.float64), axis=-1).astype(np.float32)

    def with_notes(self, notes: tuple[str, ...]) -> 'Units':
        """Return the units with further notes before their own."""
        return dataclasses.replace(self, notes=(*notes, *self.notes))


def parse_part(
    given: Mapping[str, np.ndarray],
    prefix: str,
    class_names: tuple[str, ...],
    ignore_label: IgnoreLabel,
    problems: list[str],
    right_at: float | None = None,
    rows: np.ndarray | None = None,
) -> Units | None:
    """Return the units of one part, or None, having added what is wrong to `problems`.

    Args:
      given: arrays by name, without their prefix.
      prefix: of the part, for messages.
      class_names: of all parts; () if the file has none.
      ignore_label: units of this label are left out, with '' those without one.
      problems: sentences for the user, added to.
      right_at: grades of at least this are right, others wrong; None leaves grades as they are.
      rows: where the units stood in the file, from 0; None where it holds no others.
    """
    before, notes = len(problems), []
    given = without_repeated(_without_single_columns(given), prefix, notes, problems, rows)
    shape = _unit_shape(given, prefix, problems)
    if len(problems) > before:
        return None
    kept, places = np.ones(shape, bool), Places(rows, int(np.prod(shape[1:])))
    if 'mask' in given:
        kept &= _mask(given['mask'], prefix, problems)
    labels, outputs, kept = _classes(given, kept, class_names, ignore_label, prefix, notes, problems, places)
    correct, kept = _correct(given, kept, ignore_label, right_at, prefix, notes, problems, places)
    if not kept.any():
        problems.append(f'no unit of the {prefix or "evaluated "}part is left after the mask and the ignored label')
        return None
    flat = kept.reshape(-1)
    units = flattened(given, flat, prefix, problems, places)
    if len(problems) > before:
        return None
    correct = None if correct is None else correct.reshape(-1)[flat]
    logits = probs = None
    if labels is not None and outputs is not None:
        labels, logits = labels.reshape(-1)[flat], taken(outputs.logits, flat)
        probs = None if outputs.probs is None else taken(outputs.probs, flat)
        if outputs.kind != 'logits':
            notes += _zero_labels(labels, logits, prefix)
        correct = None if correct is None else _agreeing(correct, labels, logits, prefix, problems)
        if 'predicted' in given:
            check_predicted(given['predicted'].reshape(-1)[flat], logits, class_names, prefix, problems)
    if len(problems) > before:
        return None
    if len(shape) == 1:
        notes += repeated_ids(units['ids'], flat, prefix, places)
    class_names = () if logits is None else class_names or tuple(map(str, range(logits.shape[-1])))
    return Units(
        labels, logits, correct, '' if outputs is None else outputs.kind, class_names=class_names, shape=shape,
        notes=tuple(notes), probs=probs, **units,
    )  # fmt: skip


def _correct(
    given: Mapping[str, np.ndarray],
    kept: np.ndarray,
    ignore_label: IgnoreLabel,
    right_at: float | None,
    prefix: str,
    notes: list[str],
    problems: list[str],
    places: Places,
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return what the file says of being right (None where it says nothing), and which units are kept."""
    if 'correct' in given:
        if ignore_label == '':
            kept = leave_out(given['correct'], ignore_label, kept, f'{prefix}correct', notes)
        correct = read_correct(given['correct'], kept, prefix, problems, places)
        return right_from(correct, right_at, prefix, notes), kept
    if 'predicted' in given and not any(name in given for name in OUTPUTS):
        return compared(given['predicted'], given['labels'], ignore_label, kept, prefix, notes, problems, places)
    return None, kept


def _without_single_columns(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays with [N, 1], as a frame of one column comes, as [N]."""
    return {
        name: array[:, 0] if array.ndim == 2 and array.shape[1] == 1 and name not in (*OUTPUTS, 'features') else array
        for name, array in given.items()
    }


def _classes(
    given: Mapping[str, np.ndarray],
    kept: np.ndarray,
    class_names: tuple[str, ...],
    ignore_label: IgnoreLabel,
    prefix: str,
    notes: list[str],
    problems: list[str],
    places: Places,
) -> tuple[np.ndarray | None, Outputs | None, np.ndarray]:
    """Return labels and outputs (None where they are not there, or not usable), and which units are kept."""
    labels = None
    name = next((name for name in OUTPUTS if name in given), '')
    if not name:
        return None, None, kept
    outputs = read_outputs(given[name], name, kept.shape, prefix, kept, notes, problems, places)
    is_one_column = given[name].shape in (kept.shape, (*kept.shape, 1))
    # The last axis holds the classes, if there is one at all; read_outputs has said so if there is none.
    num_classes = 2 if is_one_column else given[name].shape[-1] if given[name].ndim else 0
    if class_names and len(class_names) != num_classes:
        problems.append(_names_problem(class_names, num_classes, prefix + name))
    elif 'labels' in given and num_classes >= 2:
        found = read_labels(
            given['labels'], num_classes, class_names, ignore_label, kept, prefix, notes, problems, places
        )
        if found is not None:
            labels, kept = found
    return labels, outputs, kept


def _names_problem(class_names: tuple[str, ...], num_classes: int, outputs: str) -> str:
    if len(class_names) == 1 and num_classes == 2:
        only = f'{outputs}_{class_names[0]}'
        return (
            f"'{only}' is the only column of outputs, and one name does not say which class is the other: add the "
            f"column '{outputs}_NAME' of the other class, or call the one column '{outputs}' and the labels 1 "
            f"('{class_names[0]}') and 0"
        )
    return f"'class_names' has {numbered(len(class_names), 'name')}, but there are {num_classes} classes"


def _unit_shape(given: Mapping[str, np.ndarray], prefix: str, problems: list[str]) -> tuple[int, ...]:
    """Return the shape of the units, (N,) or (N, H, W), having checked which arrays are there and that they fit."""
    before = len(problems)
    outputs = [name for name in OUTPUTS if name in given]
    has_outcome = 'correct' in given or {'labels', 'predicted'} <= given.keys()
    if not outputs and not has_outcome:
        there = f'; what is there: {", ".join(map(repr, list(given)[:12]))}{vague_names(given)}' if given else ''
        both = 'it' if 'labels' in given else 'both'
        problems.append(
            f"'{prefix}logits' (or probs, or log_probs) with '{prefix}labels' is missing; add {both}, or give "
            f"'{prefix}correct' (or '{prefix}predicted' beside the labels) and a '{prefix}confidence_<name>'{there}"
        )
    elif outputs and 'labels' not in given:
        problems.append(f"'{prefix}labels' is missing")
    elif not outputs and 'labels' in given and 'predicted' not in given:
        problems.append(
            f"'{prefix}labels' is there without '{prefix}logits' or '{prefix}probs'; drop it, or add them, or "
            f"'{prefix}predicted'"
        )
    elif not outputs and not any(name.startswith(CONFIDENCE) for name in given):
        what = 'correct' if 'correct' in given else 'predicted'
        others = [name for name, array in given.items() if name not in NO_SLICES and array.ndim == 1][:8]
        there = f' (columns that may be one: {", ".join(others)})' if others else ''
        problems.append(
            f"'{prefix}{what}' is there without a '{prefix}confidence_<name>' to judge; rename the column{there}"
        )
    elif not outputs and {'correct', 'predicted'} <= given.keys():
        problems.append(f"'{prefix}correct' and '{prefix}predicted' both say what is right; keep one")
    if len(problems) > before:
        return ()
    first = 'labels' if outputs or 'correct' not in given else 'correct'
    if not outputs:
        shape = given[first].shape
    else:
        labels = given['labels']
        is_one_hot = labels.ndim == 2 and labels.shape == given[outputs[0]].shape and labels.dtype.kind not in 'USO'
        shape = labels.shape[:1] if is_one_hot else labels.shape
    if len(shape) not in (1, 3):
        problems.append(f"'{prefix}{first}' has shape {shape}; it must be (N,) or (N, H, W)")
    elif 0 in shape:
        problems.append(f"'{prefix}{first}' is empty")
    else:
        problems += _misshapen(given, shape, prefix)
    return shape


def _misshapen(given: Mapping[str, np.ndarray], shape: tuple[int, ...], prefix: str) -> list[str]:
    problems = []
    for name, array in given.items():
        if name in OUTPUTS or name in ('labels',):
            continue
        if name == 'features':
            fits, wanted = array.ndim == len(shape) + 1 and array.shape[:-1] == shape, (*shape, 'D')
        elif name in SAMPLES:
            fits, wanted = array.ndim == len(shape) + 2 and array.shape[: len(shape)] == shape, (*shape, 'T', 'C')
        else:
            fits, wanted = array.shape == shape, shape
        if not fits:
            problems.append(f"'{prefix}{name}' has shape {array.shape}; it must be {wanted}, as the labels")
    return problems


def _mask(array: np.ndarray, prefix: str, problems: list[str]) -> np.ndarray:
    words = {'true': True, 'false': False, '1': True, '0': False}
    if array.dtype.kind in 'US':
        lowered = np.char.lower(np.char.strip(array.astype(str)))
        if set(np.unique(lowered)) <= set(words):
            return np.vectorize(words.get, otypes=[bool])(lowered)
    elif array.dtype.kind in 'biuf' and np.isin(array, (0, 1)).all():
        return array.astype(bool)
    problems.append(f"'{prefix}mask' holds other values than True and False (or 1 and 0)")
    return np.ones(array.shape, bool)


def _zero_labels(labels: np.ndarray, logits: np.ndarray, prefix: str) -> list[str]:
    """Return a note on units whose label was given no probability at all; `logits` are log-probabilities here."""
    own = np.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
    count = int(np.count_nonzero(own <= LOG_FLOOR))
    if not count:
        return []
    return [f"{count:,} units give their own label ('{prefix}labels') the probability 0; NLL counts it as 1e-300"]


def _agreeing(
    correct: np.ndarray, labels: np.ndarray, logits: np.ndarray, prefix: str, problems: list[str]
) -> np.ndarray | None:
    """Return None, since labels and logits say it all, having checked that they say the same."""
    follows = logits.argmax(axis=-1) == labels
    count = int(np.count_nonzero(correct.astype(np.float64) != follows))
    if count:
        problems.append(
            f"'{prefix}correct' contradicts '{prefix}labels' and the largest output for {count:,} of {len(labels):,} "
            'units; drop one of them, or correct it'
        )
    return None
