"""Labels as people have them (numbers of any width, words, truth values, one-hot) as class numbers from 0."""

import numpy as np

# Labels that other tools use for "no class".
USUAL_VOID = (-1, 255)


def read_labels(
    labels: np.ndarray,
    num_classes: int,
    class_names: tuple[str, ...],
    ignore_label: int | None,
    kept: np.ndarray,
    prefix: str,
    notes: list[str],
    problems: list[str],
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return labels as int32 in [0, C), shaped as `kept`, and which units are kept; None if they are not usable.

    Args:
      labels: as given.
      num_classes: C.
      class_names: C names, or () if there are none.
      ignore_label: units of this label are left out; None where there is none.
      kept: which units count so far, bool; labels of the others may hold anything.
      prefix: of the part, for messages.
      notes, problems: sentences for the user, added to.
    """
    name = f'{prefix}labels'
    if labels.dtype.kind in 'SU':
        found = _from_words(labels.reshape(kept.shape), num_classes, class_names, kept, name, problems)
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
        nothing = np.isnan(labels)
        if (nothing & kept).any():
            problems.append(
                f"'{name}' has {int((nothing & kept).sum()):,} NaN, units without a label; leave them out with "
                f"'{prefix}mask'"
            )
            return None
        with np.errstate(invalid='ignore'):
            whole = labels == np.round(labels)
        if not whole[kept].all():
            problems.append(f"'{name}' holds numbers such as {labels[kept & ~whole][0]:g}; a label is a whole number")
            return None
    if ignore_label is not None:
        left_out = kept & (labels == ignore_label)
        if left_out.any():
            notes.append(f'{int(left_out.sum()):,} units of {name} have the label {ignore_label} and are left out')
        kept = kept & ~left_out
    problem = _range_problem(labels[kept], num_classes, name, prefix)
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
) -> np.ndarray | None:
    words = np.char.strip(
        labels.astype(str) if labels.dtype.kind == 'U' else np.char.decode(labels, 'utf-8', 'replace')
    )
    distinct = np.unique(words[kept])
    if not class_names:
        if all(word.isdecimal() and word.isascii() and len(word) < 10 for word in distinct):
            numbers = np.where(kept, words, '0').astype(np.int64)
            problem = _range_problem(numbers[kept], num_classes, name, name.removesuffix('labels'))
            if problem:
                problems.append(problem)
                return None
            return numbers.astype(np.int32)
        problems.append(
            f"'{name}' holds words ({', '.join(map(repr, distinct[:4].tolist()))}, ...), but not which column of the "
            "outputs is which class; add 'class_names', the names in the order of the outputs"
        )
        return None
    unknown = [word for word in distinct.tolist() if word not in class_names]
    if unknown:
        problems.append(
            f"'{name}' holds {', '.join(map(repr, unknown[:4]))}, which 'class_names' does not have "
            f'({", ".join(class_names[:8])}{", ..." if len(class_names) > 8 else ""})'
        )
        return None
    number_of = {word: i for i, word in enumerate(class_names)}
    numbers = np.array([number_of[word] for word in distinct.tolist()], np.int32)
    places = np.minimum(np.searchsorted(distinct, words), len(distinct) - 1)
    return np.where(kept, numbers[places], 0).astype(np.int32)


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


def _range_problem(labels: np.ndarray, num_classes: int, name: str, prefix: str) -> str:
    """Return what is wrong with labels that must be class numbers, or ''."""
    outside = (labels < 0) | (labels >= num_classes)
    if not outside.any():
        return ''
    found = np.unique(labels[outside])
    count = int(outside.sum())
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
        f"'{name}' has {count:,} values out of range, such as {found[0]:g}; with {num_classes} classes they must be "
        f"0 to {num_classes - 1} (leave units out with '{prefix}mask')"
    )
