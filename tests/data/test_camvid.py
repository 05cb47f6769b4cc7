"""The folder layout of CamVid: what is read of it, and what each fault of it is told as."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from failpred_jax.config import DataConfig
from failpred_jax.data import load_data
from failpred_jax.data.camvid import CLASS_NAMES, VOID, CamvidOptions, load
from failpred_jax.data.resize import resize_labels
from failpred_jax.errors import UserError

HEIGHT, WIDTH = 12, 16
NAMES = {'train': ('c', 'a', 'b'), 'val': ('d',), 'test': ('f', 'e')}


@pytest.fixture
def folder(tmp_path, rng):
    """Six street scenes whose red channel says the label of each pixel, with lists made on somebody else's disk."""
    for part, names in NAMES.items():
        for kind in ('', 'annot'):
            (tmp_path / f'{part}{kind}').mkdir()
        for name in names:
            label = rng.integers(0, len(CLASS_NAMES), (HEIGHT, WIDTH)).astype(np.uint8)
            image = rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            image[..., 0] = label * 20
            Image.fromarray(image).save(tmp_path / part / f'{name}.png')
            Image.fromarray(label).save(tmp_path / f'{part}annot' / f'{name}.png')
        lines = [f'/Somebody/CamVid/{part}/{name}.png /Somebody/CamVid/{part}annot/{name}.png' for name in names]
        (tmp_path / f'{part}.txt').write_text('\n'.join(lines) + '\n\n')
    return tmp_path


def config_for(folder, **more):
    return DataConfig(source='camvid', owned={'camvid': CamvidOptions(str(folder))}, **more)


def load_from(config):
    return load(config, config.options_of('camvid'))


def aligned(examples):
    return np.array_equal(examples.images[..., 0], examples.labels * 20)


def test_lists_from_another_disk_are_read_in_their_order(folder):
    raw = load_from(config_for(folder))
    assert [len(part.images) for part in (raw.train, raw.validation, raw.test)] == [3, 1, 2]
    assert raw.info.image_shape == (HEIGHT, WIDTH, 3)
    assert raw.train.images.dtype == raw.train.labels.dtype == np.uint8
    for part in (raw.train, raw.validation, raw.test):
        assert aligned(part)
    first = np.asarray(Image.open(folder / 'train' / 'c.png'))
    assert np.array_equal(raw.train.images[0], first)


def test_void_is_ignored_unless_it_is_scored(folder):
    assert load_from(config_for(folder)).info.ignore_label == VOID
    scored = load(DataConfig(), CamvidOptions(str(folder), score_unlabeled=True)).info
    assert scored.ignore_label is None
    assert scored.class_names[VOID] == 'unlabeled'


def test_lists_made_on_windows_lead_to_the_same_files(folder):
    listing = folder / 'val.txt'
    listing.write_text(r'C:\data\val\d.png C:\data\valannot\d.png')
    assert len(load_from(config_for(folder)).validation.images) == 1


def test_a_list_cannot_lead_out_of_the_folder(folder):
    secret = folder.parent / 'secret.png'
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(secret)
    (folder / 'val.txt').write_text('../../secret.png ../../secret.png')
    with pytest.raises(UserError, match=r'2 files that val\.txt names are not there, such as val/secret\.png'):
        load_from(config_for(folder))


def test_without_lists_every_file_counts_in_the_order_of_names(folder):
    by_list = load_from(config_for(folder)).train
    for part in NAMES:
        (folder / f'{part}.txt').unlink()
    by_name = load_from(config_for(folder)).train
    assert np.array_equal(by_name.images, by_list.images[[1, 2, 0]])


def test_another_size_keeps_images_and_maps_together(folder):
    size = (6, 8)
    data = load_data(config_for(folder, image_size=size))
    assert data.info.image_shape == (*size, 3)
    for part in (data.train, data.val, data.test):
        assert part.images.shape[1:3] == part.labels.shape[1:] == size
        assert part.labels.dtype == np.uint8
    full = load_from(config_for(folder)).train.labels
    assert {*np.unique(data.train.labels)} <= {*np.unique(full)}


@pytest.mark.parametrize('size', [(24, 32), (36, 16)])
def test_a_map_made_larger_by_a_whole_factor_repeats_its_pixels(rng, size):
    labels = rng.integers(0, 9, (2, HEIGHT, WIDTH)).astype(np.uint8)
    larger = resize_labels(labels, size)
    down, right = size[0] // HEIGHT, size[1] // WIDTH
    assert np.array_equal(larger, labels.repeat(down, axis=1).repeat(right, axis=2))
    assert np.array_equal(resize_labels(larger, (HEIGHT, WIDTH)), labels)


def break_label(folder, value):
    file = folder / 'trainannot' / 'a.png'
    label = np.asarray(Image.open(file)).copy()
    label[3, 4] = value
    Image.fromarray(label).save(file)


def save(folder, name, array):
    Image.fromarray(array).save(folder / name)


@pytest.mark.parametrize(
    ('fault', 'words'),
    [
        (lambda f: (f / 'valannot').rename(f / 'val_labels'), ['lacks valannot/', 'train/, trainannot/, val/']),
        (lambda f: (f / 'train' / 'a.png').unlink(), ['1 files that train.txt names', 'train/a.png', 'restore']),
        (lambda f: (f / 'train.txt').write_text('one.png'), ['train.txt, line 1', "'one.png' is not 'IMAGE LABEL'"]),
        (lambda f: (f / 'train.txt').write_text('.. ..'), ['train.txt, line 1', 'does not end in the names']),
        (lambda f: (f / 'test.txt').write_text('\n'), ['has no examples in test/', 'correct test.txt']),
        (lambda f: break_label(f, 12), ["trainannot/a.png' has the label 12", '0 to 11', '11: unlabeled']),
        (lambda f: (f / 'val' / 'd.png').write_bytes(b'no image'), ["val/d.png' cannot be read as an image"]),
        (
            lambda f: save(f, 'testannot/e.png', np.eye(3, dtype=np.uint8)[np.zeros((HEIGHT, WIDTH), int)]),
            ["testannot/e.png' has 3 channels", 'it must have one'],
        ),
        (
            lambda f: save(f, 'testannot/e.png', np.zeros((5, WIDTH), np.uint8)),
            ["test/e.png' is 12 x 16 pixels", 'is 5 x 16', 'of one size'],
        ),
        (
            lambda f: (
                save(f, 'val/d.png', np.zeros((5, 6, 3), np.uint8)),
                save(f, 'valannot/d.png', np.zeros((5, 6), np.uint8)),
            ),
            ["val/d.png' is 5 x 6 pixels, others are 12 x 16", '--config.data.image_size='],
        ),
    ],
    ids=[
        'folder', 'file', 'line', 'names', 'empty', 'label', 'broken', 'channels', 'sizes of a pair', 'sizes',
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_the_file(folder, fault, words):
    fault(folder)
    with pytest.raises(UserError) as caught:
        load_from(config_for(folder))
    for word in words:
        assert word in str(caught.value)


def test_files_without_a_partner_are_named_where_there_is_no_list(folder):
    (folder / 'train.txt').unlink()
    (folder / 'trainannot' / 'b.png').rename(folder / 'trainannot' / 'z.png')
    with pytest.raises(UserError, match='2 files of train/ and trainannot/ have no partner .* such as b, z'):
        load_from(config_for(folder))


def test_a_missing_folder_says_what_to_give(tmp_path):
    with pytest.raises(UserError, match='there is no such folder; give the one that holds train/'):
        load_from(config_for(tmp_path / 'nowhere'))


def test_resizing_makes_files_of_several_sizes_one_set(folder):
    for name, channels in (('val/d.png', (3,)), ('valannot/d.png', ())):
        save(folder, name, np.zeros((5, 6, *channels), np.uint8))
    raw = load_from(config_for(folder, image_size=(8, 8)))
    assert raw.validation.images.shape == (1, 8, 8, 3)


def test_what_other_systems_leave_in_a_folder_is_no_example(folder):
    for name in ('train', 'trainannot'):
        for junk in ('._a.png', '.DS_Store', 'Thumbs.db'):
            (folder / name / junk).write_bytes(b'\x00\x05\x16\x07')
    (folder / 'train.txt').unlink()
    raw = load_from(config_for(folder))
    assert len(raw.train.images) == 3
    assert aligned(raw.train)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'cp1252'])
@pytest.mark.parametrize('form', ['NFC', 'NFD'])
def test_lists_of_any_encoding_name_files_of_any_unicode_form(folder, encoding, form):
    name = 'straße_ü'
    for kind in ('train', 'trainannot'):
        (folder / kind / 'a.png').rename(folder / kind / f'{unicodedata.normalize(form, name)}.png')
    (folder / 'train.txt').write_bytes(f'{name}.png {name}.png\r\nb.png b.png\r\n'.encode(encoding))
    raw = load_from(config_for(folder))
    assert len(raw.train.images) == 2
    assert aligned(raw.train)


def test_two_pictures_of_one_base_name_are_named(folder):
    (folder / 'train.txt').unlink()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / 'train' / 'a.bmp')
    with pytest.raises(UserError, match=r'one base name, a\.bmp and a\.png'):
        load_from(config_for(folder))
