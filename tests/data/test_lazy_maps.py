"""Label maps that stay in their files: those in memory to the last bit, and nobody reads all of them at once."""

import dataclasses

import numpy as np
import pytest
from data.pictures_on_disk import picture, save
from PIL import Image

from failpred_jax.config import DataConfig
from failpred_jax.data import fingerprint, lazy, lazy_maps, load_data, split_validation
from failpred_jax.data.feeding import Feed, batches_in_order
from failpred_jax.data.lazy import is_lazy, row_digests
from failpred_jax.data.lazy_maps import counts_by_map, lazy_map_array, numbers_in
from failpred_jax.data.look import class_counts
from failpred_jax.errors import UserError
from failpred_jax.evaluate.pixels import draw_pixels
from failpred_jax.types import Examples

COUNT, SIZE = 40, (5, 6)
EXPLAINED = {'mask_values': (0, 7, 255), 'class_names': ('ground', 'dog', 'cat')}
PARTS = {'train': 20, 'val': 9, 'test': 11}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def config_of(source, path, image_size=(), **options):
    config = DataConfig(source=source, path=str(path), image_size=image_size, cache_mb=0)
    own = dataclasses.replace(config.options_of(source), **options)
    return dataclasses.replace(config, owned={**config.owned, source: own})


@pytest.fixture
def sets(tmp_path):
    """Sets with label maps of every kind: name -> config."""
    rng = np.random.default_rng(3)
    for i in range(COUNT):
        for name, numbers in (('plain', rng.integers(0, 4, SIZE)), ('other', rng.choice([0, 7, 255, 9], SIZE))):
            image = picture(i - (i == 11), SIZE[::-1])
            save(tmp_path / name / 'images' / f'{i}.png', image)
            save(tmp_path / name / 'masks' / f'{i}.png', Image.fromarray(numbers.astype(np.uint8)))
    for part, count in PARTS.items():
        for i in range(count):
            save(tmp_path / 'camvid' / part / f'{i}.png', picture(i + 50 * list(PARTS).index(part), SIZE[::-1]))
            label = rng.integers(0, 12, SIZE).astype(np.uint8)
            save(tmp_path / 'camvid' / f'{part}annot' / f'{i}.png', Image.fromarray(label))
    write_arrays(tmp_path)
    return {
        'arrays': config_of('arrays', tmp_path / 'stored.npz', ignore_label=200),
        'arrays resized': config_of('arrays', tmp_path / 'stored.npz', (3, 4), ignore_label=200),
        'arrays in a folder': config_of('arrays', tmp_path / 'files', ignore_label=200),
        'segmentation': config_of('segmentation', tmp_path / 'plain'),
        'resized': config_of('segmentation', tmp_path / 'plain', (3, 4)),
        'explained': config_of('segmentation', tmp_path / 'other', ignore_label=9, **EXPLAINED),
        'camvid': config_of('camvid', tmp_path / 'camvid'),
        'camvid resized': config_of('camvid', tmp_path / 'camvid', (3, 4)),
    }


def write_arrays(folder):
    """Write images and label maps of several types and orders, as an npz and as a folder of .npy files."""
    rng, found = np.random.default_rng(4), {}
    for part, count, dtype in (('train', 30, '>i2'), ('val', 5, np.int64), ('test', 6, np.uint8)):
        found[f'images_{part}'] = rng.integers(0, 256, (count, *SIZE, 3)).astype(np.uint8)
        found[f'labels_{part}'] = rng.choice([0, 1, 3, 4, 200], (count, *SIZE)).astype(dtype)
    found['labels_val'] = np.asfortranarray(found['labels_val'])
    np.savez(folder / 'stored.npz', **found)
    np.savez_compressed(folder / 'compressed.npz', **found)
    (folder / 'files').mkdir()
    for name, array in found.items():
        np.save(folder / 'files' / f'{name}.npy', array)


NAMES = (
    'arrays',
    'arrays resized',
    'arrays in a folder',
    'segmentation',
    'resized',
    'explained',
    'camvid',
    'camvid resized',
)


def kept_in_files(config):
    # Of those in memory nothing is kept: a slow machine would, and map it instead of reading the files.
    return dataclasses.replace(config, memory_mb=0, cache_mb=1)


@pytest.mark.parametrize('name', NAMES)
def test_maps_that_stay_in_their_files_are_those_in_memory(sets, name):
    memory = load_data(sets[name])
    for _ in range(2):
        files = load_data(kept_in_files(sets[name]))
        assert all(is_lazy(part.images) and is_lazy(part.labels) for part in files.parts.values())
        assert (files.info, files.warnings) == (memory.info, memory.warnings)
        for part, expected in memory.parts.items():
            found = files.parts[part]
            np.testing.assert_array_equal(np.asarray(found.images), expected.images)
            np.testing.assert_array_equal(np.asarray(found.labels), expected.labels)
            assert (found.labels.dtype, found.labels.nbytes) == (expected.labels.dtype, expected.labels.nbytes)
            np.testing.assert_array_equal(class_counts(found, files.info), class_counts(expected, memory.info))
            np.testing.assert_array_equal(row_digests(found.labels), row_digests(expected.labels))
    of_memory, of_files = fingerprint(memory.parts, memory.info), fingerprint(files.parts, files.info)
    assert of_memory != of_files
    assert fingerprint(files.parts, files.info, of_memory) == of_memory
    assert fingerprint(memory.parts, memory.info, of_files) == of_files
    for of_memory, of_files in zip(split_validation(memory, 3), split_validation(files, 3), strict=True):
        first, second = (of if isinstance(of, Examples) else of.val for of in (of_memory, of_files))
        np.testing.assert_array_equal(np.asarray(second.labels), first.labels)


def test_training_evaluation_and_samples_of_pixels_are_given_the_same(sets):
    memory, files = load_data(sets['explained']).train, load_data(kept_in_files(sets['explained'])).train
    feeds = [Feed(examples, 8, 1, 0, 5) for examples in (memory, files)]
    for step, num_steps, then in ((0, 2, 2), (2, 2, 5), (4, 1, 1), (5, 3, 3), (1, 4, 0)):
        (of_memory, order), (of_files, same) = (feed.chunk(step, num_steps, then) for feed in feeds)
        np.testing.assert_array_equal(np.asarray(of_files.images), np.asarray(of_memory.images))
        np.testing.assert_array_equal(np.asarray(of_files.labels), np.asarray(of_memory.labels))
        np.testing.assert_array_equal(np.asarray(same), np.asarray(order))
    # Without images, as where what is frozen replaces them.
    for of_memory, of_files in ((memory, files), (memory._replace(images=None), files._replace(images=None))):
        pairs = zip(batches_in_order(of_memory, 16), batches_in_order(of_files, 16), strict=True)
        for (first, real), (second, count) in pairs:
            np.testing.assert_array_equal(np.asarray(second.label), np.asarray(first.label))
            assert real == count and (first.image is None) == (second.image is None)
    for most in (50, 10_000):
        samples = [draw_pixels(examples.labels, 3, most, 5) for examples in (memory, files)]
        for found, expected in zip(*(vars(sample).values() for sample in samples), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_compressed_arrays_are_those_that_are_not_and_it_is_said_that_they_are_in_memory(sets, tmp_path, capsys):
    stored = kept_in_files(sets['arrays'])
    parts = load_data(stored).parts
    assert 'note' not in capsys.readouterr().out
    compressed = config_of('arrays', tmp_path / 'compressed.npz', ignore_label=200)
    for config, is_said in ((compressed, False), (kept_in_files(compressed), True)):
        for name, part in load_data(config).parts.items():
            np.testing.assert_array_equal(np.asarray(part.images), np.asarray(parts[name].images))
            np.testing.assert_array_equal(np.asarray(part.labels), np.asarray(parts[name].labels))
        said = capsys.readouterr().out
        assert ('images_train, labels_train' in said and 'numpy.savez, not savez_compressed' in said) == is_said


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int64])
def test_numbers_are_counted_as_by_numpy_in_any_order_of_asking(dtype):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 200, (12, 4, 3)).astype(dtype)
    array[5] = 1
    maps = lazy_map_array(array)
    places = np.array([5, 0, 0, 11, 3])
    for found, expected in (
        (array, array),
        (maps, array),
        (maps.looked_through(), array),
        (lazy.part_of(maps.looked_through(), places), array[places]),
        (lazy.part_of(lazy.part_of(maps.looked_through(), places), np.array([4, 1])), array[places][[4, 1]]),
        (array[:0], array[:0]),
    ):
        counts = counts_by_map(found)
        rebuilt = [np.repeat(counts[counts[:, 0] == i, 1], counts[counts[:, 0] == i, 2]) for i in range(len(expected))]
        for label, numbers in zip(expected, rebuilt, strict=True):
            np.testing.assert_array_equal(numbers, np.sort(label, axis=None))
        numbers, pixels = np.unique(expected, return_counts=True)
        np.testing.assert_array_equal(numbers_in(found)[0], numbers)
        np.testing.assert_array_equal(numbers_in(found)[1], pixels)
    np.testing.assert_array_equal(row_digests(maps), row_digests(array.astype(np.int32)))


def test_the_next_start_reads_nothing_and_a_changed_map_is_seen(sets, tmp_path, monkeypatch):
    config = kept_in_files(sets['segmentation'])
    first = load_data(config)
    with monkeypatch.context() as patch:
        for module in (lazy, lazy_maps):
            patch.setattr(module, 'each_picture', lambda *args: pytest.fail('everything was read again'))
        patch.setattr(lazy.LazyRows, '__array__', lambda *args, **more: pytest.fail('everything was read at once'))
        second = load_data(config)
    assert fingerprint(second.parts, second.info) == fingerprint(first.parts, first.info)
    for kept in (tmp_path / 'cache').rglob('*_labels.seen.npz'):
        kept.write_bytes(kept.read_bytes()[:-30])
    assert fingerprint(load_data(config).parts, first.info) == fingerprint(first.parts, first.info)
    save(tmp_path / 'plain' / 'masks' / '7.png', Image.fromarray(np.full(SIZE, 3, np.uint8)))
    assert fingerprint(load_data(config).parts, first.info) != fingerprint(first.parts, first.info)


@pytest.mark.parametrize(
    ('source', 'path', 'pixels', 'words'),
    [
        ('segmentation', 'plain/masks/7.png', np.zeros((5, 5)), "7.png' is 5 x 6 pixels, but its label map"),
        ('segmentation', 'plain/masks/7.png', np.full(SIZE, 200), 'did you mean|classes would be without a pixel'),
        ('explained', 'other/masks/7.png', np.full(SIZE, 8), 'holds 8, which are none of mask_values'),
        ('camvid', 'camvid/valannot/7.png', np.full(SIZE, 12), 'has the label 12; labels must be 0 to 11'),
        ('camvid', 'camvid/val/7.png', np.zeros((9, 9)), "7.png' is 9 x 9 pixels, others are 5 x 6"),
        ('segmentation', 'plain/masks/7.png', None, 'cannot be read as an image'),
    ],
)
def test_what_is_wrong_is_said_as_of_a_set_in_memory(sets, tmp_path, source, path, pixels, words):
    if pixels is None:
        (tmp_path / path).write_bytes(b'no picture')
    else:
        save(tmp_path / path, Image.fromarray(pixels.astype(np.uint8)))
    told = []
    for config in (sets[source], kept_in_files(sets[source])):
        with pytest.raises(UserError, match=words) as caught:
            load_data(config)
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_a_map_beyond_the_classes_is_told_as_of_a_set_in_memory(sets):
    config = sets['segmentation']
    named = dataclasses.replace(config.options_of('segmentation'), class_names=('a', 'b'))
    config = dataclasses.replace(config, owned={**config.owned, 'segmentation': named})
    told = []
    for one in (config, kept_in_files(config)):
        with pytest.raises(UserError, match='labels out of range, such as') as caught:
            load_data(one)
        told.append(str(caught.value))
    assert told[0] == told[1]


@pytest.mark.parametrize('folder', ['images', 'masks'])
@pytest.mark.parametrize(
    'spoil', [lambda file: file.unlink(), lambda file: file.write_bytes(file.read_bytes()[:40])], ids=['gone', 'cut']
)
def test_a_file_that_vanishes_or_is_damaged_in_training_is_named_in_one_error(sets, tmp_path, folder, spoil):
    feed = Feed(load_data(kept_in_files(sets['segmentation'])).train, 8, 1, 0, 5)
    feed.chunk(0, 1, 1)
    for file in (tmp_path / 'plain' / folder).iterdir():
        spoil(file)
    with pytest.raises(UserError, match=rf"{folder}/\d+\.png' cannot be read") as caught:
        for step in range(1, 6):
            feed.chunk(step, 1, 1)
    assert str(caught.value).count('cannot be read') == 1
