"""From a source's parts to training, validation and test, by seed, and the file that remembers which is which."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.console import say_once
from failpred_jax.data.cache import load_cached
from failpred_jax.data.disjoint import check_disjoint
from failpred_jax.data.excluding import without_classes
from failpred_jax.data.grouping import shuffled, whole_groups
from failpred_jax.data.look import look_at
from failpred_jax.data.resize import resize_images, resize_labels
from failpred_jax.data.sources import RawData, check_examples, images_of, part_of_examples
from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_npz, write_npz
from failpred_jax.registry import SOURCES
from failpred_jax.types import DatasetInfo, Examples


@dataclass(frozen=True)
class Data:
    """A data set ready for a run.

    Attributes:
      info: what is known of it.
      train, val, test: its parts; no example of the source is in two of them.
      split: name of the part -> indices into the source's training part (absent for a part the source has itself).
      warnings: sentences on what deserves attention, such as images that stand in two parts all the same.
      calibration: a part for certificates alone: nothing is trained, selected or fitted on it; None where the config
        keeps none.
      groups: name of the part, as in `parts`, -> [N] of any type, what its examples belong to; empty where the source
        knows of nothing.
      excluded: examples of classes that the config leaves out, with the labels that they had; None without any.
    """

    info: DatasetInfo
    train: Examples
    val: Examples
    test: Examples
    split: dict[str, np.ndarray]
    warnings: tuple[str, ...] = ()
    calibration: Examples | None = None
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    excluded: Examples | None = None

    @property
    def parts(self) -> dict[str, Examples]:
        """Name -> part, in words for people: those that are there."""
        found = {'training': self.train, 'validation': self.val, 'calibration': self.calibration, 'test': self.test}
        return {name: examples for name, examples in found.items() if examples is not None}


def load_data(
    config: DataConfig, split_file: Path | None = None, split: Mapping[str, np.ndarray] | None = None
) -> Data:
    """Load the data set of a config and split it.

    Args:
      config: the data section.
      split_file: an npz of indices. If it exists, its split is used; else the split is drawn and written there.
      split: the split to use instead, as `Data.split`.

    Raises:
      UserError: see the source; or the parts are too small, or the split file does not fit the data, or all images of
        a part stand in another one.
    """
    options, files_of = config.options_of(config.source), SOURCES.fact(config.source, 'files')
    raw = load_cached(config, files_of(options) if files_of else None, lambda: SOURCES[config.source](config, options))
    raw, excluded = without_classes(raw, config.exclude_classes)
    info = raw.info
    where = f"the data set '{info.name}' ({{}})"
    train = check_examples(raw.train, info, where.format('train'))
    split = _split_of(config, raw, split_file, split)
    size = config.new_size

    def part(name: str, own: Examples | None) -> Examples:
        if own is not None:
            own = check_examples(own, info, where.format(name))
        elif len(split[name]) == len(train.labels):
            own = train  # All of it, in its order: no copy.
        else:
            own = part_of_examples(train, split[name])
        if size is None:
            return own
        labels = resize_labels(own.labels, size) if own.labels.ndim == 3 else own.labels
        return Examples(resize_images(images_of(own), size), labels)

    shape = (*size, info.image_shape[-1]) if size else info.image_shape
    parts = {
        'training': part('train', None),
        'validation': part('validation', raw.validation),
        'test': part('test', raw.test),
    }
    calibration = part('calibration', None) if 'calibration' in split else None
    data = Data(
        dataclasses.replace(info, image_shape=shape),
        *parts.values(),
        split=dict(split),
        calibration=calibration,
        groups=_groups_of(raw, split),
        excluded=excluded if excluded is None or size is None else _resized(excluded, size),
    )
    warnings = check_disjoint(
        {name: images_of(examples) for name, examples in data.parts.items()},
        {name: examples.labels for name, examples in data.parts.items()},
        info.class_names if info.task == 'classification' else (),
    )
    remarks = look_at(data.parts, data.info, config)
    warnings = (*warnings, *(remark.text for remark in remarks if remark.is_serious))
    for text in warnings:
        say_once(f'warning: {text}')
    return dataclasses.replace(data, warnings=warnings)


def _groups_of(raw: RawData, split: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the examples of each part belong to, as `Data.groups`."""
    found = dict(raw.held_out_groups)
    if raw.groups is not None:
        found |= {('training' if name == 'train' else name): raw.groups[rows] for name, rows in split.items()}
    return found


def _resized(examples: Examples, size: tuple[int, int]) -> Examples:
    return Examples(resize_images(images_of(examples), size), examples.labels)


def _split_of(
    config: DataConfig, raw: RawData, split_file: Path | None, split: Mapping[str, np.ndarray] | None
) -> Mapping[str, np.ndarray]:
    """Return the split that is given, or that of the file, or a new one, which is written there."""
    count = len(raw.train.labels)
    if split is not None:
        _check_split(split, count, 'the split of process 0')
    elif split_file is not None and split_file.exists():
        split = _read_split(split_file)
        _check_split(split, count, split_file)
    else:
        split = draw_split(config, raw)
        if split_file is not None:
            write_npz(split_file, split)
    if ('calibration' in split) != bool(config.calibration_fraction):
        raise UserError(
            f'{split_file} {"has" if "calibration" in split else "lacks"} a calibration part, but '
            f'config.data.calibration_fraction is {config.calibration_fraction}; set it as it was when the file was '
            'written, or use another --workdir'
        )
    return split


def split_validation(data: Data, seed: int) -> tuple[Examples, Data]:
    """Return one half of the validation split, drawn by `seed`, and the data with the other half alone.

    Raises:
      UserError: there are fewer than two examples to share.
    """
    count = len(data.val.labels)
    if count < 2:
        raise UserError(
            f"config.confidence.targets is 'validation', but the validation split has {count} example(s); raise "
            'config.data.validation_fraction'
        )
    groups = data.groups.get('validation')
    order = shuffled(count, groups, np.random.default_rng((seed, count)))
    half = whole_groups(order, count // 2, groups)
    if half in (0, count):
        raise UserError(
            "config.confidence.targets is 'validation', but all examples of the validation split belong to one group, "
            'which cannot be shared; raise config.data.validation_fraction'
        )
    halves = (np.sort(order[:half]), np.sort(order[half:]))
    first, second = (part_of_examples(data.val, rows) for rows in halves)
    left = {} if groups is None else {'validation': groups[halves[1]]}
    return first, dataclasses.replace(data, val=second, groups={**data.groups, **left})


def draw_split(config: DataConfig, raw: RawData) -> dict[str, np.ndarray]:
    """Return which of the source's training examples train, validate and test, from a shuffle by `split_seed`.

    The first of the shuffle test (where the source has no test part), the next validate, the next are for certificates
    (where the config keeps some), the rest train, cut to `num_train`. The fractions of validation and calibration are
    of what is not for testing. Neither moves the parts before it.
    """
    count = len(raw.train.labels)
    order = shuffled(count, raw.groups, np.random.default_rng(config.split_seed))
    split = {}
    if raw.test is None:
        num_test = whole_groups(order, round(count * config.test_fraction), raw.groups)
        split['test'], order = np.sort(order[:num_test]), order[num_test:]
    num_calibration = round(len(order) * config.calibration_fraction)
    if raw.validation is None:
        num_val = whole_groups(order, round(len(order) * config.validation_fraction), raw.groups)
        split['validation'], order = np.sort(order[:num_val]), order[num_val:]
    if config.calibration_fraction:
        num_calibration = whole_groups(order, num_calibration, raw.groups)
        split['calibration'], order = np.sort(order[:num_calibration]), order[num_calibration:]
    if config.num_train > len(order):
        raise UserError(
            f'config.data.num_train is {config.num_train}, but only {len(order)} examples are left to train on; '
            'choose fewer, or 0 for all'
        )
    split['train'] = np.sort(order[: config.num_train] if config.num_train else order)
    for name, indices in split.items():
        if len(indices) == 0:
            raise UserError(
                f'the {name} part of the {count} training examples is empty; change config.data.validation_fraction '
                '(or test_fraction, or calibration_fraction)'
            )
    return split


def _read_split(file: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(file)
    except DAMAGE as error:
        raise UserError(f'{file} cannot be read ({error}); restore it from a copy, or use another --workdir') from error


def _check_split(split: Mapping[str, np.ndarray], count: int, file: Path | str) -> None:
    for name, indices in split.items():
        if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
            raise UserError(f'{file}: {name} must be a list of indices')
        if len(indices) == 0 or indices.min() < 0 or indices.max() >= count:
            raise UserError(
                f'{file}: {name} does not fit a training part of {count} examples; the data changed since this '
                'WORKDIR was made. Use the data it was made with, or another --workdir'
            )
    together = np.concatenate(list(split.values()))
    if len(np.unique(together)) != len(together):
        raise UserError(f'{file}: an example stands in two parts of the split; restore the file from a copy')
