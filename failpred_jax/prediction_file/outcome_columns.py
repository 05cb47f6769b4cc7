"""Columns that tell which predictions are right: to search or to decide by them is to look the answer up."""

import re
from collections.abc import Mapping

import numpy as np

LABELS, CORRECTNESS = 'the labels', 'what is correct'
# With fewer units besides the most frequent kind, any column may be one-to-one with them by chance.
FEWEST = 5
_LABEL_NAMES = ('true_class', 'true_label', 'labels', 'label', 'y_true', 'target', 'targets', 'ground_truth')
# As `correct_<component>` of --mode=combine; a 'correction' of something else is none.
_CORRECT_NAME = re.compile(r'(is_)?correct(ness)?(_.*)?', re.IGNORECASE)


def outcome_columns(
    columns: Mapping[str, np.ndarray], correct: np.ndarray | None = None, labels: np.ndarray | None = None
) -> dict[str, str]:
    """Return the columns that hold the labels or what is correct, each with which of them: by name, and by value.

    By value: a column that is one-to-one with them over all units, in whichever words or numbers.

    Args:
      columns: name -> [N].
      correct: [N] bool, or None where it is not known; other types are not compared.
      labels: [N], or None where they are not known.
    """
    compared = None if correct is None or correct.dtype != bool else correct
    if labels is None:
        labels = columns.get('true_class')
    found = {}
    for name, values in columns.items():
        if name.lower() in _LABEL_NAMES or (labels is not None and _is_renamed(values, labels)):
            found[name] = LABELS
        elif _CORRECT_NAME.fullmatch(name) or (compared is not None and _is_renamed(values, compared)):
            found[name] = CORRECTNESS
    return found


def _is_renamed(values: np.ndarray, others: np.ndarray) -> bool:
    """Return whether two columns [N] tell the same units apart, by whichever names; a constant tells nothing."""
    if values.shape != others.shape or values.dtype.kind not in 'biufSU':
        return False
    kinds, first, place, count = np.unique(others, return_index=True, return_inverse=True, return_counts=True)
    # One unit of each kind says what it must be called; most columns end here.
    if len(others) - count.max() < FEWEST or len(np.unique(values[first])) < len(kinds):
        return False
    return bool((values == values[first][place.reshape(-1)]).all())
