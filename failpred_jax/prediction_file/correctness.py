"""Right or wrong without a model's outputs: as truth values, as grades, or as what was predicted beside the label."""

import numpy as np

_TRUE, _FALSE = ('true', 't', 'yes', '1'), ('false', 'f', 'no', '0')


def read_correct(correct: np.ndarray, kept: np.ndarray, prefix: str, problems: list[str]) -> np.ndarray | None:
    """Return `correct` as bool, or as float64 grades in [0, 1]; None, with a problem added, if it is neither."""
    if correct.dtype.kind in 'SU':
        lowered = np.char.lower(np.char.strip(correct.astype(str)))
        if np.isin(lowered[kept], (*_TRUE, *_FALSE)).all():
            return np.isin(lowered, _TRUE)
    elif correct.dtype.kind == 'b':
        return correct
    elif correct.dtype.kind in 'iuf':
        values = correct[kept].astype(np.float64)
        if np.isin(values, (0, 1)).all():
            return np.where(kept, correct, 0).astype(bool)
        if np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1:
            return np.where(kept, correct, 0).astype(np.float64)
    missing = int(np.isnan(correct[kept].astype(np.float64)).sum()) if correct.dtype.kind == 'f' else 0
    if missing:
        problems.append(
            f"'{prefix}correct' has {missing:,} NaN, units that nobody judged; leave them out with '{prefix}mask'"
        )
        return None
    problems.append(
        f"'{prefix}correct' must hold True and False (or 1 and 0), or grades from 0 to 1; it holds "
        f'{correct.dtype} such as {correct[kept].reshape(-1)[:3].tolist()}'
    )
    return None


def right_from(correct: np.ndarray | None, right_at: float | None, prefix: str, notes: list[str]) -> np.ndarray | None:
    """Return grades as right or wrong, where a grade is stated from which a unit is right; else what was given."""
    if correct is None or right_at is None or correct.dtype == bool:
        return correct
    right = correct >= right_at
    notes.append(f"grades in '{prefix}correct' of at least {right_at:g} are right, lower ones wrong (right_at)")
    return right


def compared(
    predicted: np.ndarray,
    labels: np.ndarray,
    ignore_label: int | None,
    kept: np.ndarray,
    prefix: str,
    notes: list[str],
    problems: list[str],
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return whether what was predicted is the label, [...] bool (None, with a problem added), and which are kept.

    Words are compared with words and numbers with numbers; of one column of either kind, numbers are compared as words.
    """
    if predicted.dtype.kind not in 'biufSU' or labels.dtype.kind not in 'biufSU':
        problems.append(f"'{prefix}labels' and '{prefix}predicted' must hold class numbers or class names")
        return None, kept
    if ignore_label is not None:
        void = labels == ignore_label if labels.dtype.kind in 'biuf' else _words(labels) == str(ignore_label)
        if (void & kept).any():
            notes.append(f'{int((void & kept).sum()):,} units of {prefix}labels have the label {ignore_label} and are '
                         'left out')  # fmt: skip
        kept = kept & ~void
    missing = kept & (_is_missing(labels) | _is_missing(predicted))
    if missing.any():
        problems.append(
            f"{int(missing.sum()):,} units lack a '{prefix}labels' or '{prefix}predicted'; leave them out with "
            f"'{prefix}mask'"
        )
        return None, kept
    if predicted.dtype.kind in 'SU' or labels.dtype.kind in 'SU':
        predicted, labels = _words(predicted), _words(labels)
    right = predicted == labels
    if not right[kept].any() and not np.isin(predicted[kept], labels[kept]).any():
        problems.append(
            f"'{prefix}predicted' ({_few(predicted[kept])}) has no value in common with '{prefix}labels' "
            f'({_few(labels[kept])}); both must name classes in one way'
        )
        return None, kept
    notes.append(f"'{prefix}predicted' beside '{prefix}labels' says what is right")
    return right, kept


def check_predicted(
    predicted: np.ndarray, logits: np.ndarray, class_names: tuple[str, ...], prefix: str, problems: list[str]
) -> None:
    """Add a problem where the predicted class [N] is not that of the largest output [N, C]."""
    chosen = logits.argmax(axis=-1)
    if predicted.dtype.kind in 'SU':
        names = np.array(class_names or [str(i) for i in range(logits.shape[-1])])
        differs = _words(predicted) != names[chosen]
    else:
        differs = predicted != chosen
    if differs.any():
        problems.append(
            f"'{prefix}predicted' is not the class of the largest output for {int(differs.sum()):,} of "
            f'{len(chosen):,} units; drop it, or drop the outputs'
        )


def _words(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == 'S':
        values = np.char.decode(values, 'utf-8', 'replace')
    if values.dtype.kind == 'f' and (values == np.round(values)).all():
        values = values.astype(np.int64)
    return np.char.strip(values.astype(str))


def _is_missing(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == 'f':
        return np.isnan(values)
    return _words(values) == '' if values.dtype.kind in 'SU' else np.zeros(values.shape, bool)


def _few(values: np.ndarray) -> str:
    return ', '.join(map(repr, np.unique(values)[:3].tolist()))
