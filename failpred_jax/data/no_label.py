"""Rows without a label, said by -1 as Hugging Face and scikit-learn write it: it is no class."""

from collections import Counter
from collections.abc import Mapping, Sequence

from failpred_jax.console import say_once
from failpred_jax.data.parts import some
from failpred_jax.errors import UserError, nearest, numbered

_NO_LABEL = '-1'


def labelled_rows(
    labels: Mapping[str, Sequence[str]], ignored: str, where: str, option: str, class_names: Sequence[str] = ()
) -> dict[str, list[int]]:
    """Return part -> the numbers of its rows that have a label, for the parts that have some.

    A part other than the training part whose labels are all -1 is hidden, as those of competitions are: it is left out.

    Args:
      labels: 'train', and perhaps 'validation' and 'test' -> labels as words.
      ignored: the label whose rows are left out; '' for none.
      where: what holds them, for messages.
      option: that says which label is left out, for messages.
      class_names: the names of the classes where labels are their numbers; () where labels are names.

    Raises:
      UserError: no row has the ignored label or all of the training part have, or -1 seems to mean 'no label'.
    """
    found = {}
    for part, words in labels.items():
        if part != 'train' and all(word == _NO_LABEL for word in words):
            say_once(f'note: all labels of the {part} part of {where} are -1, that is, hidden: the part is not used')
            continue
        found[part] = [row for row, word in enumerate(words) if word != ignored]
    counts = Counter(word for part in found for word in labels[part])
    if not found['train'] or set(labels['train']) == {_NO_LABEL}:
        raise UserError(
            f'all labels of the train part of {where} are {labels["train"][0]}, that is, hidden; there is nothing to '
            'learn'
        )
    if not ignored:
        _check_no_label(counts, where, option, class_names)
        return found
    if ignored not in counts:
        raise UserError(
            f"{option} is '{ignored}', but no row of {where} has that label{nearest(ignored, counts)}; it has "
            f'{some(counts)}'
        )
    left_out = numbered(counts[ignored], 'row')
    say_once(f"note: {left_out} of {where} with the label '{ignored}' {_is(counts[ignored])} left out")
    return {part: rows for part, rows in found.items() if rows}


def _check_no_label(counts: Mapping[str, int], where: str, option: str, class_names: Sequence[str]) -> None:
    """Refuse -1 as the one negative number among labels: -1 and 1 are two classes, and so are grades from -2 to 2."""
    others = [word for word in counts if word != _NO_LABEL]
    if _NO_LABEL not in counts or any(word.startswith('-') and word[1:].isdecimal() for word in others):
        return
    if len(others) > 1 or class_names:
        raise UserError(
            f'{where}: {numbered(counts[_NO_LABEL], "row")} of {sum(counts.values()):,} have the label -1, others have '
            f"{some(sorted(others))}; -1 mostly means 'no label'. Leave {_these(counts[_NO_LABEL])} out: "
            f'--{option}=-1. If it is a class, give it a name in words, such as minus_one'
        )


def _is(count: int) -> str:
    return 'is' if count == 1 else 'are'


def _these(count: int) -> str:
    return 'this row' if count == 1 else 'these rows'
