"""Right or wrong without a model's outputs: as truth values, as grades, or as what was predicted beside the label."""

import numpy as np

from failpred_jax.prediction_file.labels import (
    LEAVE_OUT_MISSING,
    IgnoreLabel,
    as_words,
    is_missing,
    leave_out,
    missing_problem,
)
from failpred_jax.prediction_file.places import Places

_TRUE, _FALSE = ('true', 't', 'yes', '1'), ('false', 'f', 'no', '0')


def read_correct(
    correct: np.ndarray, kept: np.ndarray, prefix: str, problems: list[str], places: Places
) -> np.ndarray | None:
    """Return `correct` as bool, or as float64 grades in [0, 1]; None, with a problem added, if it is neither."""
    if correct.dtype.kind in 'SU':
        lowered = np.char.lower(as_words(correct))
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
    missing = kept & is_missing(correct)
    if missing.any() and read_correct(correct, kept & ~missing, prefix, [], places) is not None:
        problems.append(missing_problem(missing, f'{prefix}correct', prefix, places, LEAVE_OUT_MISSING))
        return None
    problems.append(
        f"'{prefix}correct' must hold true and false (or yes and no, 1 and 0), or grades from 0 to 1; it holds "
        f'{_few(correct[kept], 4)}'
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
    ignore_label: IgnoreLabel,
    kept: np.ndarray,
    prefix: str,
    notes: list[str],
    problems: list[str],
    places: Places,
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return whether what was predicted is the label, [...] bool (None, with a problem added), and which are kept.

    Words are compared with words and numbers with numbers; of one column of either kind, numbers are compared as words.
    """
    if predicted.dtype.kind not in 'biufSU' or labels.dtype.kind not in 'biufSU':
        problems.append(f"'{prefix}labels' and '{prefix}predicted' must hold class numbers or class names")
        return None, kept
    kept = leave_out(labels, ignore_label, kept, f'{prefix}labels', notes)
    is_lacking = False
    for name, values, option in (('labels', labels, LEAVE_OUT_MISSING), ('predicted', predicted, '')):
        missing = kept & is_missing(values)
        if missing.any():
            problems.append(missing_problem(missing, f'{prefix}{name}', prefix, places, option))
            is_lacking = True
    if is_lacking:
        return None, kept
    if predicted.dtype.kind in 'SU' or labels.dtype.kind in 'SU':
        predicted, labels = as_words(predicted), as_words(labels)
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
        differs = as_words(predicted) != names[chosen]
    else:
        differs = predicted != chosen
    if differs.any():
        problems.append(
            f"'{prefix}predicted' is not the class of the largest output for {int(differs.sum()):,} of "
            f'{len(chosen):,} units; drop it, or drop the outputs'
        )


def _few(values: np.ndarray, most: int = 3) -> str:
    distinct = np.unique(as_words(values) if values.dtype.kind in 'SU' else values)
    return ', '.join(map(repr, distinct[:most].tolist())) + (', ...' if len(distinct) > most else '')
