"""Sets as tfds prepares them, written without tfds: TFRecord files and what describes them."""

import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from failpred_jax.data.tfrecord import checksum

_CLASSES = 'tensorflow_datasets.core.features.'


def encoded(pixels, suffix='png', **how):
    """Return pixels [H, W] or [H, W, channels] as the content of a picture file."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1:] == (1,) else pixels).save(file, suffix, **how)
    return file.getvalue()


def image_feature(shape, suffix='png'):
    """Return tfds's description of an image feature; -1 for a side that differs."""
    kind = {'dtype': 'uint8', 'encodingFormat': suffix, 'shape': {'dimensions': [str(n) for n in shape]}}
    return {'image': kind, 'pythonClassName': _CLASSES + 'image_feature.Image'}


def class_feature(count):
    """Return tfds's description of a class."""
    return {'classLabel': {'numClasses': str(count)}, 'pythonClassName': _CLASSES + 'class_label_feature.ClassLabel'}


def dict_feature(**features):
    """Return tfds's description of several features, or of a nested set of them."""
    return {'featuresDict': {'features': features}, 'pythonClassName': _CLASSES + 'features_dict.FeaturesDict'}


def example(**values):
    """Return a serialized tf.train.Example: numbers are int64, bytes are bytes; '/' in names is written '__'."""
    found = b''
    for name, value in values.items():
        if isinstance(value, bytes):
            feature = _field(1, _field(1, value))
        else:
            feature = _field(3, _field(1, _varint(int(value))))
        found += _field(1, _field(1, name.replace('__', '/').encode()) + _field(2, feature))
    return _field(1, found)


def write_records(file: Path, records):
    """Write a TFRecord file."""
    with file.open('wb') as stream:
        for record in records:
            length = struct.pack('<Q', len(record))
            stream.write(length + checksum(length) + record + checksum(record))


def write_set(folder: Path, features, splits, name='tiny'):
    """Write a set: split -> its records, shard by shard."""
    here = folder / name / '1.0.0'
    here.mkdir(parents=True)
    (here / 'features.json').write_text(json.dumps(features))
    about = []
    for split, shards in splits.items():
        for i, records in enumerate(shards):
            write_records(here / f'{name}-{split}.tfrecord-{i:05}-of-{len(shards):05}', records)
        lengths = [str(len(records)) for records in shards]
        template = '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'
        about.append({'name': split, 'numBytes': '1', 'filepathTemplate': template, 'shardLengths': lengths})
    described = {'name': name, 'version': '1.0.0', 'fileFormat': 'tfrecord', 'splits': about}
    (here / 'dataset_info.json').write_text(json.dumps(described))


def small_set(folder: Path, shape=(4, 5, 3)):
    """Write 20 training examples in two files and 8 test examples in one, of two classes."""
    rng = np.random.default_rng(0)
    records = [
        example(image=encoded(rng.integers(0, 256, shape).astype(np.uint8)), label=i % 2) for i in range(28)
    ]  # fmt: skip
    features = dict_feature(image=image_feature(shape), label=class_feature(2))
    write_set(folder, features, {'train': [records[:10], records[10:20]], 'test': [records[20:]]})


def _field(number, content):
    return bytes([8 * number + 2]) + _varint(len(content)) + content


def _varint(number):
    found = b''
    while number >= 128:
        found, number = found + bytes([number % 128 + 128]), number // 128
    return found + bytes([number])
