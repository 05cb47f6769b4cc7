"""Labels as people have them (numbers of any width, words, truth values, one-hot) as class numbers from 0."""

import re
import shlex

import numpy as np

from failpred_jax.errors import numbered
from failpred_jax.prediction_file.places import Places

# What units are left out by: a number, a word, or '' for what is missing.
IgnoreLabel = int | str | None
# Labels that other tools use for "no class".
USUAL_VOID = (-1, 255)
# The number of a class in words, as decimals too: beside a word, a table holds words alone.
_NUMBER = re.compile(r'[0-9]{1,9}(\.0+)?')
LEAVE_OUT_MISSING = '--ignore_label= (and nothing after it), or with '


def leave_out(
    labels: np.ndarray, ignore_label: IgnoreLabel, kept: np.ndarray, name: str, notes: list[str]
) -> np.ndarray:
    """Return which units are kept, shaped as `kept`, without those of the ignored label; with '', those without any."""
    if ignore_label is None or labels.size != kept.size:
        return kept
    labels = labels.reshape(kept.shape)
    if ignore_label == '':
        void = kept & is_missing(labels)
    elif labels.dtype.kind in 'SU':
        void = kept & (as_words(labels) == str(ignore_label))
    else:
        void = kept & (labels == ignore_label) if isinstance(ignore_label, int) else np.zeros(kept.shape, bool)
    if void.any():
        what = 'without a label' if ignore_label == '' else f'with the label {ignore_label}'
        notes.append(f"left out by '{name}': {numbered(int(void.sum()), 'unit')} {what}")
    return kept & ~void


def is_missing(values: np.ndarray) -> np.ndarray:
    """Return which values are NaN, or words without a letter."""
    if values.dtype.kind == 'f':
        return np.isnan(values)
    return as_words(values) == '' if values.dtype.kind in 'SU' else np.zeros(values.shape, bool)


def as_words(values: np.ndarray) -> np.ndarray:
    """Return values as words without blanks around them; whole numbers without a decimal point, NaN as ''."""
    if values.dtype.kind == 'S':
        values = np.char.decode(values, 'utf-8', 'replace')
    if values.dtype.kind == 'f':
        known = np.where(np.isfinite(values), values, 0)
        is_whole = (np.abs(known) < 2**53).all() and (known == np.round(known)).all()
        text = known.astype(np.int64).astype(str) if is_whole else values.astype(str)
        return np.where(np.isnan(values), '', np.where(np.isfinite(values), text, values.astype(str)))
    return np.char.strip(values.astype(str))


def missing_problem(missing: np.ndarray, name: str, prefix: str, places: Places, what: str = '') -> str:
    """Return what is said of units of which something is missing, bool, and what to do about them.

    `what` is the option, if there is one, that leaves them out.
    """
    count = int(missing.sum())
    those = 'row' if count == 1 else 'rows'
    return (
        f"'{name}' is missing for {numbered(count, 'unit')} ({places.named(missing)}): fill it in, take the {those} "
        f"out, or leave out such units with {what}a column '{prefix}mask' that is False there"
    )


def read_labels(
    labels: np.ndarray,
    num_classes: int,
    class_names: tuple[str, ...],
    ignore_label: IgnoreLabel,
    kept: np.ndarray,
    prefix: str,
    notes: list[str],
    problems: list[str],
    places: Places,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return labels as int32 in [0, C), shaped as `kept`, and which units are kept; None if they are not usable.

    Args:
      labels: as given.
      num_classes: C.
      class_names: C names, or () if there are none.
      ignore_label: units of this label are left out, with '' those without one; None where there is none.
      kept: which units count so far, bool; labels of the others may hold anything.
      prefix: of the part, for messages.
      notes, problems: sentences for the user, added to.
      places: where the units are in the file.
    """
    name = f'{prefix}labels'
    kept = leave_out(labels, ignore_label, kept, name, notes)
    if labels.size == kept.size and (missing := is_missing(labels.reshape(kept.shape)) & kept).any():
        problems.append(missing_problem(missing, name, prefix, places, LEAVE_OUT_MISSING))
        return None
    if labels.dtype.kind in 'SU':
        found = _from_words(labels.reshape(kept.shape), num_classes, class_names, kept, name, problems, places)
        return None if found is None else (found, kept)
    if labels.dtype.kind not in 'biuf':
        problems.append(f"'{name}' has type {labels.dtype}; it must hold class numbers or class names")
        return None
    if labels.shape != kept.shape:
        found = _from_one_hot(labels, kept, name, notes, problems)
        if found is None:
            return None
        labels = found
    if labels.dtype.kind == 'f':
        with np.errstate(invalid='ignore'):
            whole = labels == np.round(labels)
        if not whole[kept].all():
            problems.append(f"'{name}' holds numbers such as {labels[kept & ~whole][0]:g}; a label is a whole number")
            return None
    problem = _range_problem(labels, kept, num_classes, name, prefix, places)
    if problem:
        problems.append(problem)
        return None
    return np.where(kept, labels, 0).astype(np.int32), kept


def _from_words(
    labels: np.ndarray,
    num_classes: int,
    class_names: tuple[str, ...],
    kept: np.ndarray,
    name: str,
    problems: list[str],
    places: Places,
) -> np.ndarray | None:
    words = np.char.strip(
        labels.astype(str) if labels.dtype.kind == 'U' else np.char.decode(labels, 'utf-8', 'replace')
    )
    distinct = np.unique(words[kept])
    if not class_names:
        strange = [word for word in distinct.tolist() if not _NUMBER.fullmatch(word)]
        if not strange:
            numbers = np.where(kept, words, '0').astype(np.float64).astype(np.int64)
            problem = _range_problem(numbers, kept, num_classes, name, name.removesuffix('labels'), places)
            if problem:
                problems.append(problem)
                return None
            return numbers.astype(np.int32)
        where, remedy = _few_strange(words, strange, kept, name, places)
        problems.append(
            f"'{name}' holds {_quoted(strange)}{where}, and numbers of classes for all other units{remedy}"
            if where
            else f"'{name}' holds words ({_quoted(distinct.tolist())}, ...), but not which column of the "
            "outputs is which class; add 'class_names', the names in the order of the outputs, or name the columns of "
            'a table by their classes (probs_NAME)'
        )
        return None
    number_of = {word: i for i, word in enumerate(class_names)}
    unknown = [word for word in distinct.tolist() if word not in number_of]
    if unknown:
        where, remedy = _few_strange(words, unknown, kept, name, places)
        problems.append(
            f"'{name}' holds {_quoted(unknown)}{where}, which 'class_names' (or the columns' names) does not "
            f'have ({", ".join(class_names[:8])}{", ..." if len(class_names) > 8 else ""}){remedy}'
            f'{_numbers_meant(unknown)}'
        )
        return None
    numbers = np.array([number_of[word] for word in distinct.tolist()], np.int32)
    places_of = np.minimum(np.searchsorted(distinct, words), len(distinct) - 1)
    return np.where(kept, numbers[places_of], 0).astype(np.int32)


def _few_strange(words: np.ndarray, strange: list[str], kept: np.ndarray, name: str, places: Places) -> tuple[str, str]:
    """Return how many units have words that are no classes and where, and what to do; nothing where most have."""
    bad = kept & np.isin(words, strange)
    if 2 * bad.sum() >= kept.sum():
        return '', ''
    way = f"a column '{name.removesuffix('labels')}mask' that is False there"
    way = f'--ignore_label={shlex.quote(strange[0])}' if len(strange) == 1 else way
    return (
        f' for {numbered(int(bad.sum()), "unit")} ({places.named(bad)})',
        f"; mend them, or, if they mean 'no label', leave these units out with {way}",
    )


def _quoted(words: list[str]) -> str:
    return ', '.join(map(repr, words[:4]))


def _numbers_meant(unknown: list[str]) -> str:
    if not all(word.isascii() and word.removeprefix('-').isdecimal() for word in unknown):
        return ''
    return '; if labels are numbers of classes, and not their names, number the columns from 0, or name no classes'


def _from_one_hot(
    labels: np.ndarray, kept: np.ndarray, name: str, notes: list[str], problems: list[str]
) -> np.ndarray | None:
    if labels.size == kept.size:
        return labels.reshape(kept.shape)
    rows = labels[kept]
    if np.isin(rows, (0, 1)).all() and (rows.sum(axis=-1) == 1).all():
        notes.append(f"'{name}' is one-hot: read as class numbers")
        return labels.argmax(axis=-1)
    problems.append(
        f"'{name}' has the shape of the outputs, {labels.shape}, but its rows are not one-hot; give one class per unit"
    )
    return None


def _range_problem(
    given: np.ndarray, kept: np.ndarray, num_classes: int, name: str, prefix: str, places: Places
) -> str:
    """Return what is wrong with labels that must be class numbers, or ''."""
    bad = kept & ((given < 0) | (given >= num_classes))
    if not bad.any():
        return ''
    labels, found, count = given[kept], np.unique(given[bad]), int(bad.sum())
    if num_classes == 2 and set(np.unique(labels)) == {-1, 1}:
        return f"'{name}' holds -1 and 1; the two classes are numbered 0 and 1: (labels + 1) // 2"
    if found.size == 1 and found[0] in (*USUAL_VOID, 2**32 - 1, 2**16 - 1):
        return (
            f"'{name}' has {count:,} units of label {found[0]:g}, which is none of the {num_classes} classes; if it "
            f"means 'no label', leave them out with '{prefix}mask', or declare it: --ignore_label={found[0]:g}"
        )
    if found.size == 1 and found[0] == num_classes and not (labels == 0).any():
        return (
            f"'{name}' runs from {labels.min():g} to {num_classes}; classes are numbered from 0 to {num_classes - 1}: "
            'subtract 1'
        )
    return (
        f"'{name}' has {count:,} values out of range, such as {found[0]:g} ({places.named(bad)}); with {num_classes} "
        f"classes they must be 0 to {num_classes - 1} (leave units out with '{prefix}mask')"
    )
