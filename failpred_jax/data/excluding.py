"""Classes that are left out of a data set, so that they are new to what is trained on it."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from failpred_jax.data.lazy import part_of
from failpred_jax.data.sources import RawData, images_of
from failpred_jax.errors import UserError, nearest
from failpred_jax.types import DatasetInfo, Examples

# So many classes are listed in a message.
_MOST_LISTED = 20
# So many make the name of what is left.
_MOST_NAMED = 5


def without_classes(raw: RawData, names: Sequence[str]) -> tuple[RawData, Examples | None]:
    """Return a data set without some of its classes, and the examples of these, on which nothing is trained.

    Args:
      raw: the set as its source has it.
      names: of the classes to leave out; the others keep their order and are numbered anew.

    Returns:
      (the set that is left, examples of the classes left out with their old labels: those of the test part, or of the
      whole set where it has none). The second is None where no class is left out.

    Raises:
      UserError: a class is not there, or is named twice, one class or none is left, or it is a segmentation.
    """
    if not names:
        return raw, None
    keeps = _kept(raw.info, names)
    number_of = np.full(raw.info.num_classes, -1, np.int32)
    number_of[keeps] = np.arange(len(keeps))

    def left(examples: Examples | None) -> Examples | None:
        if examples is None:
            return None
        new = number_of[examples.labels]
        return Examples(part_of(images_of(examples), new >= 0), new[new >= 0])

    train = left(raw.train)
    assert train is not None
    source = raw.train if raw.test is None else raw.test
    is_out = number_of[source.labels] < 0
    if not len(train.labels) or not is_out.any():
        raise UserError(f'config.data.exclude_classes is {tuple(names)}; it leaves nothing to train on, or nothing out')
    # Another data set by name as well: what is published of the whole one is not to be set beside it.
    left_out = ', '.join(names) if len(names) <= _MOST_NAMED else f'{len(names)} classes'
    info = dataclasses.replace(
        raw.info,
        name=f'{raw.info.name} without {left_out}',
        class_names=tuple(raw.info.class_names[c] for c in keeps),
    )
    groups = None if raw.groups is None else raw.groups[number_of[raw.train.labels] >= 0]
    parts = {'validation': raw.validation, 'test': raw.test}
    held_out = {
        name: raw.held_out_groups[name][number_of[part.labels] >= 0]
        for name, part in parts.items()
        if part is not None and name in raw.held_out_groups
    }
    rest = dataclasses.replace(
        raw, info=info, train=train, validation=left(raw.validation), test=left(raw.test), groups=groups,
        held_out_groups=held_out,
    )  # fmt: skip
    return rest, Examples(part_of(images_of(source), is_out), source.labels[is_out])


def _kept(info: DatasetInfo, names: Sequence[str]) -> list[int]:
    """Return the numbers of the classes that stay."""
    if info.task != 'classification':
        raise UserError(
            f"config.data.exclude_classes is {tuple(names)}; the pixels of a segmentation can't be left out"
        )
    there = list(info.class_names)
    names = _whole(names, there)
    for place, name in enumerate(names):
        if name not in there:
            shown = ', '.join(there[:_MOST_LISTED]) + (', ...' if len(there) > _MOST_LISTED else '')
            raise UserError(
                f"config.data.exclude_classes names '{name}', which is no class of {info.name} "
                f'({shown}){nearest(name, there)}'
            )
        if name in names[:place]:
            raise UserError(f"config.data.exclude_classes names '{name}' twice")
    keeps = [number for number, name in enumerate(there) if name not in names]
    if len(keeps) < 2:
        raise UserError(
            f'config.data.exclude_classes leaves {len(keeps)} of the {len(there)} classes of {info.name}; a classifier '
            'needs two or more'
        )
    return keeps


def _whole(words: Sequence[str], there: Sequence[str]) -> list[str]:
    """Return names of which those with commas ('gown, dress') were cut into words, as a list of names is."""
    known, found, at = {tuple(_cut(name)): name for name in there}, [], 0
    while at < len(words):
        # The longest name that stands here.
        lengths = range(len(words) - at, 0, -1)
        length = next((n for n in lengths if tuple(words[at : at + n]) in known), 1)
        found.append(known.get(tuple(words[at : at + length]), words[at]))
        at += length
    return found


def _cut(name: str) -> list[str]:
    return [word.strip() for word in name.split(',')]
