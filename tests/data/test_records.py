"""Sets of tfds by their records: read as needed they are those in memory, in tfds's order, from either format."""

import dataclasses
import gzip
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.test_tfds import prepare

from failpred_jax.config import DataConfig
from failpred_jax.data import fingerprint, lazy, lazy_maps, load_data, record_split
from failpred_jax.data.feeding import Feed
from failpred_jax.data.lazy import is_lazy
from failpred_jax.data.records import _checksum, interleaved, record_offsets
from failpred_jax.data.tfds import TfdsOptions, load
from failpred_jax.errors import UserError

MASKS = {'label_key': 'mask', 'mask_values': (1, 2, 3), 'class_names': ('a', 'b', 'c')}
LABELS = {'classes': {}, 'maps': MASKS, 'maps unexplained': {'label_key': 'mask'}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """One set in both formats: format -> folder."""
    folder = tmp_path_factory.mktemp('records')
    found = {'array_record': prepare(folder, 'sizes'), 'tfrecord': str(folder / 'tfrecord')}
    shutil.copytree(found['array_record'], found['tfrecord'])
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder('tiny', data_dir=found['array_record'])
    here = Path(found['tfrecord']) / 'tiny' / '1.0.0'
    for split in ('train', 'test'):
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        records = list(builder.as_data_source(split=split, deserialize_method=raw))
        (file,) = here.glob(f'*-{split}.array_record*')
        file.unlink()
        write_tfrecord(file.with_name(file.name.replace('array_record', 'tfrecord')), records)
    about = json.loads((here / 'dataset_info.json').read_text())
    (here / 'dataset_info.json').write_text(json.dumps(about | {'fileFormat': 'tfrecord'}))
    return found


def write_tfrecord(file, records):
    with file.open('wb') as stream:
        for record in records:
            length = struct.pack('<Q', len(record))
            stream.write(length + struct.pack('<I', _checksum(length)) + record + bytes(4))


def config_of(folder, memory_mb=8192, **options):
    options = TfdsOptions(name='tiny', data_dir=str(folder), **options)
    # Of those in memory nothing is kept: a slow machine would, and map it instead of reading the records.
    cache_mb = 0 if memory_mb else 1
    return DataConfig(image_size=(6, 6), memory_mb=memory_mb, cache_mb=cache_mb, owned={'tfds': options})


@pytest.mark.parametrize('kind', ['array_record', 'tfrecord'])
@pytest.mark.parametrize('labels', LABELS)
def test_what_stays_in_its_records_is_what_is_in_memory(prepared, kind, labels, monkeypatch):
    config = config_of(prepared['array_record'], **LABELS[labels])
    memory = load_data(config)
    config = config_of(prepared[kind], 0, **LABELS[labels])
    files = load_data(config)
    for module in (lazy, lazy_maps):
        monkeypatch.setattr(module, 'each_picture', lambda *args: pytest.fail('everything was read again'))
    monkeypatch.setattr(record_split, 'in_threads', lambda *args: pytest.fail('everything was read again'))
    for found in (files, load_data(config)):
        assert (found.info, found.warnings) == (memory.info, memory.warnings)
        for name, part in memory.parts.items():
            assert is_lazy(found.parts[name].images)
            assert is_lazy(found.parts[name].labels) == (labels != 'classes')
            np.testing.assert_array_equal(np.asarray(found.parts[name].images), part.images)
            np.testing.assert_array_equal(np.asarray(found.parts[name].labels), part.labels)
            assert found.parts[name].labels.dtype == part.labels.dtype
        of_memory = fingerprint(memory.parts, memory.info)
        assert fingerprint(found.parts, found.info, of_memory) == of_memory
    feeds = [Feed(data.train, 8, 1, 0, 5) for data in (memory, files)]
    for step, num_steps, then in ((0, 2, 2), (2, 2, 5), (4, 1, 1), (1, 4, 0)):
        (expected, order), (found, same) = (feed.chunk(step, num_steps, then) for feed in feeds)
        np.testing.assert_array_equal(np.asarray(found.images), np.asarray(expected.images))
        np.testing.assert_array_equal(np.asarray(found.labels), np.asarray(expected.labels))
        np.testing.assert_array_equal(np.asarray(same), np.asarray(order))


def test_classes_are_read_without_images_and_before_anything_was_looked_through(prepared):
    raw = [load(config, config.options_of('tfds')) for config in (config_of(prepared['tfrecord'], mb) for mb in (8, 0))]
    np.testing.assert_array_equal(raw[1].train.labels[[4, 4, 0]], raw[0].train.labels[[4, 4, 0]])
    np.testing.assert_array_equal(np.asarray(raw[1].test.labels), raw[0].test.labels)


@pytest.mark.parametrize('kind', ['array_record', 'tfrecord'])
@pytest.mark.parametrize('labels', ['classes', 'maps'])
def test_a_file_of_records_that_vanishes_in_training_is_named(prepared, kind, labels, tmp_path):
    shutil.copytree(prepared[kind], tmp_path / 'copy')
    train = load_data(config_of(tmp_path / 'copy', **LABELS[labels])).train
    raw = load(config_of(tmp_path / 'copy', 0), TfdsOptions('tiny', str(tmp_path / 'copy'), **LABELS[labels]))
    for file in (tmp_path / 'copy').rglob('*record*'):
        file.unlink()
    feed = Feed(raw.train._replace(labels=train.labels[:1].repeat(30, axis=0)), 8, 1, 0, 5)
    with pytest.raises(UserError, match=rf"number \d+, in '.*tiny-train\.{kind}.*', cannot be read .*restore the file"):
        feed.chunk(0, 1)
    with pytest.raises(UserError, match=rf"in '.*tiny-train\.{kind}.*', cannot be read"):
        np.asarray(raw.train.labels)


@pytest.mark.parametrize(
    'spoil',
    [lambda d: d[:-9], lambda d: d + b'\0' * 9, lambda d: d[:2] + b'\1' + d[3:], lambda d: b'', gzip.compress],
)
def test_a_damaged_index_is_named_before_training(prepared, tmp_path, spoil):
    shutil.copytree(prepared['tfrecord'], tmp_path / 'copy')
    (file,) = (tmp_path / 'copy').rglob('*-test.tfrecord*')
    file.write_bytes(spoil(file.read_bytes()))
    for memory_mb in (0, 8192):
        with pytest.raises(UserError, match=rf"'.*{file.name}' cannot be read as TFRecord \(.*; restore it"):
            load_data(config_of(tmp_path / 'copy', memory_mb))


def test_records_begin_where_they_were_written(tmp_path):
    records = [bytes(n) for n in (3, 0, 70, 1)]
    write_tfrecord(tmp_path / 'some', records)
    offsets = record_offsets(tmp_path / 'some', 4)
    np.testing.assert_array_equal(np.diff(offsets), [16 + len(record) for record in records])
    # The check value of CRC-32C, masked as TFRecord does.
    value = 0xE3069283
    assert _checksum(b'123456789') == (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def in_turn(lists, files, records):
    """Yield what tf.data's interleave yields, with iterators, as its documentation says."""
    waiting, slots = [iter(found) for found in lists], [None] * files
    while waiting or any(slot is not None for slot in slots):
        for i in range(files):
            slots[i] = waiting.pop(0) if slots[i] is None and waiting else slots[i]
            for _ in range(records if slots[i] is not None else 0):
                try:
                    yield next(slots[i])
                except StopIteration:
                    slots[i] = None
                    break


def test_files_are_interleaved_as_iterators_are():
    rng = np.random.default_rng(0)
    for _ in range(200):
        lengths = rng.integers(0, 9, rng.integers(0, 9)).tolist()
        files, records = rng.integers(1, 5, 2).tolist()
        starts = np.cumsum([0, *lengths])
        lists = [range(start, start + n) for start, n in zip(starts, lengths, strict=False)]
        np.testing.assert_array_equal(interleaved(lengths, files, records), list(in_turn(lists, files, records)))


BY_TENSORFLOW = """
import json, sys
import numpy as np
import tensorflow_datasets as tfds

class Many(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        image = tfds.features.Image(shape=(2, 2, 1), encoding_format='png')
        features = {'image': image, 'label': tfds.features.ClassLabel(num_classes=700)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, download):
        return {'train': self._generate_examples(700), 'test': self._generate_examples(40)}

    def _generate_examples(self, count):
        for i in range(count):
            yield i, {'image': np.full((2, 2, 1), i % 256, np.uint8), 'label': i}

builder = Many(data_dir=sys.argv[1], file_format='tfrecord')
builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=20))
found = {}
for split in ('train', 'train[:35%]', 'train[50:613]', 'train[600:]+train[:100]'):
    examples = tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False))
    found[split] = [int(example['label']) for example in examples]
with open(sys.argv[2], 'w') as file:
    json.dump(found, file)
"""


@pytest.mark.long
def test_what_tensorflow_wrote_is_read_in_the_order_of_tensorflow(tmp_path):
    pytest.importorskip('tensorflow')
    words = [sys.executable, '-c', BY_TENSORFLOW, str(tmp_path / 'sets'), str(tmp_path / 'order.json')]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for split, expected in json.loads((tmp_path / 'order.json').read_text()).items():
        for memory_mb in (0, 8192):
            config = dataclasses.replace(DataConfig(), memory_mb=memory_mb)
            raw = load(config, TfdsOptions(name='many', data_dir=str(tmp_path / 'sets'), train_split=split))
            assert np.asarray(raw.train.labels).tolist() == expected
            assert np.asarray(raw.train.images)[:, 0, 0, 0].tolist() == [number % 256 for number in expected]
