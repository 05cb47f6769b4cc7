"""A look at data before anything is trained: what deserves attention, found in the values and not in the names."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.data.disjoint import row_hashes
from failpred_jax.data.lazy import is_lazy
from failpred_jax.data.lazy_maps import numbers_in
from failpred_jax.data.parts import some
from failpred_jax.data.sources import images_of
from failpred_jax.readers.columns import is_number
from failpred_jax.types import DatasetInfo, Examples

# Pixels are looked at in so many images of a part, evenly spaced.
_LOOKED_AT = 1000
_HEAVY = 100
_MOSTLY = 0.9
_FEW = 30
# Images of which none reaches beyond this may be of fewer bits than they are saved with, or class numbers. Pictures of
# the night do not reach far either, so that a run keeps silent of it.
_DARK = 64
# The white of 12 bits in 16. Not even the night is so dark, and 17 gray levels are few for whatever it is: a run warns.
_HARDLY_ANY_LEVELS = 16
# The white of 5 bits in 8, and of 13 bits in 16.
_WHITE_OF_FEWER_BITS = (31, 32)


class Remark(NamedTuple):
    """Something about data that deserves attention.

    Attributes:
      text: a sentence.
      is_serious: whether a run says it too, not only `--mode=check`.
    """

    text: str
    is_serious: bool = True


def look_at(parts: Mapping[str, Examples], info: DatasetInfo, config: DataConfig) -> list[Remark]:
    """Return what deserves attention in the parts of a data set, the most serious kinds first.

    Args:
      parts: 'training', 'validation', 'test', ... -> examples; the first is what is trained on.
      info: of the data set.
      config: how its images are normalized.
    """
    counts = {name: class_counts(examples, info) for name, examples in parts.items()}
    found = [
        *_classes(counts, info),
        *_names(info),
        *_channels(info),
        *_normalization(config),
        *_pixels(parts),
        *_twins(parts, info),
    ]
    return sorted(found, key=lambda remark: not remark.is_serious)


def class_counts(examples: Examples, info: DatasetInfo) -> np.ndarray:
    """Return the number of images, or of pixels that count, of each class: [C] int64."""
    counts = np.zeros(info.num_classes, np.int64)
    labels = examples.labels
    if is_lazy(labels):
        numbers, pixels = numbers_in(labels)
        is_class = (numbers != info.ignore_label) & (numbers < info.num_classes)
        counts[numbers[is_class]] = pixels[is_class]
        return counts
    for start in range(0, len(labels), 64 if labels.ndim > 1 else len(labels) or 1):
        block = labels[start : start + 64] if labels.ndim > 1 else labels
        flat = block.reshape(-1)
        if info.ignore_label is not None:
            flat = flat[flat != info.ignore_label]
        counts += np.bincount(flat, minlength=info.num_classes)[: info.num_classes]
    return counts


def pixel_statistics(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of each channel, of images in [0, 1]: [channels] float64 each."""
    sample = _sample(examples).reshape(-1, images_of(examples).shape[-1])
    return sample.mean(axis=0, dtype=np.float64) / 255, sample.std(axis=0, dtype=np.float64) / 255


def _sample(examples: Examples) -> np.ndarray:
    images = images_of(examples)
    return images[:: max(1, len(images) // _LOOKED_AT)]


def _classes(counts: Mapping[str, np.ndarray], info: DatasetInfo) -> Iterator[Remark]:
    unit = 'image' if info.task == 'classification' else 'pixel'
    first, *others = counts
    train = counts[first]
    names = info.class_names
    present = np.flatnonzero(train)
    # What counts nowhere may have a name of its own, as in CamVid.
    empty = [names[i] for i in np.flatnonzero(train == 0) if i != info.ignore_label]
    if len(present) == 1:
        yield Remark(
            f'all {unit}s of the {first} part are of one class, {names[present[0]]!r}: a classifier cannot be wrong '
            'there, '
            'and there is nothing to learn of its errors'
        )
    elif empty:
        ignored = ''
        if info.ignore_label is None and unit == 'pixel' and names[-1] in ('254', '255') and train[-1]:
            ignored = f'; did you mean an ignore label of {names[-1]}?'
        yield Remark(
            f'{len(empty)} of {len(names)} classes have no {unit} in the {first} part ({some(empty)}): they cannot be '
            f'learned{ignored}'
        )
    for name in others:
        unseen = [names[i] for i in np.flatnonzero((train == 0) & (counts[name] > 0))]
        if unseen:
            yield Remark(f'the {name} part has classes that the {first} part has no {unit} of: {some(unseen)}')
        lacking = [names[i] for i in np.flatnonzero((train > 0) & (counts[name] == 0))]
        if lacking and name != 'test':
            yield Remark(
                f'{len(lacking)} of {len(names)} classes have no {unit} in the {name} part ({some(lacking)})',
                is_serious=False,
            )
        elif lacking:
            yield Remark(
                f'{len(lacking)} of {len(names)} classes have no {unit} in the {name} part ({some(lacking)}): '
                'nothing is '
                'measured of them'
            )
        yield from _one_sided(counts[name], names, name, unit)
    if len(present) > 1:
        most, fewest = int(np.argmax(train)), int(present[np.argmin(train[present])])
        if train[most] > _HEAVY * train[fewest]:
            yield Remark(
                f'the {first} part has {train[most]:,} {unit}s of {names[most]!r} and {train[fewest]:,} of '
                f'{names[fewest]!r}; rare classes are seldom predicted',
                is_serious=unit == 'image',
            )


def _names(info: DatasetInfo) -> Iterator[Remark]:
    """Yield names of classes that may be one, written in two ways; 'A' and 'a' are two letters."""
    alike: dict[str, dict[str, None]] = {}
    for name in info.class_names:
        key = re.sub(r'(?<=\w)[\s_-]+(?=\w)', ' ', name.strip())
        key = re.sub(r'(?<=[0-9])\.0+$', '', key) if is_number(key) else key
        alike.setdefault(key.casefold() if len(key) > 1 else key, {})[name] = None
    twice = [' and '.join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if twice:
        yield Remark(
            f'some classes have nearly one name ({some(twice)}), and each counts as a class of its own; if they are '
            'one, write them alike'
        )


def _one_sided(counts: np.ndarray, names: tuple[str, ...], part: str, unit: str) -> Iterator[Remark]:
    share = counts.max(initial=0) / max(counts.sum(), 1)
    if part == 'test' and share >= _MOSTLY and np.count_nonzero(counts) > 1:
        yield Remark(
            f'{share:.1%} of the {part} {unit}s are of the class {names[int(np.argmax(counts))]!r}: predicting it '
            'always is '
            'as accurate as that'
        )
    if part == 'test' and unit == 'image' and counts.sum() < _FEW:
        yield Remark(f'the {part} part has {counts.sum()} images, and what is measured on so few is uncertain')


def _channels(info: DatasetInfo) -> Iterator[Remark]:
    height, width, channels = info.image_shape
    if height in (1, 3, 4) and channels > 4 and width > 4:
        yield Remark(
            f'images have shape {info.image_shape}, where the channels seem to come first, as in PyTorch; they must '
            'come '
            'last: images.transpose(0, 2, 3, 1)'
        )


def _normalization(config: DataConfig) -> Iterator[Remark]:
    for name, values, limit in (('mean', config.mean, 1.0), ('std', config.std, 2.0)):
        if max(values) > limit:
            shown = ','.join(f'{value / 255:.4g}' for value in values)
            yield Remark(
                f'config.data.{name} is {values}, in the scale of bytes; images are divided by 255 before it is used: '
                f'--config.data.{name}={shown}'
            )


def _pixels(parts: Mapping[str, Examples]) -> Iterator[Remark]:
    dark: dict[str, int] = {}
    for name, examples in parts.items():
        sample = _sample(examples)
        flat = sample.reshape(len(sample), -1)
        constant = np.flatnonzero(flat.min(axis=1) == flat.max(axis=1))
        if len(constant):
            looked_at = '' if len(sample) == len(examples.labels) else ' that were looked at'
            yield Remark(
                f'{len(constant):,} of {len(sample):,} images of the {name} part{looked_at} are of one value all '
                'over, such '
                f'as {flat[constant[0], 0]}',
                is_serious=len(constant) > len(sample) // 100,
            )
        largest = int(flat.max(initial=0))
        if 0 < largest <= _DARK and len(constant) < len(sample):
            dark[name] = largest
    if dark:
        first, largest = next(iter(dark.items()))
        others = ', '.join(f'{name}: {most}' for name, most in dark.items() if name != first)
        yield Remark(
            f'no pixel of the {first} part is brighter than {largest} of 255{others and f" ({others})"}, which leaves '
            f'{largest + 1} gray levels; 10, 12 or 14 bits saved as 16 or 32, or values in [0, 1] saved as bytes? '
            'Scale images to the range that they are saved with (16 and 32 bits: 0 to 65535), or to 0 to 255',
            is_serious=any(most <= _HARDLY_ANY_LEVELS or most in _WHITE_OF_FEWER_BITS for most in dark.values()),
        )


def _twins(parts: Mapping[str, Examples], info: DatasetInfo) -> Iterator[Remark]:
    """Yield what is exactly the same twice within a part; parts that share images are told by disjoint.py."""
    for name, examples in parts.items():
        images = images_of(examples)
        hashes = row_hashes(images)
        order = np.argsort(hashes, kind='stable')
        second = np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1
        pairs = [(order[i - 1], order[i]) for i in second if np.array_equal(images[order[i - 1]], images[order[i]])]
        if not pairs:
            continue
        contradict = [(a, b) for a, b in pairs if not np.array_equal(examples.labels[a], examples.labels[b])]
        if contradict:
            a, b = contradict[0]
            labels = ''
            if info.task == 'classification':
                labels = f': {info.class_names[examples.labels[a]]!r} and {info.class_names[examples.labels[b]]!r}'
            yield Remark(
                f'{len(contradict):,} images of the {name} part stand there twice with different labels, such as '
                'numbers '
                f'{a} and {b}{labels}; one of each two is wrong'
            )
        yield Remark(
            f'{len(pairs):,} of the {len(images):,} images of the {name} part stand there more than once, pixel by '
            'pixel '
            f'(such as numbers {pairs[0][0]} and {pairs[0][1]})',
            is_serious=len(pairs) > len(images) // 20,
        )
