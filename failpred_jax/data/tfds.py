"""Any image classification or segmentation data set of tensorflow-datasets, by name.

Class count, shapes and splits come from tfds. Data are read as records, without tensorflow, whether they were prepared
as array_record, which is what we ask tfds to prepare, or as TFRecord.
"""

import itertools
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.data.cache import everything_below
from failpred_jax.data.label_maps import MapRule
from failpred_jax.data.parts import some
from failpred_jax.data.record_split import RecordSplit
from failpred_jax.data.records import open_records
from failpred_jax.data.sources import RawData
from failpred_jax.errors import UserError
from failpred_jax.options import option, rule
from failpred_jax.registry import SOURCES
from failpred_jax.types import DatasetInfo, Examples


@dataclass(frozen=True)
class TfdsOptions:
    """Options of this source."""

    name: str = option('', "data set, such as 'mnist' or 'emnist/letters'")
    data_dir: str = option(
        '', "folder of prepared data sets; '' is tfds's own choice (TFDS_DATA_DIR)", changes_training=False
    )
    train_split: str = option('train', 'split to train on')
    test_split: str = option('test', 'split to evaluate on', changes_training=False)
    validation_split: str = option('', "split to validate on; '' takes a part of the training split")
    image_key: str = option('image', 'feature that holds the images; a/b for b in a set of features a')
    label_key: str = option('label', 'feature that holds the classes, or the label maps of a segmentation')
    class_names: tuple[str, ...] = option((), 'names of the classes of label maps; () for their numbers')
    mask_values: tuple[int, ...] = option(
        (), 'numbers in the label maps in the order of the classes, such as 1,2,3; () for 0, 1, 2, ...'
    )
    ignore_label: int = option(
        -1,
        'number in the label maps whose pixels count nowhere, such as 255; -1 for none',
        rule('from -1 to 65535', lambda v: -1 <= v <= 65535),
    )

    def problems(self, path: str) -> Iterator[str]:
        """Yield what cannot work."""
        if not self.name:
            yield f"{path}.name is ''; source 'tfds' needs the name of a tfds data set, such as 'mnist'"
        yield from MapRule.of(self).problems(path)


def _prepared_files(options: TfdsOptions) -> list[Path] | None:
    """Return what tfds has prepared under a name, found without importing tfds, which takes seconds."""
    root = options.data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
    folder = Path(root).expanduser() / options.name.partition(':')[0]
    return everything_below(folder) if folder.is_dir() else None


@SOURCES.register('tfds', options=TfdsOptions, files=_prepared_files)
def load(data: DataConfig, options: TfdsOptions) -> RawData:
    """Return the splits that the options name.

    Raises:
      UserError: the data set or split is unknown, is not image classification, or is neither prepared nor to be had.
    """
    builder = _prepared_builder(options)
    info = _info(builder, options, data)
    given = {key: getattr(options, key) for key in ('train_split', 'validation_split', 'test_split')}
    for key, split in given.items():
        _check_names(builder, options, f'config.data.tfds.{key} is', split)
    _check_disjoint(builder, given)
    map_rule, (height, width, channels) = MapRule.of(options), info.image_shape
    per_pixel = channels + (np.dtype(map_rule.dtype).itemsize if info.task == 'segmentation' else 0)
    count = sum(builder.info.splits[split].num_examples for split in given.values() if split)
    is_lazy = data.is_beyond_memory(count * height * width * per_pixel)
    found = [_read(builder, split, info, data, options, is_lazy) if split else None for split in given.values()]
    train, test = found[0], found[2]
    assert train is not None
    if info.task == 'classification':
        return RawData(info, train, found[1], test)
    where = f"the label maps of '{options.name}'"
    raw = RawData(
        info, train, found[1], test, classes_of=lambda maps: map_rule.class_names(maps, where, 'config.data.tfds')
    )
    return raw if is_lazy else raw.named()


def load_split(data: DataConfig, options: TfdsOptions, split: str) -> tuple[DatasetInfo, Examples]:
    """Return one split, in tfds's language, whatever splits the options name; in memory.

    Raises:
      UserError: as in `load`.
    """
    builder = _prepared_builder(options)
    info = _info(builder, options, data)
    _check_names(builder, options, 'the split is', split)
    return info, _read(builder, split, info, data, options, is_lazy=False)


def _check_names(builder: Any, options: TfdsOptions, what: str, split: str) -> None:
    # 'train[:90%]' and 'train+extra' are tfds's own language: only their names are checked here.
    for part in split.split('+') if split else ():
        if part.split('[')[0].strip() not in builder.info.splits:
            other = '' if 'test_split' not in what else "; '' takes a part of the training split"
            raise UserError(
                f"{what} '{split}'; '{options.name}' has the splits: {', '.join(builder.info.splits)}{other}"
            )


def _read(
    builder: Any, split: str, info: DatasetInfo, data: DataConfig, options: TfdsOptions, is_lazy: bool
) -> Examples:
    what, keys = f"'{info.name}', {split}", (options.image_key, options.label_key)
    records = open_records(builder, split, what)
    features, map_rule, resize = _flat(builder.info.features), MapRule.of(options), data.new_size is not None
    return RecordSplit(records, features, keys, info, map_rule, resize, what).examples(is_lazy)


def _check_disjoint(builder: Any, splits: Mapping[str, str]) -> None:
    """Refuse split expressions, key -> expression, of which two name some of the same examples."""
    import tensorflow_datasets as tfds

    pieces = []
    for key, split in splits.items():
        for piece in tfds.core.ReadInstruction.from_spec(split).to_absolute(builder.info.splits) if split else ():
            end = builder.info.splits[piece.splitname].num_examples if piece.to is None else piece.to
            pieces.append((key, piece.splitname, piece.from_ or 0, end))
    for (a, split_a, from_a, to_a), (b, split_b, from_b, to_b) in itertools.combinations(pieces, 2):
        both = min(to_a, to_b) - max(from_a, from_b)
        if a != b and split_a == split_b and both > 0:
            raise UserError(
                f"config.data.tfds.{a} '{splits[a]}' and config.data.tfds.{b} '{splits[b]}' share {both:,} examples of "
                f"'{split_a}'; training, selection and test need different ones"
            )


def _prepared_builder(options: TfdsOptions) -> Any:
    import tensorflow_datasets as tfds

    logging.getLogger('absl').setLevel(logging.ERROR)
    where = options.data_dir or None
    is_there = where and (Path(where).expanduser() / options.name.partition(':')[0]).is_dir()
    try:
        builder = tfds.builder(options.name, data_dir=where)
    except tfds.core.DatasetNotFoundError as error:
        hint = str(error).strip().splitlines()[0]
        lacking = f", and its folder in '{where}' has no features.json in a folder of a version" if is_there else ''
        raise UserError(
            f"tfds knows no data set '{options.name}' ({hint}){lacking}; see tfds.list_builders() for the names, and "
            "write a set with several configurations as 'emnist/letters'"
        ) from error
    except Exception as error:  # Each of the files that describe a prepared set fails in its own way.
        restore = f"; restore its dataset_info.json and features.json in '{where}' from a copy" if is_there else ''
        raise UserError(f"tfds cannot make '{options.name}': {_first_line(error)}{restore}") from error
    if builder.info.splits:
        return builder
    folder = builder.data_dir
    if (Path(folder) / 'dataset_info.json').exists():
        raise UserError(
            f"the dataset_info.json of '{options.name}' in {folder} names no splits; restore it from a copy, or "
            'prepare the set again elsewhere: --config.data.tfds.data_dir=DIR'
        )
    if str(folder).startswith('~'):
        # tfds would make a folder of that name where the program was started.
        raise UserError(
            f"the data set '{options.name}' is not prepared, and there is no home folder to prepare it in; give a "
            'folder: --config.data.tfds.data_dir=DIR or the environment variable TFDS_DATA_DIR'
        )
    try:
        builder = tfds.builder(options.name, data_dir=where, file_format='array_record')
        builder.download_and_prepare()
    except Exception as error:  # downloads fail in as many ways as there are networks and hosts
        raise UserError(
            f"the data set '{options.name}' is not prepared in {folder}, and tfds could not download it: "
            f'{_first_line(error)}. With a network, try again; without one, give the folder in which it was prepared: '
            '--config.data.tfds.data_dir=DIR or the environment variable TFDS_DATA_DIR'
        ) from error
    return builder


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f'{type(error).__name__}: {lines[0][:300]}' if lines else type(error).__name__


def _info(builder: Any, options: TfdsOptions, data: DataConfig) -> DatasetInfo:
    """Return what the set says of itself; a segmentation's classes are known once its label maps are read."""
    name, features = options.name, _flat(builder.info.features)
    kinds = {key: _kind(feature) for key, feature in features.items()}
    if 'image' not in kinds.values() or not {'class', 'image'} & {
        k for f, k in kinds.items() if f != options.image_key
    }:
        raise UserError(
            f"'{name}' is not an image classification data set: it needs the features 'image' and 'label' (a class), "
            f'and has: {some(features, 12)}'
        )
    for key in ('image_key', 'label_key'):
        if getattr(options, key) not in features:
            raise UserError(
                f"config.data.tfds.{key} is '{getattr(options, key)}', but '{name}' has the features: "
                f'{", ".join(f"{key} ({kind})" for key, kind in kinds.items())}; name the right one with '
                f'--config.data.tfds.{key}=NAME'
            )
    image, label = features[options.image_key], features[options.label_key]
    if _kind(image) != 'image':
        raise UserError(
            f"config.data.tfds.image_key is '{options.image_key}', which in '{name}' is no image but {_kind(image)}"
        )
    if np.dtype(image.np_dtype) != np.uint8:
        raise UserError(
            f"the images of '{name}' are stored as {np.dtype(image.np_dtype)}; they must be uint8, 0 to 255"
        )
    if _kind(label) not in ('class', 'image'):
        raise UserError(
            f"config.data.tfds.label_key is '{options.label_key}', which in '{name}' is neither a class nor a label "
            'map but '
            f'{_kind(label)}; its features are: {some(features)}'
        )
    # An image of tfds is [H, W, channels]; H and W are None where they differ.
    shape = tuple(image.shape)
    if shape[-1] is None:
        raise UserError(f"the images of '{name}' have different numbers of channels ({shape}), which cannot be mixed")
    if None in shape and not data.image_size:
        raise UserError(
            f"the images of '{name}' are of different sizes ({shape}); bring all to one size as they are read: "
            '--config.data.image_size=HEIGHT,WIDTH'
        )
    if data.image_size:
        shape = (*data.image_size, shape[-1])
    shape = cast(tuple[int, int, int], shape)
    if _kind(label) == 'class':
        return DatasetInfo(name, 'classification', shape, tuple(label.names))
    return DatasetInfo(name, 'segmentation', shape, (), MapRule.of(options).ignore)


def _flat(features: Any, above: str = '') -> dict[str, Any]:
    """Return name -> feature of a set of features, 'a/b' for those in a set of features that is one of them."""
    found: dict[str, Any] = {}
    for name in sorted(features):
        is_set = type(features[name]).__name__ == 'FeaturesDict'
        found |= _flat(features[name], f'{above}{name}/') if is_set else {f'{above}{name}': features[name]}
    return found


def _kind(feature: Any) -> str:
    """Return what a feature of tfds is: 'image', 'class', or the name of its type."""
    name = type(feature).__name__
    return {'Image': 'image', 'LabeledImage': 'image', 'ClassLabel': 'class'}.get(name, name)
