"""What deserves attention in data is found before anything is trained, and nothing else is."""

import numpy as np
import pytest
from PIL import Image

from failpred_jax import looking
from failpred_jax.config import Config, DataConfig
from failpred_jax.data.contact_sheet import make_sheet
from failpred_jax.data.look import class_counts, look_at, pixel_statistics
from failpred_jax.data.pictures import read_picture
from failpred_jax.types import DatasetInfo, Examples

NAMES = ('cat', 'dog', 'emu')
INFO = DatasetInfo('animals', 'classification', (6, 5, 3), NAMES)


def parts_of(rng, train=None, test=None):
    """Return parts of 60 and 40 images with classes in turn, as changed by the arguments."""
    parts = {}
    for name, count, labels in (('training', 60, train), ('test', 40, test)):
        images = rng.integers(0, 256, (count, 6, 5, 3)).astype(np.uint8)
        parts[name] = Examples(images, np.arange(count) % 3 if labels is None else np.asarray(labels))
    return parts


def texts(parts, info=INFO, config=None):
    return [remark.text for remark in look_at(parts, info, config or DataConfig())]


def test_ordinary_data_deserve_no_attention(rng):
    parts = parts_of(rng)
    assert texts(parts) == []
    mean, std = pixel_statistics(parts['training'])
    assert np.allclose(mean, parts['training'].images.mean(axis=(0, 1, 2)) / 255)
    assert np.allclose(std, parts['training'].images.std(axis=(0, 1, 2)) / 255)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'train': [0] * 60}, "all images of the training part are of one class, 'cat'"),
        ({'train': [0, 1] * 30}, '1 of 3 classes have no image in the training part (emu)'),
        ({'train': [0, 1] * 30}, 'the test part has classes that the training part has no image of: emu'),
        ({'test': [0, 1] * 20}, '1 of 3 classes have no image in the test part (emu): nothing is measured of them'),
        ({'test': [0] * 38 + [1, 2]}, "95.0% of the test images are of the class 'cat'"),
    ],
)
def test_classes_that_are_missing_or_everything_are_told(rng, change, words):
    assert any(text.startswith(words) for text in texts(parts_of(rng, **change)))


def test_names_of_classes_that_may_be_one_are_told(rng):
    """The letters A and a are two, and so are the codes 07 and 7."""

    def told(*names):
        info = DatasetInfo('x', 'classification', (6, 5, 3), names)
        parts = parts_of(rng, train=np.arange(60) % len(names), test=np.arange(40) % len(names))
        return texts(parts, info)

    assert told('A', 'a', '7', '07', '-1', '1', 'cat', 'dog') == []
    (text,) = told('Cat', 'cat', 'hot dog', 'hot_dog', '7', '7.0', 'emu')
    assert "('Cat' and 'cat', 'hot dog' and 'hot_dog', '7' and '7.0')" in text


def test_normalization_in_bytes_and_pixels_without_content_are_told(rng):
    parts = parts_of(rng)
    (text,) = texts(parts, config=DataConfig(mean=(123.7, 116.3, 103.5)))
    assert text.endswith('--config.data.mean=0.4851,0.4561,0.4059')
    parts['training'].images[7] = 9
    assert texts(parts)[0].startswith('1 of 60 images of the training part are of one value all over, such as 9')
    dark = {name: Examples(part.images // 16, part.labels) for name, part in parts_of(rng).items()}
    assert 'no pixel of the training part is brighter than 15 of 255' in texts(dark)[0]


@pytest.mark.parametrize('bits', [8, 10, 11, 12, 16])
@pytest.mark.parametrize('kind', [np.uint16, np.int32])
def test_fewer_bits_than_they_are_saved_with_are_told_by_a_run(rng, tmp_path, bits, kind):
    """Also where nothing is white, as in most pictures of 12 bits: what is left is a few gray levels."""
    for i in range(4):
        Image.fromarray(rng.integers(0, 2**bits, (6, 5)).astype(kind)).save(tmp_path / f'{i}.tif')
    images = np.stack([read_picture(tmp_path / f'{i}.tif', channels=1) for i in range(4)])
    info = DatasetInfo('x', 'classification', (6, 5, 1), NAMES)
    told = [
        remark
        for remark in look_at({'training': Examples(images, np.arange(4) % 3)}, info, DataConfig())
        if 'is brighter than' in remark.text
    ]
    assert [remark.is_serious for remark in told] == [True] * (bits < 16)


def test_pictures_of_the_night_are_no_alarm(rng):
    """An 8-bit set that is dark all over is told by a look alone, and only if it is darker than 65 of 255."""
    for brightest, is_told in ((17, True), (30, True), (45, True), (64, True), (65, False), (200, False)):
        parts = {name: Examples(part.images % (brightest + 1), part.labels) for name, part in parts_of(rng).items()}
        found = look_at(parts, INFO, DataConfig())
        assert [remark.is_serious for remark in found] == [False] * is_told


def test_twins_with_two_labels_are_told_first(rng):
    parts = parts_of(rng)
    parts['training'].images[30] = parts['training'].images[20]
    parts['training'].images[33] = parts['training'].images[3]
    first, second = texts(parts)
    assert first.startswith('1 images of the training part stand there twice with different labels, such as numbers 20')
    assert "'emu' and 'cat'" in first
    assert second.startswith('2 of the 60 images of the training part stand there more than once')


def test_an_ignored_label_that_nobody_declared_is_guessed(rng):
    info = DatasetInfo('streets', 'segmentation', (6, 5, 1), tuple(map(str, range(256))))
    labels = rng.integers(0, 3, (8, 6, 5)).astype(np.uint8)
    labels[:, 0] = 255
    images = rng.integers(0, 256, (8, 6, 5, 1)).astype(np.uint8)
    found = texts({'training': Examples(images, labels)}, info)
    assert '252 of 256 classes have no pixel' in found[0]
    assert 'did you mean an ignore label of 255?' in found[0]
    known = DatasetInfo('streets', 'segmentation', (6, 5, 1), ('a', 'b', 'c'), ignore_label=255)
    counts = class_counts(Examples(images, labels), known)
    void = DatasetInfo('streets', 'segmentation', (6, 5, 1), ('a', 'b', 'c', 'void'), ignore_label=3)
    assert texts({'training': Examples(images, np.minimum(labels, 3))}, void) == []
    assert counts.tolist() == np.bincount(labels[labels < 3], minlength=3).tolist()
    assert make_sheet({'training': Examples(images, labels)}, known).size[1] > 6 * 72


@pytest.mark.parametrize('channels', [1, 2, 4, 13])
def test_a_sheet_is_drawn_of_any_channels(rng, channels):
    images = rng.integers(0, 256, (9, 3, 90, channels)).astype(np.uint8)
    info = DatasetInfo('x', 'classification', (3, 90, channels), ('a', 'ü', '字'))
    assert make_sheet({'training': Examples(images, np.arange(9) % 3)}, info).mode == 'RGB'


def test_check_writes_a_new_folder_each_time_and_nothing_else(tmp_path, capsys):
    config = Config(data=DataConfig(source='digits'))
    (tmp_path / 'mine.txt').write_text('kept')
    folders = [looking.check(config, tmp_path) for _ in range(2)]
    assert [folder.name for folder in folders] == ['check', 'check_2']
    assert sorted(p.name for p in tmp_path.iterdir()) == ['check', 'check_2', 'mine.txt']
    with Image.open(folders[0] / 'contact_sheet.png') as sheet:
        assert sheet.size[1] > 10 * 72
    told = (folders[0] / 'check.md').read_text()
    assert '| images | training | validation | test |' in told
    assert '- training: 809 images' in capsys.readouterr().out
