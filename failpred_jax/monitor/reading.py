"""Classes, words and right or wrong as streams have them; whatever is missing in a row is not known there."""

from collections.abc import Mapping

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.prediction_file.class_words import have_two_of_one

_TRUE, _FALSE = ('true', 't', 'yes', '1', '1.0'), ('false', 'f', 'no', '0', '0.0')
_MISSING = ('', 'nan', 'none', 'null')


def words(values: np.ndarray | None, num: int) -> np.ndarray:
    """Return values as words [n]; '' where they are missing, whole numbers without decimals."""
    if values is None:
        return np.full(num, '', dtype='<U1')
    if values.dtype.kind == 'S':
        values = np.char.decode(values, 'utf-8', 'replace')
    if values.dtype.kind == 'f':
        missing = np.isnan(values)
        known = np.where(missing, 0, values)
        is_whole = (np.abs(known) < 2**53).all() and (known == np.round(known)).all()
        text = known.astype(np.int64).astype(str) if is_whole else known.astype(str)
        return np.where(missing, '', text)
    return np.char.strip(values.astype(str))


def class_numbers(
    values: np.ndarray, names: tuple[str, ...], num_classes: int, column: str, where: str
) -> np.ndarray | None:
    """Return class numbers [n] int64, -1 where they are missing; None for words that nothing numbers.

    Args:
      values: [n] numbers, or words of `names` (or digits, of which none that differ are one number).
      names: C names, or ().
      num_classes: C; 0 where it is not known.
      column: its name, for messages.
      where: what is read, for messages.

    Raises:
      UserError: a number or a name that is no class.
    """
    text = words(values, len(values))
    missing = np.isin(np.char.lower(text), _MISSING)
    distinct = np.unique(text[~missing])
    # Classes that are named '1', '2', ... may be meant by their names or by their numbers; words are names.
    is_named = bool(names) and values.dtype.kind in 'SU' and set(distinct.tolist()) <= set(names)
    if is_named:
        number_of = {name: number for number, name in enumerate(names)}
    elif all(_is_whole(word) for word in distinct.tolist()) and (names or not have_two_of_one(distinct.tolist())):
        number_of = {word: int(word) for word in distinct.tolist()}
    elif names or values.dtype.kind == 'f':
        bad = next(word for word in distinct.tolist() if word not in names and not _is_whole(word))
        allowed = f'the classes are {", ".join(names[:8])}' if names else 'a class is a whole number'
        raise UserError(f"{where}: '{column}' holds '{bad}', which is no class; {allowed}")
    else:
        return None
    found = np.full(len(text), -1)
    for word in distinct.tolist():
        found[text == word] = number_of[word]
    outside = ~missing & ((found < 0) | ((found >= num_classes) if num_classes else False))
    if outside.any():
        last = f' to {num_classes - 1}' if num_classes else ''
        those = 'value' if outside.sum() == 1 else 'values'
        raise UserError(
            f"{where}: '{column}' has {int(outside.sum()):,} {those} out of range, such as {found[outside][0]}; the "
            f'classes are numbered from 0{last}; leave the cell empty where there is none'
        )
    return found


def correctness(
    given: Mapping[str, np.ndarray],
    predicted: np.ndarray,
    chosen: np.ndarray | None,
    names: tuple[str, ...],
    num_classes: int,
    where: str,
) -> np.ndarray:
    """Return which rows are right: [n] float64 of 1 and 0, NaN where nothing says.

    Args:
      given: arrays by name; `correct` and `labels` are read, of which either may be missing in any row.
      predicted: [n] class numbers, -1 where not known.
      chosen: [n] what was predicted as given, or None.
      names, num_classes: of the classes; () and 0 where they are not known.
      where: what is read, for messages.
    """
    by_label = np.full(len(predicted), np.nan)
    if 'labels' in given:
        if chosen is None:
            raise UserError(f"{where} has 'labels' but nothing that was predicted; add 'predicted', or give 'correct'")
        labels = class_numbers(given['labels'], names, num_classes, 'labels', where)
        if labels is not None and (predicted >= 0).any():
            by_label = np.where((labels >= 0) & (predicted >= 0), labels == predicted, np.nan)
        elif labels is None or 'predicted' in given:
            ours, theirs = words(given['labels'], len(predicted)), words(chosen, len(predicted))
            by_label = np.where((ours != '') & (theirs != ''), ours == theirs, np.nan)
    if 'correct' not in given:
        return by_label
    stated = _stated(given['correct'], where)
    both = ~np.isnan(stated) & ~np.isnan(by_label)
    if (stated[both] != by_label[both]).any():
        raise UserError(
            f"{where}: 'correct' contradicts 'labels' and what was predicted in "
            f'{int((stated[both] != by_label[both]).sum()):,} '
            'rows; drop one of them'
        )
    return np.where(np.isnan(stated), by_label, stated)


def _stated(values: np.ndarray, where: str) -> np.ndarray:
    if values.dtype.kind in 'biuf':
        found = values.astype(np.float64)
    else:
        text = np.char.lower(words(values, len(values)))
        found = np.where(np.isin(text, _TRUE), 1.0, np.where(np.isin(text, _FALSE), 0.0, 2.0))
        found[np.isin(text, _MISSING)] = np.nan
    bad = ~np.isnan(found) & (found != 0) & (found != 1)
    if bad.any():
        raise UserError(
            f"{where}: 'correct' must hold true and false (or 1 and 0), and nothing where it is not known; it holds "
            f"'{values[bad][0]}'"
        )
    return found


def _is_whole(word: str) -> bool:
    return word.removeprefix('-').isdecimal() and word.isascii() and len(word) < 16
