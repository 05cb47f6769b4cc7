"""Sets larger than memory: read as needed, they are those in memory to the last bit, in any order of asking."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from failpred_jax.config import DataConfig
from failpred_jax.data import fingerprint, lazy, load_data, split_validation
from failpred_jax.data.feeding import Feed, batches_in_order
from failpred_jax.data.lazy import LazyRows, ReadAhead, is_lazy, lazy_array, row_digests
from failpred_jax.errors import UserError

COUNT = 50


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def sets(tmp_path):
    """The same pictures as a folder per class, a table, a parquet file and a folder of arrays: source -> config."""
    pictures = np.random.default_rng(0).integers(0, 256, (COUNT, 6, 5, 3), np.uint8)
    pictures[7] = pictures[3]
    names, rows = [f'{i:02}.png' for i in range(COUNT)], []
    (tmp_path / 'arrays').mkdir()
    for i, name in enumerate(names):
        file = tmp_path / 'folder' / 'ab'[i % 2] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[i]).save(file)
        rows.append({'image': {'bytes': file.read_bytes(), 'path': name}, 'label': i % 2})
    table = [f'folder/{"ab"[i % 2]}/{name},{"ab"[i % 2]}' for i, name in enumerate(names)]
    (tmp_path / 'table.csv').write_text('\n'.join(['path,label', *table]))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / 'all.parquet')
    np.save(tmp_path / 'arrays' / 'images_train.npy', pictures)
    np.save(tmp_path / 'arrays' / 'labels_train.npy', np.arange(COUNT) % 2)
    where = {'folder': 'folder', 'table': 'table.csv', 'parquet': 'all.parquet', 'arrays': 'arrays'}
    return {
        source: DataConfig(source=source, path=str(tmp_path / path), image_size=(4, 4), cache_mb=0)
        for source, path in where.items()
    }


def kept_in_files(config):
    # Of those in memory nothing is kept: a slow machine would, and map it instead of reading the files.
    return dataclasses.replace(config, memory_mb=0, cache_mb=1)


@pytest.mark.parametrize('source', ['folder', 'table', 'parquet', 'arrays'])
def test_what_stays_in_its_files_is_what_is_in_memory(sets, source, monkeypatch):
    memory = load_data(sets[source])
    for _ in range(2):
        files = load_data(kept_in_files(sets[source]))
        assert all(is_lazy(part.images) for part in files.parts.values())
        assert files.info == memory.info
        assert files.warnings == memory.warnings
        for name, part in memory.parts.items():
            np.testing.assert_array_equal(np.asarray(files.parts[name].images), part.images)
            np.testing.assert_array_equal(files.parts[name].labels, part.labels)
    of_memory, of_files = fingerprint(memory.parts, memory.info), fingerprint(files.parts, files.info)
    assert of_memory != of_files
    assert fingerprint(files.parts, files.info, of_memory) == of_memory
    assert fingerprint(memory.parts, memory.info, of_files) == of_files
    halves = [split_validation(data, 3) for data in (memory, files)]
    np.testing.assert_array_equal(np.asarray(halves[1][0].images), halves[0][0].images)
    np.testing.assert_array_equal(np.asarray(halves[1][1].val.images), halves[0][1].val.images)


def test_training_and_evaluation_are_fed_the_same(sets):
    memory, files = load_data(sets['folder']).train, load_data(kept_in_files(sets['folder'])).train
    feeds = [Feed(examples, 8, 1, 0, 5) for examples in (memory, files)]
    # Chunks that go on as was foreseen, that are shorter, and that begin elsewhere, as after a resume.
    for step, num_steps, then in ((0, 2, 2), (2, 2, 5), (4, 1, 1), (5, 3, 3), (1, 4, 0)):
        (of_memory, order), (of_files, same) = (feed.chunk(step, num_steps, then) for feed in feeds)
        np.testing.assert_array_equal(np.asarray(of_files.images), np.asarray(of_memory.images))
        np.testing.assert_array_equal(np.asarray(same), np.asarray(order))
    pairs = zip(batches_in_order(memory, 16), batches_in_order(files, 16), strict=True)
    for (of_memory, real), (of_files, count) in pairs:
        np.testing.assert_array_equal(np.asarray(of_files.image), np.asarray(of_memory.image))
        np.testing.assert_array_equal(np.asarray(of_files.label), np.asarray(of_memory.label))
        assert real == count


def test_rows_are_taken_as_those_of_an_array():
    array = np.random.default_rng(1).integers(0, 256, (9, 3, 2, 1), np.uint8)
    images = lazy_array(array)
    for rows in (0, -1, np.int64(4), slice(2, 7), slice(None, None, -2), [3, 1], np.array([[1, 5], [0, 0]]),
                 np.arange(9) % 2 == 0, np.zeros(0, int)):  # fmt: skip
        np.testing.assert_array_equal(images[rows], array[rows])
    part = lazy.part_of(images, np.array([8, 2, 2]))
    np.testing.assert_array_equal(part[1:], array[[2, 2]])
    np.testing.assert_array_equal(np.asarray(part), array[[8, 2, 2]])
    assert (part.shape, part.nbytes, part.ndim, len(part)) == ((3, 3, 2, 1), 18, 4, 3)
    np.testing.assert_array_equal(row_digests(part), row_digests(array[[8, 2, 2]]))
    with pytest.raises(IndexError):
        images[9]
    with pytest.raises((TypeError, IndexError)):
        images[..., 0]


def test_the_next_start_reads_no_picture_and_a_changed_file_is_seen(sets, tmp_path, monkeypatch):
    config = kept_in_files(sets['folder'])
    first = load_data(config)
    read, reads = lazy.as_one_size, []
    monkeypatch.setattr(lazy, 'as_one_size', lambda *args: reads.append(args[-1]) or read(*args))
    monkeypatch.setattr(lazy, 'each_picture', lambda *args: pytest.fail('every picture was read again'))
    second = load_data(config)
    np.testing.assert_array_equal(row_digests(second.train.images), row_digests(first.train.images))
    monkeypatch.undo()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    Image.new('RGB', (5, 6)).save(tmp_path / 'folder' / 'a' / '00.png')
    assert fingerprint(load_data(config).parts, first.info) != fingerprint(first.parts, first.info)


def test_all_that_is_broken_is_named_before_training_and_what_breaks_later_in_words(sets, tmp_path):
    config = kept_in_files(sets['folder'])
    files = load_data(config)
    for name in ('a/00.png', 'b/01.png'):
        (tmp_path / 'folder' / name).write_bytes(b'\x89PNG\r\n\x1a\n' + b'no picture')
    with pytest.raises(UserError, match=r'(?s)2 of the 50 images.*00\.png.*01\.png'):
        load_data(config)
    with pytest.raises(UserError, match='cannot be read as an image'):
        np.asarray(files.train.images)


def test_reading_ahead_changes_nothing_however_wrong_it_was():
    images = lazy_array(np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1))
    ahead = ReadAhead(images)
    for begun, asked in (((1, 2), (1, 2)), ((1, 2, 3), (1, 2)), ((4,), (4, 5, 6)), ((7, 8), (0, 8)), ((), (3,))):
        ahead.begin(np.array(begun, int))
        np.testing.assert_array_equal(ahead.take(np.array(asked)), images[np.array(asked)])
    np.testing.assert_array_equal(ahead.take(np.array([9])), images[[9]])
    assert isinstance(images, LazyRows)
