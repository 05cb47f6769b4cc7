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
from data.records_on_disk import small_set, write_records
from data.test_tfds import prepare

from failpred_jax.config import DataConfig
from failpred_jax.data import fingerprint, lazy, lazy_maps, load_data, record_split
from failpred_jax.data.feeding import Feed
from failpred_jax.data.lazy import is_lazy
from failpred_jax.data.records import interleaved, open_records
from failpred_jax.data.resize import resize_images
from failpred_jax.data.tfds import TfdsOptions, load
from failpred_jax.data.tfrecord import checksum, read_record, record_offsets
from failpred_jax.errors import UserError

MASKS = {'label_key': 'mask', 'mask_values': (1, 2, 3), 'class_names': ('a', 'b', 'c')}
KINDS = ('array_record', 'tfrecord')
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
        write_records(file.with_name(file.name.replace('array_record', 'tfrecord')), records)
    about = json.loads((here / 'dataset_info.json').read_text())
    (here / 'dataset_info.json').write_text(json.dumps(about | {'fileFormat': 'tfrecord'}))
    return found


def config_of(folder, memory_mb=8192, **options):
    options = TfdsOptions(name='tiny', data_dir=str(folder), **options)
    # Of those in memory nothing is kept: a slow machine would, and map it instead of reading the records.
    cache_mb = 0 if memory_mb else 1
    return DataConfig(image_size=(6, 6), memory_mb=memory_mb, cache_mb=cache_mb, owned={'tfds': options})


@pytest.mark.parametrize('kind', KINDS)
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


def test_images_of_one_size_become_another_in_memory_and_from_their_files(tmp_path):
    small_set(tmp_path, (8, 6, 3))
    stored = load_data(dataclasses.replace(config_of(tmp_path), image_size=()))
    for size in ((3, 4), (16, 9), (8, 6)):
        memory, files = (
            load_data(dataclasses.replace(config_of(tmp_path, mb), image_size=size)) for mb in (8192, 0)
        )  # fmt: skip
        assert files.info == memory.info and memory.info.image_shape == (*size, 3)
        for name, part in memory.parts.items():
            assert is_lazy(files.parts[name].images) and not is_lazy(part.images)
            np.testing.assert_array_equal(np.asarray(files.parts[name].images), part.images)
            np.testing.assert_array_equal(np.asarray(files.parts[name].labels), part.labels)
            np.testing.assert_allclose(part.images, resize_images(stored.parts[name].images, size).astype(int), atol=1)


def test_classes_are_read_without_images_and_before_anything_was_looked_through(prepared):
    raw = [load(config, config.options_of('tfds')) for config in (config_of(prepared['tfrecord'], mb) for mb in (8, 0))]
    np.testing.assert_array_equal(raw[1].train.labels[[4, 4, 0]], raw[0].train.labels[[4, 4, 0]])
    np.testing.assert_array_equal(np.asarray(raw[1].test.labels), raw[0].test.labels)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('labels', ['classes', 'maps'])
def test_a_file_of_records_that_vanishes_in_training_is_named(prepared, kind, labels, tmp_path):
    shutil.copytree(prepared[kind], tmp_path / 'copy')
    train = load_data(config_of(tmp_path / 'copy', **LABELS[labels])).train
    raw = load(config_of(tmp_path / 'copy', 0), TfdsOptions('tiny', str(tmp_path / 'copy'), **LABELS[labels]))
    for file in (tmp_path / 'copy').rglob('*record*'):
        file.unlink()
    feed = Feed(raw.train._replace(labels=train.labels[:1].repeat(30, axis=0)), 8, 1, 0, 5)
    with pytest.raises(
        UserError, match=rf"number \d+, record \d+ of '.*tiny-train\.{kind}.*', cannot be read .*restore the file"
    ):
        feed.chunk(0, 1)
    with pytest.raises(UserError, match=rf"of '.*tiny-train\.{kind}.*', cannot be read"):
        np.asarray(raw.train.labels)


def cut(file):
    file.write_bytes(file.read_bytes()[:-9])


def compress(file):
    file.write_bytes(gzip.compress(file.read_bytes()))


def counted(lengths):
    """Return how to say in dataset_info.json that a split has files of so many records."""

    def change(file):
        about = json.loads((file.parent / 'dataset_info.json').read_text())
        for split in about['splits']:
            split['shardLengths'] = lengths if f'-{split["name"]}.' in file.name else split['shardLengths']
        (file.parent / 'dataset_info.json').write_text(json.dumps(about))

    return change


def without_splits(folder):
    about = json.loads((folder / 'dataset_info.json').read_text())
    (folder / 'dataset_info.json').write_text(json.dumps({**about, 'splits': []}))


SPOILED = {
    'cut off': (cut, 'it ends at byte .*, within record 11|damaged or cut off'),
    'more at the end': (lambda f: f.write_bytes(f.read_bytes() + b'\0' * 9), 'after 12 records, no record|damaged'),
    'a length': (lambda f: f.write_bytes(b'\1' + f.read_bytes()[1:]), 'after 0 records, no record begins'),
    'empty': (lambda f: f.write_bytes(b''), 'it holds 0 records|damaged'),
    'compressed': (compress, 'compressed with gzip|damaged'),
    'gone': (lambda f: f.unlink(), 'o such file'),
    'fewer': (counted(['9']), 'it holds 12 records.*, but its dataset_info.json says 9'),
    'more': (counted(['15']), 'it holds 12 records.*, but its dataset_info.json says 15'),
}


# A length that is turned over is anywhere in a file of array_record; that is below.
@pytest.mark.parametrize(
    ('kind', 'spoil'), [('tfrecord', 'a length'), *((k, s) for k in KINDS for s in SPOILED if s != 'a length')]
)
def test_files_that_do_not_hold_the_set_are_named_before_training(prepared, tmp_path, kind, spoil):
    shutil.copytree(prepared[kind], tmp_path / 'copy')
    (file,) = (tmp_path / 'copy').rglob(f'*-test.{kind}*')
    change, words = SPOILED[spoil]
    change(file)
    for memory_mb in (0, 8192):
        with pytest.raises(UserError, match=rf"'.*{file.name}', a file of .*, cannot be read: .*({words})") as caught:
            load_data(config_of(tmp_path / 'copy', memory_mb))
        assert 'restore it from a copy' in str(caught.value)


@pytest.mark.parametrize('kind', KINDS)
def test_files_that_are_gone_are_named_together(prepared, tmp_path, kind):
    shutil.copytree(prepared[kind], tmp_path / 'copy')
    (file,) = (tmp_path / 'copy').rglob(f'*-train.{kind}*')
    counted(['6'] * 5)(file)
    with pytest.raises(UserError, match=rf"5 of the 5 files of 'tiny', train .*{kind}-00002-of-00005'.* and 2 more\)"):
        load_data(config_of(tmp_path / 'copy'))


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (lambda folder: (folder / 'dataset_info.json').write_text('{'), 'cannot make .*restore its dataset_info.json'),
        (lambda folder: (folder / 'dataset_info.json').unlink(), 'cannot make .*restore its dataset_info.json'),
        (lambda folder: (folder / 'features.json').unlink(), 'no features.json in a folder of a version'),
        (lambda folder: (folder / 'features.json').write_text('[]'), 'cannot make .*restore .* features.json'),
        (without_splits, 'names no splits; restore it'),
    ],
)
def test_a_set_whose_description_is_damaged_is_refused(prepared, tmp_path, spoil, words):
    shutil.copytree(prepared['tfrecord'], tmp_path / 'copy')
    spoil(tmp_path / 'copy' / 'tiny' / '1.0.0')
    with pytest.raises(UserError, match=words):
        load_data(config_of(tmp_path / 'copy'))


@pytest.mark.parametrize('memory_mb', [0, 8192])
def test_another_label_in_a_record_is_no_label_but_damage(prepared, tmp_path, memory_mb):
    shutil.copytree(prepared['tfrecord'], tmp_path / 'copy')
    (file,) = (tmp_path / 'copy').rglob('*-train.tfrecord*')
    content, offsets = bytearray(file.read_bytes()), record_offsets(file, 30)
    # The number of a class: a list of one byte.
    at = content.index(b'\x1a\x03\n\x01', offsets[7]) + 4
    content[at] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(UserError, match=rf"number \d+, record 7 of '.*{file.name}', cannot be read .*the checksum is"):
        load_data(config_of(tmp_path / 'copy', memory_mb))


def test_a_record_of_nothing_is_named(prepared, tmp_path):
    shutil.copytree(prepared['tfrecord'], tmp_path / 'copy')
    (file,) = (tmp_path / 'copy').rglob('*-train.tfrecord*')
    offsets = record_offsets(file, 30)
    write_records(file, [b'' if i == 4 else read_record(file, offsets, i) for i in range(30)])
    with pytest.raises(UserError, match=rf"record 4 of '.*{file.name}', cannot be read \(the record is empty\)"):
        load_data(config_of(tmp_path / 'copy'))


def test_every_bit_that_is_turned_over_is_found(tmp_path):
    write_records(tmp_path / 'some', [bytes(3), b'', b'abcdefgh', b'\xff'])
    content = (tmp_path / 'some').read_bytes()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / 'damaged').write_bytes(bytes(damaged))
        with pytest.raises(ValueError, match='no record begins|checksum'):
            offsets = record_offsets(tmp_path / 'damaged', 4)
            for number in range(4):
                read_record(tmp_path / 'damaged', offsets, number)


def test_array_record_gives_what_was_written_or_an_error(prepared, tmp_path):
    import tensorflow_datasets as tfds

    shutil.copytree(prepared['array_record'], tmp_path / 'copy')
    builder: Any = tfds.builder('tiny', data_dir=str(tmp_path / 'copy'))
    (file,) = (tmp_path / 'copy').rglob('*-train.array_record*')
    content, records = file.read_bytes(), open_records(builder, 'train', 'tiny')
    expected = [records.read(i) for i in range(30)]
    rng, outcomes = np.random.default_rng(0), {'same': 0, 'error': 0}
    for at in rng.choice(np.flatnonzero(np.frombuffer(content, np.uint8)), 60, replace=False):
        damaged = bytearray(content)
        damaged[at] ^= 1 << rng.integers(8)
        file.write_bytes(bytes(damaged))
        try:
            found = open_records(builder, 'train', 'tiny')
            assert [found.read(i) for i in range(30)] == expected
            outcomes['same'] += 1
        except (UserError, RuntimeError):
            outcomes['error'] += 1
    assert outcomes['error'] > 30


def test_records_begin_where_they_were_written(tmp_path):
    records = [bytes(n) for n in (3, 0, 70, 1)]
    write_records(tmp_path / 'some', records)
    offsets = record_offsets(tmp_path / 'some', 4)
    np.testing.assert_array_equal(np.diff(offsets), [16 + len(record) for record in records])
    # The check value of CRC-32C, masked as TFRecord does.
    value = 0xE3069283
    assert checksum(b'123456789') == struct.pack('<I', (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


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
