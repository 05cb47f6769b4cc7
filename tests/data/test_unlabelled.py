"""Rows of tables and parquet files without a label, said by -1: no class is made of them, and they can be left out."""

import pytest
from data.pictures_on_disk import picture, save
from data.test_sources import read_parquet, read_table, write_shard

from failpred_jax.errors import UserError

FEATURES = ['cat', 'dog', 'emu']


def table_of(folder, labels, parts=None, missing=()):
    """Write a table of pictures 0.png, 1.png, ... with these labels, of which some are not there."""
    for i in set(range(len(labels))) - set(missing):
        save(folder / f'{i}.png', picture(i))
    rows = [f'{i}.png,{label}' + (f',{parts[i]}' if parts else '') for i, label in enumerate(labels)]
    (folder / 'set.csv').write_text('\n'.join(['path,label' + (',split' if parts else ''), *rows]))
    return folder / 'set.csv'


@pytest.mark.parametrize('labels', [[0, -1, 1, 0, 1], ['cat', -1, 'dog', 'cat', 'dog'], [3, -1, 7, 3, 7]])
def test_minus_one_is_no_class_and_can_be_left_out(labels, tmp_path, capsys):
    file = table_of(tmp_path, labels)
    remedy = '--config.data.table.ignore_label=-1'
    with pytest.raises(UserError, match=rf"1 row of 5 have the label -1.*'no label'. Leave this row out: {remedy}"):
        read_table(file)
    raw = read_table(file, ignore_label='-1')
    assert raw.info.class_names == (str(labels[0]), str(labels[2]))
    assert raw.train.labels.tolist() == [0, 1, 0, 1]
    assert raw.train.images[:, 0, 0, 0].tolist() == [0, 2, 3, 4]
    assert '1 row of' in (told := capsys.readouterr().out)
    assert "with the label '-1' is left out" in told


@pytest.mark.parametrize(
    'labels', [[-1, 1, -1], [-2, -1, 0, 1], [-1, 0, 0], ['minus_one', 0, 1], ['cat', 'x-1', 'dog']]
)
def test_negative_numbers_that_may_be_classes_are(labels, tmp_path):
    """-1 and 1 are the two classes of many, and so are grades."""
    assert len(read_table(table_of(tmp_path, labels)).info.class_names) == len(set(labels))


def test_a_part_that_is_hidden_is_not_used_nor_are_pictures_that_are_left_out(tmp_path, capsys):
    file = table_of(tmp_path, ['a', 'b', -1, -1], ['train', 'train', 'test', 'test'], missing=[3])
    assert read_table(file).test is None
    assert 'all labels of the test part' in capsys.readouterr().out
    file = table_of(tmp_path, ['a', 'b', 'nobody knows', 'a'], missing=[2])
    assert read_table(file, ignore_label='nobody knows').info.class_names == ('a', 'b')


def test_a_label_to_leave_out_that_no_row_has_is_told(tmp_path):
    file = table_of(tmp_path, ['a', 'unknown', 'b'])
    with pytest.raises(UserError, match="ignore_label is 'unknwon', but no row of .* did you mean 'unknown'"):
        read_table(file, ignore_label='unknwon')
    file = table_of(tmp_path, [-1, -1])
    for ignored in ('', '-1'):
        with pytest.raises(UserError, match='all labels of the train part of .* are -1, that is, hidden'):
            read_table(file, ignore_label=ignored)


@pytest.mark.parametrize('names', [None, FEATURES])
def test_minus_one_in_parquet_is_no_class_and_can_be_left_out(names, tmp_path):
    write_shard(tmp_path / 'set.parquet', [5, 6, 7, 8], [1, -1, 0, 1], names)
    with pytest.raises(UserError, match=r'1 row of 4 have the label -1.*: --config.data.parquet.ignore_label=-1'):
        read_parquet(tmp_path / 'set.parquet')
    raw = read_parquet(tmp_path / 'set.parquet', ignore_label='-1')
    assert raw.info.class_names == tuple(names or ('0', '1'))
    assert raw.train.labels.tolist() == [1, 0, 1]
    assert raw.train.images[:, 0, 0, 0].tolist() == [5, 7, 8]


def test_labels_of_classes_can_be_left_out_as_well(tmp_path):
    write_shard(tmp_path / 'set.parquet', [5, 6, 7], ['cat', 'unknown', 'dog'])
    assert read_parquet(tmp_path / 'set.parquet', ignore_label='unknown').info.class_names == ('cat', 'dog')
