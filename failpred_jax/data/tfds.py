"""Any image classification data set of tensorflow-datasets, by name.

Class count, shapes and splits come from tfds. Data are read as records, without tensorflow, where they were
prepared so (array_record, which is also what we ask tfds to prepare); a set that was prepared as TFRecord needs
tensorflow to be read.
"""

import itertools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.data.resize import resize_images
from failpred_jax.data.sources import RawData
from failpred_jax.errors import UserError
from failpred_jax.options import option
from failpred_jax.registry import SOURCES
from failpred_jax.types import DatasetInfo, Examples


@dataclass(frozen=True)
class TfdsOptions:
    """What this source can be told."""

    name: str = option('', "data set, such as 'mnist' or 'emnist/letters'")
    data_dir: str = option(
        '', "folder of prepared data sets; '' is tfds's own choice (TFDS_DATA_DIR)", changes_training=False
    )
    train_split: str = option('train', 'split to train on')
    test_split: str = option('test', 'split to evaluate on', changes_training=False)
    validation_split: str = option('', "split to validate on; '' takes a part of the training split")

    def problems(self, path: str) -> Iterator[str]:
        """Yield what cannot work."""
        if not self.name:
            yield f"{path}.name is ''; source 'tfds' needs the name of a tfds data set, such as 'mnist'"


@SOURCES.register('tfds', options=TfdsOptions)
def load(data: DataConfig, options: TfdsOptions) -> RawData:
    """Return the splits that the options name.

    Raises:
      UserError: the data set or split is unknown, is not image classification, or is neither prepared nor to be had.
    """
    builder = _prepared_builder(options)
    info = _info(builder, options.name, data)
    for key in ('train_split', 'test_split', 'validation_split'):
        split = getattr(options, key)
        # 'train[:90%]' and 'train+extra' are tfds's own language: only their names are checked here.
        for part in split.split('+') if split else ():
            name = part.split('[')[0].strip()
            if name not in builder.info.splits:
                allowed = ', '.join(builder.info.splits)
                raise UserError(f"config.data.tfds.{key} is '{split}'; '{options.name}' has the splits: {allowed}")
    _check_disjoint(builder, {key: getattr(options, key) for key in ('train_split', 'test_split', 'validation_split')})
    train = _read(builder, options.train_split, info)
    test = _read(builder, options.test_split, info)
    validation = _read(builder, options.validation_split, info) if options.validation_split else None
    return RawData(info, train, validation, test)


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
    try:
        builder = tfds.builder(options.name, data_dir=where)
    except tfds.core.DatasetNotFoundError as error:
        hint = str(error).strip().splitlines()[0]
        raise UserError(
            f"tfds knows no data set '{options.name}' ({hint}); see tfds.list_builders() for the names, and write a "
            "set with several configurations as 'emnist/letters'"
        ) from error
    except (ValueError, KeyError, AssertionError) as error:
        raise UserError(f"tfds cannot make '{options.name}': {_first_line(error)}") from error
    if builder.info.splits:
        return builder
    folder = builder.data_dir
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


def _info(builder: Any, name: str, data: DataConfig) -> DatasetInfo:
    features = builder.info.features
    missing = [key for key in ('image', 'label') if key not in features]
    if missing or not hasattr(features['label'], 'num_classes'):
        raise UserError(
            f"'{name}' is not an image classification data set: it needs the features 'image' and 'label' (a class), "
            f'and has: {", ".join(features)}'
        )
    # An image of tfds is [H, W, channels]; H and W are None where they differ.
    shape = tuple(features['image'].shape)
    if shape[-1] is None:
        raise UserError(f"the images of '{name}' have different numbers of channels ({shape}), which cannot be mixed")
    if None in shape and not data.image_size:
        raise UserError(
            f"the images of '{name}' are of different sizes ({shape}); bring all to one size as they are read: "
            '--config.data.image_size=HEIGHT,WIDTH'
        )
    if None in shape:
        shape = (*data.image_size, shape[-1])
    return DatasetInfo(name, 'classification', cast(tuple[int, int, int], shape), tuple(features['label'].names))


def _read(builder: Any, split: str, info: DatasetInfo) -> Examples:
    """Return a split as arrays; records are decoded straight into the array that is kept."""
    try:
        records = builder.as_data_source(split=split)
        count = len(records)
    except NotImplementedError as error:  # prepared as TFRecord
        try:
            import tensorflow as tf  # noqa: F401
            import tensorflow_datasets as tfds
        except ImportError:
            raise UserError(
                f"'{info.name}' in {builder.data_dir} was prepared as TFRecord, which only tensorflow reads; install "
                'tensorflow, or prepare it again elsewhere: --config.data.tfds.data_dir=DIR'
            ) from error
        records = tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False))
        count = builder.info.splits[split].num_examples
    images = np.empty((count, *info.image_shape), np.uint8)
    labels = np.empty(count, np.int32)
    for i, record in enumerate(records):
        image, labels[i] = record['image'], record['label']
        images[i] = resize_images(image[None], info.image_shape[:2])[0]
    return Examples(images, labels)
