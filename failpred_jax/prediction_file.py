"""A file of somebody's predictions: read without ever unpickling, and checked for everything at once.

An npz holds arrays of these names; a csv holds a column for each name, with `logits_0, logits_1, ...` for the classes.

  labels              [N] or [N, H, W] integers
  logits or probs     [N, C] or [N, H, W, C]; `probs` are class probabilities, whose logarithms stand for logits
  confidence_<name>   shaped as labels, optional: your own scores, higher means more confident
  features            [N, D], optional: for the scores that measure distances
  mask                shaped as labels, optional, bool: False leaves a unit out (a void class)
  val_<any of these>  the same of held-out units, optional: for the scores that are fitted
  train_logits (or train_probs), train_labels, train_features
                      the same of the training units, optional: for the scores that are fitted on them
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from failpred_jax.errors import UserError, nearest
from failpred_jax.files import DAMAGE

CONFIDENCE = 'confidence_'
PARTS = {'': 'evaluated', 'val_': 'validation', 'train_': 'training'}
SINGLE = ('labels', 'logits', 'probs', 'features', 'mask')
# What our own evaluation folder holds besides; it follows from the rest.
IGNORED = ('correct',)
SUM_TOLERANCE = 1e-3
# Below this a probability's logarithm says nothing more about the order of classes.
SMALLEST = 1e-38


@dataclass(frozen=True)
class Units:
    """Predictions of one part, flattened to N units, with masked units left out.

    Attributes:
      labels: [N] int32.
      logits: [N, C] float32.
      features: [N, D] float32, or None.
      confidences: the user's own scores, each [N] of the type that was given.
      shape: of the labels as given.
    """

    labels: np.ndarray
    logits: np.ndarray
    features: np.ndarray | None = None
    confidences: Mapping[str, np.ndarray] = field(default_factory=dict)
    shape: tuple[int, ...] = ()

    @property
    def is_segmentation(self) -> bool:
        """Whether the units are pixels."""
        return len(self.shape) == 3


def read_predictions(path: Path) -> dict[str, Units]:
    """Return part ('evaluated', 'validation', 'training') -> Units; the first is always there.

    Raises:
      UserError: naming everything that is wrong with the file.
    """
    return parse_arrays(_read_arrays(path), f"'{path}'")


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"there is no predictions file '{path}'; give an .npz or a .csv with --predictions=FILE")
    if path.suffix == '.csv':
        return _read_csv(path)
    if path.suffix != '.npz':
        raise UserError(f"the predictions file '{path}' is neither .npz nor .csv; save it with numpy.savez")
    arrays, problems = {}, []
    # Opened here: numpy leaves the file open when it finds no archive in it.
    with path.open('rb') as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except DAMAGE as error:
            raise UserError(f"the predictions file '{path}' is no npz archive, or is damaged: {error}") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UserError(f"the predictions file '{path}' holds one nameless array; save several with numpy.savez")
        for name in archive.files:
            try:
                arrays[name] = archive[name]
            except DAMAGE as error:
                if 'Object arrays' in str(error):
                    found = 'holds Python objects, which are never unpickled; save plain numbers'
                else:
                    found = f'is damaged: {error}'
                problems.append(f"array '{name}' {found}")
    _raise(problems, f"'{path}'")
    return arrays


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open(newline='', encoding='utf-8') as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(f"the predictions file '{path}' cannot be read as csv: {error}") from error
    problems = []
    ragged = [i for i, row in enumerate(rows, start=2) if len(row) != len(header)]
    if ragged:
        problems.append(f'line {ragged[0]} has another number of columns than the header ({len(header)})')
        _raise(problems, f"'{path}'")
    columns: dict[str, np.ndarray] = {}
    for i, name in enumerate(header):
        try:
            columns[name] = np.array([float(row[i]) for row in rows])
        except ValueError as error:
            problems.append(f"column '{name}': {error}")
    _raise(problems, f"'{path}'")
    arrays: dict[str, np.ndarray] = {}
    stacks: dict[str, dict[int, np.ndarray]] = {}
    for name, column in columns.items():
        stem, _, number = name.rpartition('_')
        if number.isdigit() and stem.removeprefix('val_').removeprefix('train_') in ('logits', 'probs', 'features'):
            stacks.setdefault(stem, {})[int(number)] = column
        else:
            whole = name.endswith(('labels', 'mask')) and bool(np.all(column == np.round(column)))
            arrays[name] = column.astype(np.int64) if whole else column
    for stem, numbered in stacks.items():
        if sorted(numbered) != list(range(len(numbered))):
            problems.append(f"columns '{stem}_0' ... are not numbered without gaps")
        arrays[stem] = np.stack([numbered[i] for i in sorted(numbered)], axis=-1)
    _raise(problems, f"'{path}'")
    return arrays


def parse_arrays(arrays: Mapping[str, np.ndarray], where: str) -> dict[str, Units]:
    """Return part -> Units of named arrays; see read_predictions.

    Args:
      arrays: as the module describes.
      where: the name of the file, for messages.
    """
    problems: list[str] = []
    parts: dict[str, dict[str, np.ndarray]] = {name: {} for name in PARTS.values()}
    known = [p + n for p in PARTS for n in (*SINGLE, CONFIDENCE + '<name>')]
    for name, array in arrays.items():
        prefix = next((p for p in ('val_', 'train_') if name.startswith(p)), '')
        stem = name.removeprefix(prefix)
        if stem in IGNORED:
            continue
        if stem not in SINGLE and not (stem.startswith(CONFIDENCE) and stem != CONFIDENCE):
            problems.append(f"unknown array '{name}'{nearest(name, known)} (known: {', '.join(known)})")
            continue
        parts[PARTS[prefix]][stem] = np.asarray(array)
    found = {}
    for prefix, part in PARTS.items():
        if parts[part] or not prefix:
            units = _parse_part(parts[part], prefix, problems)
            if units is not None:
                found[part] = units
    if not problems:
        problems += _check_together(found)
    _raise(problems, where)
    return found


def _parse_part(given: dict[str, np.ndarray], prefix: str, problems: list[str]) -> Units | None:
    """Return the units of one part, or None, having added what is wrong to `problems`."""
    before = len(problems)
    for name, array in given.items():
        if array.dtype.kind not in 'biuf':
            problems.append(f"'{prefix}{name}' has type {array.dtype}; it must hold numbers")
    if 'labels' not in given:
        problems.append(f"'{prefix}labels' is missing")
    if ('logits' in given) == ('probs' in given):
        both = 'logits' in given
        problems.append(
            f"'{prefix}logits' and '{prefix}probs' are {'both there; keep one' if both else 'both missing'}"
        )
    if len(problems) > before:
        return None
    labels, kind = given['labels'], 'logits' if 'logits' in given else 'probs'
    outputs = given[kind]
    if labels.ndim not in (1, 3):
        problems.append(f"'{prefix}labels' has shape {labels.shape}; it must be (N,) or (N, H, W)")
    if labels.dtype.kind not in 'iu':
        problems.append(f"'{prefix}labels' has type {labels.dtype}; it must hold integers")
    if labels.size == 0:
        problems.append(f"'{prefix}labels' is empty")
    if outputs.shape[:-1] != labels.shape or outputs.ndim != labels.ndim + 1:
        problems.append(f"'{prefix}{kind}' has shape {outputs.shape}; it must be the shape of labels and classes: "
                        f'{(*labels.shape, "C")}')  # fmt: skip
    elif outputs.shape[-1] < 2:
        problems.append(f"'{prefix}{kind}' has {outputs.shape[-1]} classes; there must be at least 2")
    for name in given:
        if (name == 'mask' or name.startswith(CONFIDENCE)) and given[name].shape != labels.shape:
            problems.append(
                f"'{prefix}{name}' has shape {given[name].shape}; it must be that of labels: {labels.shape}"
            )
    features = given.get('features')
    if features is not None and features.shape[:-1] != labels.shape:
        problems.append(f"'{prefix}features' has shape {features.shape}; it must be {(*labels.shape, 'D')}")
    if len(problems) > before:
        return None
    mask = given.get('mask', np.ones(labels.shape, bool)).astype(bool).reshape(-1)
    if not mask.any():
        problems.append(f"'{prefix}mask' leaves no unit")
        return None
    labels_flat = labels.reshape(-1)[mask]
    outputs = outputs.reshape(-1, outputs.shape[-1])[mask]
    _check_values(outputs, labels_flat, kind, prefix, problems)
    flat = {}
    for name, array in given.items():
        if name.startswith(CONFIDENCE):
            # As it is: in float32 different float64 or int64 values would become ties.
            flat[name.removeprefix(CONFIDENCE)] = array.reshape(-1)[mask]
            if np.isnan(flat[name.removeprefix(CONFIDENCE)]).any():
                count = int(np.isnan(array.reshape(-1)[mask]).sum())
                problems.append(f"'{prefix}{name}' holds {count} NaN; a ranking needs numbers (infinities are allowed)")
    if features is not None:
        features = features.reshape(-1, features.shape[-1])[mask].astype(np.float32)
        if not np.isfinite(features).all():
            problems.append(f"'{prefix}features' holds values that are not finite")
    if len(problems) > before:
        return None
    # In double precision, or the floor of a float16 would be 0.
    logits = outputs if kind == 'logits' else np.log(np.maximum(outputs.astype(np.float64), SMALLEST))
    return Units(labels_flat.astype(np.int32), _narrow(logits), features, flat, labels.shape)


def _narrow(logits: np.ndarray) -> np.ndarray:
    """Return logits [N, C] as float32 with the same predicted classes, also where rounding would make a tie."""
    with np.errstate(over='ignore'):
        narrow = logits.astype(np.float32)
    top = logits.argmax(axis=-1)
    lost = np.flatnonzero(narrow.argmax(axis=-1) != top)
    narrow[lost, top[lost]] = np.nextafter(narrow[lost].max(axis=-1), np.float32(np.inf))
    return narrow


def _check_values(outputs: np.ndarray, labels: np.ndarray, kind: str, prefix: str, problems: list[str]) -> None:
    num_classes = outputs.shape[-1]
    bad = (labels < 0) | (labels >= num_classes)
    if bad.any():
        problems.append(
            f"'{prefix}labels' has {int(bad.sum())} values out of range, such as {labels[bad][0]}; with {num_classes} "
            f"classes they must be 0 to {num_classes - 1} (leave units out with '{prefix}mask')"
        )
    with np.errstate(over='ignore'):
        bad = ~np.isfinite(outputs.astype(np.float32))
    if bad.any():
        problems.append(f"'{prefix}{kind}' holds {int(bad.sum())} values that are not finite (or not in float32)")
    elif kind == 'probs':
        if outputs.min() < 0 or outputs.max() > 1 + SUM_TOLERANCE:
            problems.append(f"'{prefix}probs' has values outside [0, 1]; did you mean '{prefix}logits'?")
        sums = outputs.sum(axis=-1, dtype=np.float64)
        off = np.abs(sums - 1) > SUM_TOLERANCE
        if off.any():
            problems.append(
                f"'{prefix}probs' does not sum to 1 (within {SUM_TOLERANCE}) for {int(off.sum())} units, such as "
                f'{sums[off][0]:.4g} for unit {int(np.argmax(off))}'
            )


def _check_together(found: Mapping[str, Units]) -> list[str]:
    """Return what is wrong between the parts."""
    problems = []
    first = found['evaluated']
    for name, units in found.items():
        if units.logits.shape[1] != first.logits.shape[1]:
            problems.append(
                f'the {name} part has {units.logits.shape[1]} classes, the evaluated {first.logits.shape[1]}'
            )
        if units.features is None:
            continue
        if first.features is None:
            problems.append(f"the {name} part has features, but the evaluated part has no 'features'")
        elif units.features.shape[1] != first.features.shape[1]:
            problems.append(
                f'the {name} part has {units.features.shape[1]} features, the evaluated {first.features.shape[1]}'
            )
    return problems


def _raise(problems: list[str], where: str) -> None:
    if problems:
        raise UserError('\n'.join([f'the predictions in {where} have problems:', *(f'  - {p}' for p in problems)]))
