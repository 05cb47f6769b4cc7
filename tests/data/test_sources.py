"""Pictures as people have them: in folders of classes, named by a table, inside parquet files, beside label maps."""

import dataclasses
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.pictures_on_disk import picture, save
from PIL import Image

from failpred_jax.config import DataConfig
from failpred_jax.data import folder, load_data, parquet, segmentation, split_validation, table
from failpred_jax.errors import UserError

SIZED = DataConfig(image_size=(4, 4))


def read_folder(path, data=None, **options):
    return folder.load(data or DataConfig(), folder.FolderOptions(path=str(path), **options))


def test_folders_are_classes_in_their_parts(tmp_path):
    root = tmp_path / 'ä set'
    for i in range(4):
        save(root / 'train' / ('10' if i % 2 else '9') / f'{i}.png', picture(i))
    save(root / 'Valid' / '10' / 'v.bmp', picture(7))
    save(root / 'test' / '9' / 't.tiff', picture(8))
    for junk in ('Thumbs.db', '._0.png', '.DS_Store', 'list.txt'):
        (root / 'train' / '9' / junk).write_bytes(b'x')
    raw = read_folder(root)
    # Names that are numbers are in the order of the numbers.
    assert raw.info.class_names == ('9', '10')
    assert raw.info.image_shape == (5, 6, 3)
    assert raw.train.images[:, 0, 0, 0].tolist() == [1, 3, 0, 2]
    assert raw.train.labels.tolist() == [1, 1, 0, 0]
    assert (raw.validation.labels.tolist(), raw.test.labels.tolist()) == ([1], [0])
    assert raw.test.images[0, 0, 0, 0] == 8


def test_one_folder_of_classes_is_all_training_and_gray_stays_gray(tmp_path):
    for i, name in enumerate(('cat', 'dog', 'cat')):
        save(tmp_path / name / f'{i}.png', picture(i, mode='L'))
    raw = read_folder(tmp_path)
    assert raw.info.image_shape == (5, 6, 1)
    assert (raw.validation, raw.test) == (None, None)
    assert raw.train.labels.tolist() == [0, 0, 1]
    assert read_folder(tmp_path, channels=3).info.image_shape == (5, 6, 3)


def test_pictures_of_many_sizes_need_a_size_and_all_that_are_broken_are_named(tmp_path):
    for i in range(5):
        save(tmp_path / f'class {i % 2}' / f'{i}.jpg', picture(i, (6 + i % 2, 5)))
    with pytest.raises(UserError, match=r'5 x 6 \(3 of 5\), 5 x 7 \(2 of 5\); .*image_size=HEIGHT,WIDTH'):
        read_folder(tmp_path)
    assert read_folder(tmp_path, SIZED).train.images.shape == (5, 4, 4, 3)
    for name in ('a', 'b'):
        (tmp_path / 'class 0' / f'{name}.png').write_bytes(b'no picture')
    with pytest.raises(UserError, match=r'(?s)2 of the 7 images .*a\.png.*b\.png'):
        read_folder(tmp_path, SIZED)


@pytest.mark.parametrize('memory_mb', [8192, 0])
@pytest.mark.parametrize('broken', [(0, 1, 5), (2, 3), (0, 1, 2, 3, 4, 5)])
def test_all_that_is_broken_is_named_wherever_it_stands(tmp_path, memory_mb, broken):
    """The first picture says which size there is: if it is broken, another does."""
    for i in range(6):
        image = save(tmp_path / 'pictures' / f'class {i // 3}' / f'{i}.png', picture(i))
        save(tmp_path / 'pairs' / 'images' / f'{i}.png', picture(i))
        save(tmp_path / 'pairs' / 'masks' / f'{i}.png', mask([0, 1, 2]))
        if i in broken:
            image.write_bytes(b'')
            (tmp_path / 'pairs' / 'images' / f'{i}.png').write_bytes(b'')
    for source, path in (('folder', 'pictures'), ('segmentation', 'pairs')):
        with pytest.raises(UserError) as caught:
            load_data(DataConfig(source=source, path=str(tmp_path / path), memory_mb=memory_mb, cache_mb=0))
        text = str(caught.value)
        assert text.startswith(f'{len(broken)} of the 6 images of the train part of')
        assert re.findall(r"(\d)\.png' cannot be read", text) == [str(i) for i in broken[:5]]
        assert ('and 1 more' in text) == (len(broken) > 5)


def test_layouts_that_are_none_are_told(tmp_path):
    with pytest.raises(UserError, match='there is no folder'):
        read_folder(tmp_path / 'gone')
    save(tmp_path / 'flat' / 'a.png', picture(0))
    with pytest.raises(UserError, match="holds 1 pictures and no folders; source 'folder' wants"):
        read_folder(tmp_path / 'flat')
    save(tmp_path / 'outer' / 'inner' / 'cat' / 'a.png', picture(0))
    with pytest.raises(UserError, match=r'path=.*inner'):
        read_folder(tmp_path / 'outer')
    save(tmp_path / 'deep' / 'cat' / 'tabby' / 'a.png', picture(0))
    save(tmp_path / 'deep' / 'dog' / 'b.png', picture(1))
    with pytest.raises(UserError, match=r'cat.* holds folders with pictures \(tabby\).*nested=True'):
        read_folder(tmp_path / 'deep')
    assert read_folder(tmp_path / 'deep', nested=True).info.class_names == ('cat', 'dog')
    save(tmp_path / 'more' / 'train' / 'cat' / 'a.png', picture(0))
    save(tmp_path / 'more' / 'test' / 'cats' / 'a.png', picture(1))
    with pytest.raises(UserError, match='classes cats, which the train part has not'):
        read_folder(tmp_path / 'more')
    (tmp_path / 'more' / 'training').mkdir()
    with pytest.raises(UserError, match='train and training, which mean the same part'):
        read_folder(tmp_path / 'more')


def test_a_color_picture_among_gray_ones_is_not_made_gray_in_silence(tmp_path, monkeypatch):
    monkeypatch.setattr('failpred_jax.data.decoding._LOOKED_AT', 2)
    for i in range(6):
        save(tmp_path / 'x' / f'{i}.png', picture(i, mode='RGB' if i == 5 else 'L'))
    with pytest.raises(UserError, match=r'5\.png.* is stored in color.*folder\.channels=3'):
        read_folder(tmp_path)


def read_table(path, data=None, **options):
    return table.load(data or DataConfig(), table.TableOptions(path=str(path), **options))


def test_a_table_names_pictures_relative_to_itself(tmp_path):
    for i in range(4):
        save(tmp_path / 'a b' / f'{i}.png', picture(i))
    lines = ['Filename;label;split', 'a b\\3.png;10;train', 'a b/1.png;9;train', 'a b/0.png;9;Test', 'a b/2.png;10;val']
    (tmp_path / 'set.csv').write_text('\r\n'.join(lines), encoding='utf-16')
    raw = read_table(tmp_path / 'set.csv')
    assert raw.info.class_names == ('9', '10')
    assert raw.train.images[:, 0, 0, 0].tolist() == [3, 1]
    assert raw.train.labels.tolist() == [1, 0]
    assert (raw.test.labels.tolist(), raw.validation.labels.tolist()) == ([0], [1])


@pytest.mark.parametrize(
    ('lines', 'options', 'words'),
    [
        (
            'path,label\n0.png,a\ngone.png,b',
            {},
            r'1 pictures of 2 that are not there, such as row 2: .*gone\.png',
        ),
        ('path,label\n0.png,a\n0.png,', {}, '1 rows have no label, such as row 2'),
        ('path,label,split\n0.png,a,train\n0.png,b,holdout', {}, "row 2 is of the part 'holdout'"),
        ('path,label,split\n0.png,a,test', {}, 'no row of the train part'),
        ('where,label\n0.png,a', {}, r'no column for the path .*it has where, label: .*path_column=NAME'),
        ('path,label,class\n0.png,a,b', {}, 'several columns that may be the label: label, class'),
        ('path,label\n0.png,a', {'label_column': 'lable'}, "did you mean 'label'"),
        ('path,label\n0.png,0.5', {}, 'the label of row 1 is 0.5; it must be a word or a whole number'),
        ('path,label,split\n0.png,a,train\n0.png,b,test', {}, 'classes b, which the train part has not'),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path, lines, options, words):
    save(tmp_path / '0.png', picture(0))
    (tmp_path / 'set.csv').write_text(lines)
    with pytest.raises(UserError, match=words):
        read_table(tmp_path / 'set.csv', **options)


def test_groups_are_never_split(tmp_path):
    for i in range(12):
        save(tmp_path / f'{i}.png', picture(i))
    rows = [f'{i}.png,{i % 2},p{i // 3}' for i in range(12)]
    (tmp_path / 'set.csv').write_text('\n'.join(['path,label,patient', *rows]))
    config = DataConfig(source='table', path=str(tmp_path / 'set.csv'), test_fraction=0.3, validation_fraction=0.3)
    data = load_data(config)
    split = data.split
    # What they belong to goes along with the examples of every part, into the halves of the validation part too.
    patient_of = np.array([f'p{i // 3}' for i in range(12)])
    for part, rows_of in {'training': 'train', 'validation': 'validation', 'test': 'test'}.items():
        assert data.groups[part].tolist() == patient_of[split[rows_of]].tolist()
    with pytest.raises(UserError, match='belong to one group, which cannot be shared'):
        split_validation(data, 0)
    both = dataclasses.replace(data, val=data.train, groups={**data.groups, 'validation': data.groups['training']})
    first, rest = split_validation(both, 0)
    assert len(first.labels) == len(rest.val.labels) == 3
    assert len(set(rest.groups['validation'].tolist())) == 1
    patients = {part: {i // 3 for i in indices.tolist()} for part, indices in split.items()}
    assert sum(map(len, patients.values())) == 4
    assert {part: len(indices) for part, indices in split.items()} == {'test': 3, 'validation': 3, 'train': 6}
    rows = [f'{row},{"test" if i > 4 else "train"}' for i, row in enumerate(rows)]
    (tmp_path / 'set.csv').write_text('\n'.join(['path,label,patient,split', *rows]))
    with pytest.raises(UserError, match='1 groups stand in two parts, such as p1 in train and test'):
        read_table(tmp_path / 'set.csv')
    own = [f'{i}.png,{i % 2},p{i // 3},{"test" if i > 8 else "train"}' for i in range(12)]
    (tmp_path / 'set.csv').write_text('\n'.join(['path,label,patient,split', *own]))
    assert set(load_data(config).groups['test'].tolist()) == {'p3'}


def test_codes_in_a_table_stay_as_they_are_written(tmp_path):
    rows = [('001', '01', '0123'), ('002', '1', '00123'), ('003', '01', '123'), ('004', '1', '0123')]
    for name, _, _ in rows:
        save(tmp_path / name, picture(int(name)), format='PNG')
    (tmp_path / 'set.csv').write_text('\n'.join(['file,label,patient', *map(','.join, rows)]))
    raw = read_table(tmp_path / 'set.csv')
    # Neither the classes 01 and 1 nor the patients 0123, 00123 and 123 are one.
    assert raw.info.class_names == ('01', '1')
    assert raw.train.labels.tolist() == [0, 1, 0, 1]
    assert raw.groups.tolist() == ['0123', '00123', '123', '0123']


def encoded(number, mode='RGB'):
    out = pa.BufferOutputStream()
    picture(number, mode=mode).save(out, 'png')
    return out.getvalue().to_pybytes()


def write_shard(path, numbers, labels, names=None):
    images = pa.array([{'bytes': encoded(i), 'path': None} for i in numbers])
    kind = pa.int64() if isinstance(labels[0], int) else pa.string()
    found = pa.table({'img': images, 'label': pa.array(labels, kind)})
    if names:
        features = {'img': {'_type': 'Image'}, 'label': {'names': names, '_type': 'ClassLabel'}}
        found = found.replace_schema_metadata({'huggingface': json.dumps({'info': {'features': features}})})
    path.parent.mkdir(exist_ok=True)
    pq.write_table(found, path)


def read_parquet(path, data=None, **options):
    return parquet.load(data or DataConfig(), parquet.ParquetOptions(path=str(path), **options))


def test_parquet_as_hugging_face_stores_it(tmp_path):
    data = tmp_path / 'data'
    write_shard(data / 'train-00000-of-00002.parquet', [5, 6], [1, 0], ['cat', 'dog', 'emu'])
    write_shard(data / 'train-00001-of-00002.parquet', [7], [2], ['cat', 'dog', 'emu'])
    write_shard(data / 'validation-00000-of-00001.parquet', [8], [1], ['cat', 'dog', 'emu'])
    write_shard(data / 'test-00000-of-00001.parquet', [9, 10], [-1, -1], ['cat', 'dog', 'emu'])
    raw = read_parquet(tmp_path)
    assert raw.info.class_names == ('cat', 'dog', 'emu')
    assert raw.train.images[:, 0, 0, 0].tolist() == [5, 6, 7]
    assert raw.train.labels.tolist() == [1, 0, 2]
    assert raw.validation.labels.tolist() == [1]
    # Hidden labels make no test part.
    assert raw.test is None
    (data / 'train-00001-of-00002.parquet').unlink()
    with pytest.raises(UserError, match='lacks 1 of 2 shards of the train part, such as number 1'):
        read_parquet(tmp_path)


def test_a_set_is_not_called_data(tmp_path):
    (tmp_path / 'beans' / 'data').mkdir(parents=True)
    write_shard(tmp_path / 'beans' / 'data' / 'train-00000-of-00001.parquet', range(4), [0, 1, 0, 1])
    assert read_parquet(tmp_path / 'beans').info.name == read_parquet(tmp_path / 'beans' / 'data').info.name == 'beans'


def test_one_parquet_file_of_words(tmp_path):
    write_shard(tmp_path / 'mine.parquet', [1, 2, 3], ['dog', 'cat', 'dog'])
    raw = read_parquet(tmp_path / 'mine.parquet')
    assert (raw.info.class_names, raw.train.labels.tolist()) == (('cat', 'dog'), [1, 0, 1])
    with pytest.raises(UserError, match="column 'label' holds string; it must hold encoded pictures"):
        read_parquet(tmp_path / 'mine.parquet', image_column='label', label_column='img')
    (tmp_path / 'text.parquet').write_text('no parquet')
    with pytest.raises(UserError, match='cannot be read as parquet'):
        read_parquet(tmp_path / 'text.parquet')


def read_pairs(path, data=None, **options):
    return segmentation.load(data or DataConfig(), segmentation.SegmentationOptions(path=str(path), **options))


def mask(values, size=(6, 5)):
    pixels = np.resize(np.array(values, np.uint8), (size[1], size[0]))
    return Image.fromarray(pixels)


@pytest.mark.parametrize('layout', ['{part}/images', 'img/{part}'])
def test_pairs_in_both_layouts(tmp_path, layout):
    for part, number in (('train', 0), ('val', 1)):
        save(tmp_path / layout.format(part=part) / 'a.jpg', picture(number))
        save(tmp_path / layout.format(part=part).replace('im', 'gt-im') / 'a.png', mask([0, 1, 2]))
    for there in tmp_path.rglob('gt-im*'):
        there.rename(there.with_name('masks'))
    raw = read_pairs(tmp_path)
    assert (raw.info.task, raw.info.class_names) == ('segmentation', ('0', '1', '2'))
    assert raw.validation.labels.shape == (1, 5, 6)
    assert np.array_equal(raw.train.labels[0], np.asarray(mask([0, 1, 2])))
    assert read_pairs(tmp_path, SIZED).train.labels.shape == (1, 4, 4)


def test_numbers_of_label_maps_are_explained_or_refused(tmp_path):
    save(tmp_path / 'images' / 'a.png', picture(0))
    save(tmp_path / 'masks' / 'a_mask.png', mask([0, 255]))
    with pytest.raises(UserError, match=r'2 files .* have no partner .*such as a, a_mask; .*mask_suffix=_mask'):
        read_pairs(tmp_path)
    with pytest.raises(UserError, match=r'0 and 255 alone.*mask_values=0,255; .*ignore_label=255'):
        read_pairs(tmp_path, mask_suffix='_mask')
    raw = read_pairs(tmp_path, mask_suffix='_mask', mask_values=(0, 255))
    assert (sorted(np.unique(raw.train.labels)), raw.info.class_names) == ([0, 1], ('0', '255'))
    save(tmp_path / 'masks' / 'a_mask.png', mask([0, 1, 3, 255]))
    with pytest.raises(UserError, match=r'252 of 256 classes .* without a pixel; did you mean .*ignore_label=255'):
        read_pairs(tmp_path, mask_suffix='_mask')
    raw = read_pairs(tmp_path, mask_suffix='_mask', ignore_label=255)
    assert (raw.info.num_classes, raw.info.ignore_label) == (4, 255)
    raw = read_pairs(tmp_path, mask_suffix='_mask', mask_values=(3, 0, 1), ignore_label=255)
    assert np.array_equal(np.unique(raw.train.labels), [0, 1, 2, 255])
    with pytest.raises(UserError, match='holds 1, 255, which are none of mask_values'):
        read_pairs(tmp_path, mask_suffix='_mask', mask_values=(0, 3))
    save(tmp_path / 'masks' / 'a_mask.png', mask([0, 1], (7, 5)))
    with pytest.raises(UserError, match='is 5 x 6 pixels, but its label map .* is 5 x 7'):
        read_pairs(tmp_path, mask_suffix='_mask')
    save(tmp_path / 'images' / 'a.jpg', picture(0))
    with pytest.raises(UserError, match='two pictures of one base name, a.jpg and a.png'):
        read_pairs(tmp_path, mask_suffix='_mask')
