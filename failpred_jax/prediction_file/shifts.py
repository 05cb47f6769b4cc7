"""The shifted parts of a file of predictions: `ood_<name>_...` of strangers, `shift_<name>_...` with labels."""

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from failpred_jax.prediction_file.labels import IgnoreLabel
from failpred_jax.prediction_file.part import CONFIDENCE, OUTPUTS, Units, parse_part

STRANGERS, LABELED = 'ood', 'shift'
# The name of the set may hold underscores; what comes after it may not be anything.
_NAME = re.compile(
    rf'({STRANGERS}|{LABELED})_(.+?)_(labels|logits|probs|log_probs|correct|predicted|features|mask|group|id|weight|'
    r'mc_probs|ensemble_probs|confidence_.+)'
)


def is_shift(part: str) -> bool:
    """Return whether a part is a shifted one, by its name, such as 'ood_kmnist'."""
    return part.partition('_')[0] in (STRANGERS, LABELED)


def split_shifts(names: list[str], problems: list[str]) -> dict[str, tuple[str, str]]:
    """Return name of an array -> (part, what it is called there), of those that belong to shifted parts.

    A column such as 'shift_worker_id', which no outputs or confidences stand beside, is left to slice by.
    What says that it is shifted, but not by what name, is added to `problems`.
    """
    problems += _nameless(names)
    found = {name: match for name in names if (match := _NAME.fullmatch(name))}
    parts: dict[str, set[str]] = {}
    for match in found.values():
        parts.setdefault(f'{match[1]}_{match[2]}', set()).add(match[3])
    real = {part for part, stems in parts.items() if any(s in OUTPUTS or s.startswith(CONFIDENCE) for s in stems)}
    return {name: (part, match[3]) for name, match in found.items() if (part := f'{match[1]}_{match[2]}') in real}


def _nameless(names: list[str]) -> list[str]:
    """Return a problem for each array that says that it is shifted, but not by what name."""
    pattern = re.compile(rf'({STRANGERS}|{LABELED})_({"|".join(OUTPUTS)}|{CONFIDENCE}.+)')
    return [
        f"'{name}' says of no set; name it: '{match[1]}_NAME_{match[2]}', such as '{match[1]}_kmnist_{match[2]}'"
        for name in names
        if (match := pattern.fullmatch(name))
    ]


def parse_shift(
    part: str,
    given: Mapping[str, np.ndarray],
    class_names: tuple[str, ...],
    ignore_label: IgnoreLabel,
    problems: list[str],
    right_at: float | None,
) -> Units | None:
    """Return the units of a shifted part, or None with what is wrong with it added to `problems`.

    Of strangers there are no labels: `correct` is False of all.
    """
    prefix = f'{part}_'
    if not part.startswith(STRANGERS):
        return parse_part(given, prefix, class_names, ignore_label, problems, right_at)
    known = [name for name in ('labels', 'correct', 'predicted') if name in given]
    if known:
        problems.append(
            f"'{prefix}{known[0]}' is there, but strangers are of no class, and no prediction of them is right; drop "
            f"it, or name the part '{LABELED}_{part.removeprefix(STRANGERS + '_')}_...' if its units are of the classes"
        )
        return None
    first = next(array for name, array in given.items() if name in OUTPUTS or name.startswith(CONFIDENCE))
    if not first.ndim or not len(first):
        problems.append(f'the {part} part is empty: it needs one row for each unit')
        return None
    has_outputs = any(name in given for name in OUTPUTS)
    # A class that they are not of, so that outputs are read as those of any part.
    stand_in = {'labels': np.zeros(len(first), np.int32)} if has_outputs else {'correct': np.zeros(len(first), bool)}
    units = parse_part({**given, **stand_in}, prefix, class_names, None, problems, None)
    return None if units is None else replace(units, correct=np.zeros(units.num_units, bool), notes=())


def check_columns(part: str, units: Units, first: Units) -> list[str]:
    """Return what a shifted part lacks of what the evaluated part has, or has more."""
    problems = []
    for name in first.confidences:
        if name not in units.confidences:
            problems.append(f"'{part}_{CONFIDENCE}{name}' is missing: the evaluated part has '{CONFIDENCE}{name}'")
    for name in units.confidences:
        if name not in first.confidences:
            problems.append(f"'{part}_{CONFIDENCE}{name}' is there, but the evaluated part has no '{CONFIDENCE}{name}'")
    if first.features is not None and units.features is None:
        problems.append(f"'{part}_features' is missing: the evaluated part has 'features'")
    if units.is_segmentation:
        problems.append(f'the {part} part holds pixels; shifted parts are of classified units')
    return problems
