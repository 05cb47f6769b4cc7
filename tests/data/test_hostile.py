"""What broke other people's data loaders: read as a viewer shows it, or refused in words (docs/field-reports.md)."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.pictures_on_disk import picture, save
from data.records_on_disk import class_feature, dict_feature, encoded, example, image_feature, write_set
from PIL import Image

from failpred_jax.config import DataConfig
from failpred_jax.data import load_data
from failpred_jax.data.arrays import ArraysOptions
from failpred_jax.data.listing import list_folder
from failpred_jax.data.pictures import read_label_map, read_picture, size_of
from failpred_jax.data.tfds import TfdsOptions, load
from failpred_jax.errors import UserError

SIZE = (6, 5)
NUMBERS = np.arange(30, dtype=np.uint8).reshape(SIZE) % 4


def pixels(seed, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, channels)).astype(np.uint8)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def tfds_set(folder, pictures, shape=(*SIZE, 3)):
    """Write a set of these pictures and return what is read of it, in memory and from its files."""
    records = [example(image=content, label=i % 2) for i, content in enumerate(pictures)]
    write_set(folder, dict_feature(image=image_feature(shape), label=class_feature(2)), {'train': [records]})
    options = TfdsOptions(name='tiny', data_dir=str(folder), test_split='')
    return [load(DataConfig(memory_mb=mb, owned={'tfds': options}), options).train.images for mb in (8192, 0)]


def test_a_set_of_tfds_holds_the_colors_that_a_viewer_shows(tmp_path):
    color = Image.fromarray(pixels(1))
    written = {
        'palette.png': color.quantize(16),
        'gray.jpg': Image.fromarray(pixels(2, 1)[..., 0]),
        'opacity.png': Image.fromarray(pixels(3, 4)),
        'cmyk.jpg': color.convert('CMYK'),
        'palette.gif': color.quantize(16),
    }
    files = [save(tmp_path / name, image) for name, image in written.items()]
    files.append(save(tmp_path / 'lying.jpg', color, exif=turned(3)))
    memory, lazy = tfds_set(tmp_path, [file.read_bytes() for file in files])
    for i, file in enumerate(files[:-1]):
        with Image.open(file) as image:
            np.testing.assert_array_equal(memory[i], image.convert('RGB'))
    # As tensorflow reads it, a picture of tfds is not turned.
    np.testing.assert_array_equal(memory[-1], read_picture(files[-1])[::-1, ::-1])
    np.testing.assert_array_equal(np.asarray(lazy), memory)


def test_a_set_of_one_size_with_a_picture_of_another_is_refused(tmp_path):
    pictures = [encoded(pixels(i)[:, : 4 if i == 7 else 5]) for i in range(9)]
    with pytest.raises(UserError, match=r'different sizes .*6 x 5 \(8 of 9\), 6 x 4 \(1 of 9\)'):
        tfds_set(tmp_path, pictures)


def test_what_is_no_picture_in_a_record_is_named_by_its_record(tmp_path):
    pictures = [encoded(pixels(i)) if i != 4 else b'' for i in range(6)]
    with pytest.raises(UserError, match=r'number 4 of tiny, train, record 4 of .*tfrecord.*image \(it is empty\)'):
        tfds_set(tmp_path, pictures)


def test_features_within_features_are_named_by_a_path(tmp_path):
    features = dict_feature(
        inputs=dict_feature(image=image_feature((*SIZE, 3)), mask=image_feature((*SIZE, 1))),
        target=dict_feature(of=dict_feature(label=class_feature(3))),
    )
    records = [
        example(inputs__image=encoded(pixels(i)), inputs__mask=encoded(NUMBERS), target__of__label=i % 3)
        for i in range(8)
    ]  # fmt: skip
    write_set(tmp_path, features, {'train': [records]})
    for keys, expected in (('target/of/label', np.arange(8) % 3), ('inputs/mask', np.stack([NUMBERS] * 8))):
        for memory_mb in (8192, 0):
            options = TfdsOptions('tiny', str(tmp_path), test_split='', image_key='inputs/image', label_key=keys)
            train = load(DataConfig(memory_mb=memory_mb, owned={'tfds': options}), options).train
            np.testing.assert_array_equal(np.asarray(train.images), np.stack([pixels(i) for i in range(8)]))
            np.testing.assert_array_equal(np.asarray(train.labels), expected)
    with pytest.raises(UserError, match="test_split is 'test'; 'tiny' has the splits: train; '' takes a part"):
        load(DataConfig(), TfdsOptions('tiny', str(tmp_path), image_key='inputs/image', label_key='inputs/mask'))
    with pytest.raises(
        UserError, match=r"label_key is 'label', but .* inputs/image \(image\), inputs/mask \(image\), target"
    ):
        load(DataConfig(), TfdsOptions('tiny', str(tmp_path), image_key='inputs/image'))


GRAY_MAPS = {
    'three channels': np.repeat(NUMBERS[..., None], 3, axis=-1),
    'opaque': np.dstack([NUMBERS, NUMBERS, NUMBERS, np.full(SIZE, 255, np.uint8)]),
    'fractions that are none': NUMBERS.astype(np.float32),
    '16 bits': NUMBERS.astype(np.uint16),
}


@pytest.mark.parametrize('kind', GRAY_MAPS)
def test_a_label_map_is_its_numbers_however_they_are_stored(kind, tmp_path):
    file = save(tmp_path / 'a.tif', Image.fromarray(GRAY_MAPS[kind]))
    np.testing.assert_array_equal(read_label_map(file), NUMBERS)
    np.testing.assert_array_equal(read_label_map(file.read_bytes()), NUMBERS)


@pytest.mark.parametrize(
    ('name', 'array', 'words'),
    [
        ('a.jpg', NUMBERS, 'is a JPEG, whose compression changes the numbers .* as PNG'),
        ('a.tif', NUMBERS / np.float32(2), 'holds fractions'),
        ('a.tif', np.where(NUMBERS == 2, np.nan, NUMBERS).astype(np.float32), 'holds fractions or no numbers'),
        ('a.png', np.dstack([NUMBERS, NUMBERS, 3 - NUMBERS]), 'turn colors into class numbers first'),
        ('a.png', np.dstack([NUMBERS] * 4), 'turn colors into class numbers first'),
    ],
)
def test_a_label_map_that_holds_no_class_numbers_is_refused(name, array, words, tmp_path):
    with pytest.raises(UserError, match=words):
        read_label_map(save(tmp_path / name, Image.fromarray(array)))


def test_pictures_that_are_turned_where_their_label_maps_are_not_are_told(tmp_path, capsys):
    for i in range(20):
        save(tmp_path / 'images' / f'{i}.jpg', picture(i), exif=turned(3 if i == 5 else 1))
        save(tmp_path / 'masks' / f'{i}.png', Image.fromarray(NUMBERS[:5, :5].repeat(2, axis=1)[:, :6]))
    load_data(DataConfig(source='segmentation', path=str(tmp_path), cache_mb=0))
    assert 'turned as their EXIF orientation says, whose label maps are not' in capsys.readouterr().out
    sizes = [size_of(tmp_path / 'images' / f'{i}.jpg') for i in (4, 5)]
    assert sizes == [(5, 6, False), (5, 6, True)]


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', r'\(it is empty\); restore it'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0', 'pointer of Git LFS; .*git lfs pull'),
        (b'\n<!DOCTYPE html><html>Not found', 'a web page, as when a download failed'),
        (b'nothing', r'\(it is none\)|cannot identify'),
    ],
)
def test_what_stands_in_the_place_of_a_picture_is_said(content, words, tmp_path):
    (tmp_path / 'a.png').write_bytes(content)
    for source in (tmp_path / 'a.png', content):
        with pytest.raises(UserError, match=words) as caught:
            read_picture(source, name='' if source is not content else 'a.png')
        assert '0x' not in str(caught.value)


def test_the_first_of_several_pictures_is_read_and_one_that_is_too_large_is_told_so(tmp_path):
    frames = [Image.fromarray(pixels(i)) for i in range(3)]
    for suffix in ('png', 'webp'):
        how = {'lossless': True} if suffix == 'webp' else {}
        file = save(tmp_path / f'a.{suffix}', frames[0], save_all=True, append_images=frames[1:], **how)
        np.testing.assert_array_equal(read_picture(file), pixels(0))
    large = save(tmp_path / 'large.png', Image.new('1', (20_000, 10_000)))
    with pytest.raises(UserError, match='more than the 89,478,485 pixels that are read here; make it smaller'):
        read_picture(large)


def test_pictures_of_old_and_rare_suffixes_are_pictures(tmp_path):
    names = ('a.PPM', 'b.pgm', 'c.gif', 'd.jfif', 'e.JPE', 'f.pbm')
    for name in names:
        save(tmp_path / name, picture(3, mode='RGB' if name == 'a.PPM' else 'L'), format='JPEG' if name > 'd' else None)
    assert [file.name for file in list_folder(tmp_path).pictures] == list(names)
    assert all(read_picture(file).shape == (5, 6, 3) for file in list_folder(tmp_path).pictures)


def arrays_of(folder, **arrays):
    np.savez(folder / 'mine.npz', **arrays)
    options = ArraysOptions(str(folder / 'mine.npz'))
    return load_data(DataConfig(source='arrays', owned={'arrays': options}))


def test_names_and_shapes_of_keras_and_medmnist_are_understood(tmp_path):
    images, labels = np.stack([pixels(i, 1)[..., 0] for i in range(40)]), np.arange(40) % 4
    ours = {'images_train': images, 'labels_train': labels, 'images_test': 255 - images, 'labels_test': labels}
    expected = arrays_of(tmp_path, **ours)
    for theirs in (('x_{}', 'y_{}'), ('{}_images', '{}_labels')):
        named = {
            pattern.format(part): ours[f'{kind}_{part}'] if kind == 'images' else labels[:, None]
            for part in ('train', 'test')
            for kind, pattern in zip(('images', 'labels'), theirs, strict=True)
        }
        found = arrays_of(tmp_path, **named)
        for name, part in expected.parts.items():
            np.testing.assert_array_equal(found.parts[name].images, part.images)
            np.testing.assert_array_equal(found.parts[name].labels, part.labels)
    with pytest.raises(UserError, match="unknown array 'x_train'"):
        arrays_of(tmp_path, **ours, x_train=images)
    maps = arrays_of(tmp_path, images_train=images, labels_train=images[..., None] > 99)
    assert (maps.info.task, maps.info.num_classes, maps.train.labels.dtype) == ('segmentation', 2, np.uint8)


@pytest.mark.parametrize(
    ('labels', 'words'),
    [
        (np.eye(4)[np.arange(40) % 4], r'one number or word for each image: .*labels.argmax\(axis=1\)'),
        (np.zeros((40, 3, 4, 3), np.uint8), 'turn colors into these'),
        (np.zeros((40, 4, 3), np.uint8), r'the label maps of these images are \(40, 3, 4\)'),
        (np.tile(np.uint8([0, 1, 2, 255]), (40, 3, 1)), r'252 of 256 classes .*--config.data.arrays.ignore_label=255'),
        (np.tile(np.uint8([0, 255, 0, 0]), (40, 3, 1)), r'hold 2 numbers \(0, 255\).*give class_names'),
    ],
)
def test_labels_of_arrays_that_are_no_class_numbers_are_refused(labels, words, tmp_path):
    with pytest.raises(UserError, match=words):
        arrays_of(tmp_path, images_train=np.zeros((40, 3, 4), np.uint8), labels_train=labels)


def write_parquet(path, labels, kind=None):
    contents = pa.array([encoded(pixels(i)) for i in range(len(labels))], kind)
    pq.write_table(pa.table({'image': contents, 'label': labels}), path)


def test_categories_views_and_truth_values_of_parquet_are_labels(tmp_path):
    words = ['dog', 'cat'] * 10
    for labels, names in (
        (pa.array(words).dictionary_encode(), ('cat', 'dog')),
        (pa.array(words, pa.string_view()), ('cat', 'dog')),
        (pa.array([word == 'dog' for word in words]), ('False', 'True')),
    ):
        write_parquet(tmp_path / 'train.parquet', labels, pa.binary_view())
        data = load_data(DataConfig(source='parquet', path=str(tmp_path), cache_mb=0))
        assert data.info.class_names == names
        np.testing.assert_array_equal(data.train.labels, 1 - data.split['train'] % 2)


def test_files_of_parquet_with_numbers_and_with_words_are_not_mixed(tmp_path):
    write_parquet(tmp_path / 'train-00000-of-00002.parquet', pa.array([0, 1] * 5))
    write_parquet(tmp_path / 'train-00001-of-00002.parquet', pa.array(['0', '1'] * 5))
    with pytest.raises(UserError, match='are numbers in one file and words in another'):
        load_data(DataConfig(source='parquet', path=str(tmp_path), cache_mb=0))


@pytest.mark.parametrize(
    ('written', 'words'),
    [
        ('001.PNG', "there is '001.png': capitals and suffixes count"),
        ('a1', "there is 'a1.png': capitals and suffixes count"),
        ('001', "there is '001.png': capitals and suffixes count"),
        ('1', 'numbers: write whole file names, such as 0001.png'),
    ],
)
def test_a_table_says_what_is_there_instead(written, words, tmp_path):
    save(tmp_path / '001.png', picture(1))
    save(tmp_path / 'a1.png', picture(2))
    (tmp_path / 'mine.csv').write_text(f'path,label\n{written},0\n')
    with pytest.raises(UserError, match=words):
        load_data(DataConfig(source='table', path=str(tmp_path / 'mine.csv')))
