"""What is odd about a table of pictures is told before its rows are read otherwise than they are meant."""

import pytest
from data.pictures_on_disk import picture, save
from data.test_sources import read_table

from failpred_jax.errors import UserError


def table_of(folder, *rows, header='path,label', end=''):
    for i in range(4):
        save(folder / 'my pictures' / f'{i}.png', picture(i))
    (folder / 'set.csv').write_text('\n'.join([*([header] if header else []), *rows]) + end)
    return folder / 'set.csv'


ROWS = [f'my pictures/{i}.png,{"ab"[i % 2]}' for i in range(4)]


@pytest.mark.parametrize('end', ['\n', '\n   ', '\n   \n', '\n \n\n  \r\n\n'])
@pytest.mark.parametrize('quoted', [False, True])
def test_lines_of_blanks_at_the_end_are_no_rows(tmp_path, end, quoted):
    rows = [f'"{row.replace(",", chr(34) + "," + chr(34))}"' for row in ROWS] if quoted else ROWS
    assert len(read_table(table_of(tmp_path, *rows, end=end)).train.labels) == 4


def test_lines_of_blanks_between_rows_are_no_rows(tmp_path):
    assert len(read_table(table_of(tmp_path, '  ', *ROWS[:2], ' ', *ROWS[2:])).train.labels) == 4


def test_a_short_row_is_named_by_its_number(tmp_path):
    with pytest.raises(UserError, match='row 3: Expected 2 columns, got 1: my pictures/2.png'):
        read_table(table_of(tmp_path, *ROWS[:2], '', 'my pictures/2.png', end='\n'))


@pytest.mark.parametrize('first', [ROWS[0], 'a,my pictures/0.png', 'gone.JPG,0'])
def test_a_table_without_a_header_is_told_so(tmp_path, first):
    file = table_of(tmp_path, first, *ROWS[1:], header='')
    with pytest.raises(UserError, match=r'the table has no header, it seems; put the names .* such as path,label'):
        read_table(file)
    with pytest.raises(UserError, match='the table has no header'):
        read_table(file, path_column=first.split(',')[0])


def test_addresses_of_files_are_read_and_others_are_told(tmp_path):
    folder = str(tmp_path / 'my pictures')
    forms = ['file://{}/0.png', 'file:{}/1.png', 'FILE://localhost{}/2.png', 'file://{}/3.png']
    rows = [f'{form.format(folder.replace(" ", "%20"))},a' for form in forms]
    assert read_table(table_of(tmp_path, *rows)).train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    for address in ('https://x.y/1.png', 's3://bucket/1.png'):
        with pytest.raises(UserError, match=f"the path of row 2 is '{address}', an address; .* fetch them"):
            read_table(table_of(tmp_path, ROWS[0], f'{address},a'))


@pytest.mark.parametrize(
    ('column', 'values', 'is_told'),
    [
        ('is_test', ['True', 'False'], True),
        ('Usage', ['x', 'y'], True),
        ('where', ['train', 'test'], True),
        ('camera', ['left', 'right'], False),
        ('tests', ['1', '2'], False),
    ],
)
def test_a_column_that_may_be_a_split_and_is_not_used_is_told(tmp_path, capsys, column, values, is_told):
    rows = [f'{row},{values[i // 2]}' for i, row in enumerate(ROWS)]
    file = table_of(tmp_path, *rows, header=f'path,label,{column}')
    assert read_table(file).test is None
    remedy = f'--config.data.table.split_column={column}'
    assert (remedy in capsys.readouterr().out) == is_told
    if values == ['train', 'test']:
        assert len(read_table(file, split_column=column).test.labels) == 2
