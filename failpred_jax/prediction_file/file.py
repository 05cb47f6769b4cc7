"""A file of somebody's predictions, in any format that readers/ knows: named arrays become checked parts.

  labels              [N] or [N, H, W]: class numbers from 0, class names, truth values, or one-hot [N, C]
  logits, probs or log_probs
                      [N, C] or [N, H, W, C]; a single column [N] is that of class 1 of two
  correct             [N], truth values or grades in [0, 1]: this and a confidence are enough, without labels and
                      outputs; beside those, it is checked against them
  predicted           [N], the predicted class: with labels, and without outputs, it says what is correct
  confidence_<name>   shaped as labels, of any real type: your own scores, higher means more confident
  features            [N, D], for the scores that measure distances
  mask                shaped as labels, bool: False leaves a unit out
  class_names         [C], the names of the classes in the order of the logits
  group, id           [N]: units that belong together (a patient, a prompt), and a name for each unit
  weight              [N], 0 or greater: what a unit counts in the weighted figures
  mc_probs, ensemble_probs
                      [N, T, C]: class probabilities of dropout passes, or of the members of an ensemble
  ood_<name>_..., shift_<name>_...
                      the same of strangers, which have no labels, and of shifted units, which have; see shifts.py
  val_..., train_..., cal_...
                      the same of held-out units, of the training units, and of units for certificates alone, on which
                      nothing is fitted

A table may have one row per unit of any part instead, and a column `part` (or `split`) that says 'test', 'val', 'cal'
or 'train' of each; see dealing.py. Any other column [N] can be sliced by. Names close to one of these are taken for
misspellings.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.prediction_file.class_words import called_by_name, classes_as_written
from failpred_jax.prediction_file.dealing import COLUMNS, PREFIXES, Dealt, deal_parts
from failpred_jax.prediction_file.fields import CONFIDENCE
from failpred_jax.prediction_file.frames import without_frames
from failpred_jax.prediction_file.labels import IgnoreLabel
from failpred_jax.prediction_file.names import (
    PARTS,
    SINGLE,
    SYNONYMS,
    as_called,
    name_problem,
    of_arguments,
    plain_names,
    stem_of,
)
from failpred_jax.prediction_file.part import Units, parse_part
from failpred_jax.prediction_file.shifts import check_columns, is_shift, parse_shift, split_shifts
from failpred_jax.readers.reading import PIPE, Arrays, read_file

# Where arrays are from that no file holds.
ARGUMENTS = 'the arguments'
# Columns of --mode=predict and --mode=combine: numbers and truth values of a score.
_OF_SCORES = ('calibrated_', 'correct_')
_CLASSES = ('labels', 'predicted')


def read_predictions(path: Path, ignore_label: IgnoreLabel = None, right_at: float | None = None) -> dict[str, Units]:
    """Return part -> Units: 'evaluated', perhaps 'validation', 'training', 'calibration', 'ood_<name>', 'shift_<name>'.

    Args:
      path: of a file in any format of readers/, or '-' for standard input.
      ignore_label: units of this label are left out, with '' those without one; None where there is none.
      right_at: grades of at least this are right; None leaves grades as they are.

    Raises:
      UserError: naming everything that is wrong with the file.
    """
    arrays = read_named(path)
    where = 'standard input' if str(path) == PIPE else f"'{path}'"
    return parse_arrays(arrays, where, ignore_label, arrays.notes, right_at)


def read_named(path: Path) -> Arrays:
    """Return the arrays of a file by name; groups and classes that numbers would merge are as they are written."""
    stored = read_file(path)
    _check_columns(stored, path)
    shifted = split_shifts(list(stored), [])
    ours = {name: re.sub(r'^(?:val|train|cal)_', '', plain) for name, plain in plain_names(stored).items()}
    groups = [name for name, stem in ours.items() if name not in shifted and not _has_meaning(stem)]
    ours |= {name: stem for name, (_, stem) in shifted.items()}
    classes = [name for name, stem in ours.items() if stem_of(stem, stored[name]) in _CLASSES]
    return classes_as_written(stored, classes, groups)


def _check_columns(stored: Arrays, path: Path) -> None:
    """Raise a UserError for a table of text with one column: no predictions, so its cells are separated otherwise."""
    name, values = next(iter(stored.items()), ('', np.zeros(0)))
    # Formats that store types separate nothing.
    if len(stored) == 1 and stored.rewritten is not None and values.size == len(values):
        where = 'standard input' if str(path) == PIPE else f"'{path}'"
        raise UserError(
            f"{where} has one column, '{name[:60]}'; give a table with a header and columns labels, logits_0, "
            'logits_1, ... separated by commas, semicolons, tabs or |'
        )


def _has_meaning(stem: str) -> bool:
    known = (*SINGLE, *SYNONYMS, *COLUMNS, 'class_names')
    return stem in known or stem.startswith((CONFIDENCE, *_OF_SCORES))


def read_parts(path: Path) -> dict[str, Any]:
    """Return the arrays of a file by name, those of a column of parts dealt to the parts; nothing else is looked at."""
    stored = read_named(path)
    ours = plain_names(stored)
    where = 'standard input' if str(path) == PIPE else f"'{path}'"
    return dict(deal_parts({ours[name]: value for name, value in stored.items()}, where).arrays)


def parse_arrays(
    arrays: Mapping[str, Any],
    where: str,
    ignore_label: IgnoreLabel = None,
    notes: tuple[str, ...] = (),
    right_at: float | None = None,
) -> dict[str, Units]:
    """Return part -> Units of named arrays; see read_predictions.

    Args:
      arrays: as the module describes: NumPy or JAX arrays, tensors on any device, or anything NumPy can convert.
      where: the name of the file, for messages.
      ignore_label: units of this label are left out, with '' those without one; None where there is none.
      notes: what the reader of the file had to say; they become those of the evaluated part.
      right_at: grades of at least this are right; None leaves grades as they are.
    """
    ours = plain_names(arrays)
    problems: list[str] = []
    dealt = deal_parts(without_frames({ours[name]: value for name, value in arrays.items()}, problems), where)
    parts, class_names, called = _sorted_out(dealt, {our: name for name, our in ours.items()}, problems)
    found, of_parts = {}, []
    for prefix, part in PARTS.items():
        if parts[part] or not prefix:
            rows = dealt.rows.get(prefix)
            units = parse_part(parts[part], prefix, class_names, ignore_label, of_parts, right_at, rows)
            if units is not None:
                found[part] = units
    for part in (name for name in parts if is_shift(name)):
        units = parse_shift(part, parts[part], class_names, ignore_label, of_parts, right_at)
        if units is not None:
            found[part] = units
    # Those of one part speak of its arrays alone, so a name is the user's wherever it stands.
    problems += [as_called(problem, called) for problem in of_parts]
    if not problems:
        problems += _check_together(found)
    if where == ARGUMENTS:
        problems = [of_arguments(problem) for problem in problems]
    if problems:
        raise UserError('\n'.join([f'the predictions in {where} have problems:', *(f'  - {p}' for p in problems)]))
    found['evaluated'] = found['evaluated'].with_notes((*notes, *dealt.notes, *_shifted(found['evaluated'])))
    return found


def _sorted_out(
    dealt: Dealt, theirs: Mapping[str, str], problems: list[str]
) -> tuple[dict[str, dict[str, np.ndarray]], tuple[str, ...], dict[str, str]]:
    """Return part -> its arrays under our names, the names of the classes, and our names -> the user's.

    Args:
      dealt: the arrays.
      theirs: names of columns -> as the user wrote them.
      problems: sentences for the user, added to.
    """
    parts: dict[str, dict[str, np.ndarray]] = {name: {} for name in PARTS.values()}
    called: dict[str, str] = {}
    names = np.array([], str)
    shifted = split_shifts(list(dealt.arrays), problems)
    for name, value in dealt.arrays.items():
        prefix = next((p for p in PREFIXES if name.startswith(p)), '')
        written = theirs.get(name.removeprefix(prefix) if dealt.rows else name, name)
        try:
            array = as_numpy(value)
        except (ValueError, TypeError, RuntimeError) as error:
            problems.append(f"'{written}' cannot be made an array: {error}")
            continue
        if name == 'class_names':
            names = array
            continue
        if name in shifted:
            part, stem = shifted[name]
            parts.setdefault(part, {})[stem] = array
            continue
        stem = stem_of(name.removeprefix(prefix), array)
        part = parts[PARTS[prefix]]
        problem = name_problem(written, stem, array)
        if problem:
            problems.append(problem)
        elif stem in part:
            problems.append(f"'{written}' and '{prefix}{stem}' mean the same; keep one")
        else:
            part[stem] = array
            called[prefix + stem] = written
    class_names = _names(names, problems)
    of_classes = [(part, name) for part in parts.values() for name in _CLASSES if name in part]
    found = called_by_name([part[name] for part, name in of_classes], class_names, names.dtype.kind in 'iu', problems)
    for (part, name), labels in zip(of_classes, found, strict=True):
        part[name] = labels
    return parts, class_names, called


def _shifted(units: Units) -> list[str]:
    """Return a sentence if the labels seem to be numbered from 1, with the largest of them missing."""
    if units.labels is None or units.logits is None or (units.labels == 0).any():
        return []
    predicted = units.logits.argmax(axis=-1)
    as_given, shifted = (float(np.mean(predicted == labels)) for labels in (units.labels, units.labels - 1))
    if shifted <= as_given + 0.2:
        return []
    return [
        f'no unit has the label 0, and with 1 subtracted {shifted:.0%} of the predictions would be right instead of '
        f'{as_given:.0%}: are the labels numbered from 1?'
    ]


def as_numpy(value: Any) -> np.ndarray:
    """Return an array of any framework on the host, bfloat16 as float32 and Python objects as words or numbers.

    Raises:
      ValueError, TypeError or RuntimeError: it is no array, or its rows differ in length.
    """
    _check_nothing_masked(value)
    if hasattr(value, 'detach'):  # a tensor of torch, perhaps on a GPU or with a gradient
        value = value.detach().cpu()
        if str(value.dtype) == 'torch.bfloat16':
            value = value.float()
    array = np.asarray(value)
    if array.dtype.name == 'bfloat16' or array.dtype.name.startswith('float8'):
        return array.astype(np.float32)
    if array.dtype.kind == 'V' and not array.dtype.names:
        raise ValueError(
            f'it holds raw {array.dtype.itemsize}-byte words, as NumPy saves types that it does not know, such as '
            'bfloat16; cast to float32 before saving'
        )
    if array.dtype.kind == 'O':
        return _plain(array)
    return array


def _check_nothing_masked(value: Any) -> None:
    """Raise a ValueError for NumPy's masked arrays, whose mask an array would lose."""
    if np.ma.is_masked(value):
        raise ValueError("it is a masked array; give its data, and as 'mask' what counts (False leaves a unit out)")


def _plain(array: np.ndarray) -> np.ndarray:
    """Return an array of Python objects as words or numbers."""
    kinds = {type(x) for x in array.reshape(-1)}
    if kinds <= {str, bytes, np.str_, np.bytes_}:
        return np.array([x.decode() if isinstance(x, bytes) else str(x) for x in array.reshape(-1)]).reshape(
            array.shape
        )
    if all(issubclass(kind, bool | int | float | np.number | np.bool_ | type(None)) for kind in kinds):
        return np.array([np.nan if x is None else x for x in array.reshape(-1)]).reshape(array.shape)
    raise TypeError(f'it holds Python objects ({", ".join(sorted(kind.__name__ for kind in kinds))}), not numbers')


def _names(array: np.ndarray, problems: list[str]) -> tuple[str, ...]:
    if array.ndim != 1:
        problems.append(f"'class_names' has shape {array.shape}; it must be (C,), one name per class")
        return ()
    # As labels are read, so that 'probs_ cat' is of ' cat' and of 'cat'.
    names = tuple((x.decode(errors='replace') if isinstance(x, bytes) else str(x)).strip() for x in array.tolist())
    if len(set(names)) < len(names):
        problems.append("'class_names' has the same name twice; every class needs a name of its own")
    return names


def _check_together(found: Mapping[str, Units]) -> list[str]:
    """Return what is wrong between the parts."""
    problems = []
    first = found['evaluated']
    for name, units in found.items():
        if (units.logits is None) != (first.logits is None):
            problems.append(
                f'the {name} part has {"no " if units.logits is None else ""}outputs, unlike the evaluated part'
            )
        elif units.logits is not None and units.num_classes != first.num_classes:
            problems.append(f'the {name} part has {units.num_classes} classes, the evaluated {first.num_classes}')
        if units.features is not None:
            if first.features is None:
                problems.append(f"the {name} part has features, but the evaluated part has no 'features'")
            elif units.features.shape[1] != first.features.shape[1]:
                problems.append(
                    f'the {name} part has {units.features.shape[1]} features, the evaluated {first.features.shape[1]}'
                )
        if is_shift(name):
            problems += check_columns(name, units, first)
        if units.are_raw_logits != first.are_raw_logits:
            problems.append(
                f"the {name} part's outputs look like {units.outputs_are}, the evaluated part's like "
                f'{first.outputs_are}; give all parts the same'
            )
    return problems
