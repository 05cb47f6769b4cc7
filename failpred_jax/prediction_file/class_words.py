"""What labels mean where classes are called by what looks like a number or a truth value: 012 and 12, 250.1 and 250.10.

Read as numbers, codes that differ are one class, and a class that is named True may be anywhere in the outputs.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

import numpy as np

from failpred_jax.prediction_file.labels import as_words
from failpred_jax.readers.reading import Arrays

_DECIMAL = re.compile(r'[+-]?[0-9]+(\.[0-9]+)?')
_WHOLE = re.compile(r'-?[0-9]+(\.0)?')
# Names of two classes, the one that is not so before the one that is.
_TRUTH = (('false', 'true'), ('no', 'yes'), ('f', 't'), ('n', 'y'), ('negative', 'positive'), ('neg', 'pos'))


def classes_as_written(stored: Arrays, names: Collection[str], groups: Collection[str] = ()) -> Arrays:
    """Return the arrays of a file, its columns of classes as they are written where numbers would merge some.

    They are where two of the words are one number, where several columns write numbers in such a way or another holds
    words, and where the words are names of classes. Else 01 beside a prediction 1 is the same class.

    Args:
      stored: as they were read.
      names: of the columns that hold classes, of all parts.
      groups: of columns that are as they are written wherever numbers would lose it.
    """
    written = stored.as_written([*names, *groups])
    changed = [name for name in names if written[name].dtype.kind == 'U' and stored[name].dtype.kind != 'U']
    words = {name: set(np.unique(written[name]).tolist()) - {''} for name in changed}
    known = stored.get('class_names')
    called = set() if known is None or known.dtype.kind != 'U' else set(known.tolist())
    has_words = any(stored[name].dtype.kind in 'US' for name in names)
    if any(have_two_of_one(found) or found <= called for found in words.values()) or len(changed) + has_words > 1:
        return written
    return Arrays({**written, **{name: stored[name] for name in changed}}, written.notes)


def have_two_of_one(words: Iterable[str]) -> bool:
    """Return whether two of these words are one number; 1 and 1.0 are one class, where all words are whole numbers."""
    found = [word for word in words if _DECIMAL.fullmatch(word)]
    if all(_WHOLE.fullmatch(word) for word in found):
        found = list({word.removesuffix('.0') for word in found})
    return len({Decimal(word) for word in found}) < len(found)


def called_by_name(
    labels: Sequence[np.ndarray], class_names: Sequence[str], are_numbers: bool, problems: list[str]
) -> list[np.ndarray]:
    """Return labels and predicted classes, those as words that are names of classes and no places in their list.

    Args:
      labels: of all parts, [N] each; one-hot labels stay as they are.
      class_names: C of them.
      are_numbers: whether the names were given as numbers.
      problems: sentences for the user, added to where labels may mean two things.
    """
    if not class_names or tuple(class_names) == tuple(map(str, range(len(class_names)))):
        return list(labels)
    lowered = tuple(name.lower() for name in class_names)
    if truth := next((pair for pair in _TRUTH if {*lowered} == {*pair}), None):
        return _as_truth(labels, class_names, lowered == truth[::-1], truth == _TRUTH[0], problems)
    numeric = [found for found in labels if _is_column(found) and found.dtype.kind in 'iuf']
    if not numeric or not all(_WHOLE.fullmatch(name) for name in class_names):
        return list(labels)
    if not are_numbers:
        # In words, such as a data set's own classes 3 and 7, labels may be places as well as names.
        values = set(np.unique(np.concatenate([as_words(found).reshape(-1) for found in numeric])).tolist()) - {''}
        if values <= set(map(str, range(len(class_names)))):
            if values <= set(class_names):
                problems.append(
                    f'the classes are named by numbers ({", ".join(class_names[:8])}), and the labels are numbers too, '
                    "which may be these names or places in this list: give labels as words (or 'class_names' as "
                    'numbers) if they are names, and leave the names out if they are places'
                )
            return list(labels)
        if not values <= set(class_names):
            return list(labels)
    return [as_words(found) if found.dtype.kind in 'iuf' and _is_column(found) else found for found in labels]


def _as_truth(
    labels: Sequence[np.ndarray], class_names: Sequence[str], is_reversed: bool, are_truth: bool, problems: list[str]
) -> list[np.ndarray]:
    """Return truth values as the names of the classes; numbers are places, but for classes named True and False."""
    found = []
    for values in labels:
        if values.dtype.kind == 'b' and _is_column(values):
            values = np.asarray(class_names)[(values ^ is_reversed).astype(int)]
        elif values.dtype.kind in 'iuf' and _is_column(values) and is_reversed and are_truth:
            problems.append(
                f"the classes are named '{class_names[0]}' and '{class_names[1]}' in this order, and the labels are "
                'numbers, so that 1 may be either: give labels as True and False, or the classes in the order False, '
                'True'
            )
        found.append(values)
    return found


def _is_column(values: np.ndarray) -> bool:
    return values.ndim != 2 or values.shape[1] == 1
