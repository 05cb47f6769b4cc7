"""Tables as people write them: names of columns and classes, ids and groups, what is missing, and what was cut off."""

import gzip
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from failpred_jax.commands.score import ignored
from failpred_jax.errors import UserError
from failpred_jax.predicting.inputs import Form, open_images
from failpred_jax.prediction_file import parse_arrays, read_predictions

N = 30
NAMES = {
    'leading zeros': [f'{i:05d}' for i in range(N)],
    'beyond int64': [str(2**63 + i) for i in range(N)],
    'beyond uint64': [str(10**30 + i) for i in range(N)],
    'hashes': [str(x) for x in np.random.default_rng(0).integers(0, 2**64, N, np.uint64)],
    'signs': [f'+{i}' for i in range(N)],
    'decimals': [f'{i}.50' for i in range(N)],
    'powers': [f'{i}e20' for i in range(N)],
    'numbers and words': [*map(str, range(N - 1)), 'last'],
    'words': [f'p{i}' for i in range(N)],
    'numbers': [str(i - 3) for i in range(N)],
    'the ends of int64': [*map(str, range(N - 2)), str(2**63 - 1), str(-(2**63))],
}


def score(tmp_path, text, name='x.csv', ignore_label=None):
    (tmp_path / name).write_text(text)
    return read_predictions(tmp_path / name, ignore_label)


@pytest.mark.parametrize('case', NAMES)
@pytest.mark.parametrize('form', ['csv', 'semicolons', 'quoted', 'parquet'])
def test_ids_and_groups_are_what_was_written(case, form, tmp_path):
    frame = pd.DataFrame({'correct': [0, 1] * 15, 'confidence_a': 0.5, 'id': NAMES[case], 'Patient group': 1})
    frame['group'] = [NAMES[case][i // 3] for i in range(N)]
    path = tmp_path / f'x.{form}'
    if form == 'parquet':
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep=';' if form == 'semicolons' else ',', quoting=int(form == 'quoted'))
    found = read_predictions(path)['evaluated']
    assert found.ids.tolist() == NAMES[case]
    assert [str(found.group_names[i]) for i in found.group] == frame['group'].tolist()


def test_groups_that_are_numbers_are_numbered_alike_in_every_format(tmp_path):
    group = np.array([10, 9, 100, 9, 10, 2])
    arrays = {'correct': np.arange(6) % 2, 'confidence_a': np.arange(6) / 6, 'group': group}
    np.savez(tmp_path / 'x.npz', **arrays)
    pd.DataFrame(arrays).to_csv(tmp_path / 'x.csv', index=False)
    first, second = (read_predictions(tmp_path / name)['evaluated'] for name in ('x.npz', 'x.csv'))
    assert np.array_equal(first.group, second.group) and np.array_equal(first.group_names, second.group_names)


@pytest.mark.parametrize('name', ['id', 'group'])
def test_names_that_decimals_do_not_tell_apart_are_refused(name, tmp_path):
    arrays = {'correct': [True, False], 'confidence_a': [0.1, 0.2]}
    with pytest.raises(UserError, match=f"'{name}' holds whole numbers as decimals .float., such as 1000000000000000"):
        parse_arrays({**arrays, name: np.array([1e20, 1e20 + 1])}, 'x')
    assert parse_arrays({**arrays, name: np.array([2**64 - 1, 3], np.uint64)}, 'x')
    # JSON has no larger integers either.
    with pytest.raises(UserError, match='cannot be read as JSON lines|holds whole numbers as decimals'):
        score(tmp_path, f'[{{"correct": 1, "confidence": 0.5, "{name}": 100000000000000000000}}]', 'x.json')


FORMS = {
    'capitals': 'Label,Prediction,Confidence,Site\n1,1,0.5,a\n1,0,0.25,b\n',
    'blanks': ' label ,Prediction, Confidence ,Site\n1,1,0.5,a\n1,0,0.25,b\n',
    'small': 'label,prediction,confidence,Site\n1,1,0.5,a\n1,0,0.25,b\n',
    'a comment': '# made by me\nlabel,prediction,confidence,Site\n1,1,0.5,a\n1,0,0.25,b\n',
    "NumPy's header": '# label,prediction,confidence,Site\n1,1,0.5,a\n1,0,0.25,b\n',
    'empty rows': 'label,prediction,confidence,Site\n1,1,0.5,a\n1,0,0.25,b\n,,,\n,,,\n',
}


@pytest.mark.parametrize('form', FORMS)
def test_habits_of_writing_change_nothing(form, tmp_path):
    found = score(tmp_path, FORMS[form])['evaluated']
    assert found.correct.tolist() == [True, False]
    assert found.confidences['confidence'].tolist() == [0.5, 0.25]
    assert found.slices['Site'].tolist() == ['a', 'b']


@pytest.mark.parametrize('stem', ['Logits 0,Logits 1', 'LOGITS_0,LOGITS_1', 'logits.0,logits.1', 'logits_1,logits_0'])
def test_columns_of_one_array_are_known_by_their_numbers(stem, tmp_path):
    found = score(tmp_path, f'Labels,{stem}\n1,5,9\n')['evaluated']
    assert found.logits.tolist() == ([[9, 5]] if stem == 'logits_1,logits_0' else [[5, 9]])


def test_a_name_twice_but_for_capitals_is_another_column():
    arrays = {'correct': [True, False], 'confidence_a': [0.1, 0.2], 'id': ['x', 'y'], 'ID': ['z', 'z']}
    found = parse_arrays(arrays, 'x')['evaluated']
    assert found.ids.tolist() == ['x', 'y'] and found.slices['ID'].tolist() == ['z', 'z']


@pytest.mark.parametrize(
    ('header', 'told'),
    [
        ('y,prob_0,prob_1', "rename 'y' to 'labels', 'prob_0' to 'probs_0'"),
        ('true,pred,Score', "rename 'true' to 'labels', 'pred' to 'predicted', 'Score' to 'confidence_score'"),
        ('label,0,1', "rename '0' to 'probs_0'"),
        ('label,prediction,confidence_', "'confidence_' says of no score; name it 'confidence_NAME'"),
    ],
)
def test_names_of_other_tools_are_told_what_ours_are(header, told, tmp_path):
    with pytest.raises(UserError) as error:
        score(tmp_path, f'{header}\n1,0.5,0.5\n')
    assert told in str(error.value)


@pytest.mark.parametrize('names', [(1, 2, 3), (3, 5, 9), (0, 1, 4), (10, 11, 12)])
@pytest.mark.parametrize('stem', ['probs', 'logits', 'Probs'])
def test_columns_numbered_by_the_classes_are_those_numbered_from_0(names, stem, tmp_path, rng):
    probs = rng.dirichlet(np.ones(3), 40)
    place = rng.integers(0, 3, 40)
    frame = pd.DataFrame({f'{stem}_{name}': probs[:, i] for i, name in enumerate(names)})
    frame.insert(2, 'labels', np.array(names)[place].astype(float))
    frame['predicted'] = np.array(names)[probs.argmax(1)]
    found = score(tmp_path, frame.to_csv(index=False))['evaluated']
    assert np.array_equal(found.labels, place)
    assert found.class_names == tuple(map(str, names))
    assert any('taken as names of the classes' in note for note in found.notes)
    # The same of arrays, and of columns in another order.
    again = score(tmp_path, frame[frame.columns[::-1]].to_csv(index=False))['evaluated']
    assert np.array_equal(again.labels, place) and np.array_equal(again.logits, found.logits)
    arrays = parse_arrays({'labels': np.array(names)[place], 'probs': probs, 'class_names': np.array(names)}, 'x')
    assert np.array_equal(arrays['evaluated'].labels, place)
    frame['labels'] = 7
    with pytest.raises(UserError, match=r"'labels' holds '7'.*number the columns from 0"):
        score(tmp_path, frame.drop(columns='predicted').to_csv(index=False))


@pytest.mark.parametrize('names', [(0, 1, 2), (1, 2, 3), ('cat', 'dog', 'emu')])
def test_one_hot_labels_in_a_table_are_labels(names, tmp_path, rng):
    logits, place = rng.normal(size=(20, 3)), rng.integers(0, 3, 20)
    frame = pd.DataFrame({f'logits_{name}': logits[:, i] for i, name in enumerate(names)})
    for i in (2, 0, 1):
        frame[f'labels_{names[i]}'] = (place == i).astype(int)
    found = score(tmp_path, frame.assign(labels_source='x').to_csv(index=False))['evaluated']
    assert np.array_equal(found.labels, place) and found.slices['labels_source'].tolist() == ['x'] * 20


MISSING = {
    'labels': 'label,prediction,confidence\ncat,cat,0.5\n,dog,0.4\ndog,cat,0.3\n',
    'numbers': 'label,logits_0,logits_1\n1,0,1\n,1,0\n0,0,1\n',
    'words': 'label,probs_cat,probs_dog\ncat,0.6,0.4\n,1,0\ndog,0.9,0.1\n',
    'correct': 'correct,confidence\n1,0.5\n,0.4\n0,0.3\n',
    'words for correct': 'correct,confidence\nyes,0.5\n,0.4\nno,0.3\n',
}


@pytest.mark.parametrize('case', MISSING)
def test_units_without_a_label_are_named_and_can_be_left_out(case, tmp_path):
    whole = ''.join(line for i, line in enumerate(MISSING[case].splitlines(True)) if i != 2)
    with pytest.raises(
        UserError, match=r"' is missing for 1 unit \(row 2\): fill it in, take the row out.*--ignore_label= "
    ):
        score(tmp_path, MISSING[case])
    found = score(tmp_path, MISSING[case], ignore_label=ignored({'ignore_label': ''}))['evaluated']
    expected = score(tmp_path, whole)['evaluated']
    assert found.num_units == expected.num_units == 2
    for name in ('labels', 'logits', 'correct'):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert any('1 unit without a label' in note for note in found.notes)


def test_the_option_for_ignored_labels_takes_numbers_and_words(tmp_path):
    assert [ignored({'ignore_label': given}) for given in (None, '-1', '255', 'unknown', '')] == [
        None, -1, 255, 'unknown', '',
    ]  # fmt: skip
    text = 'label,probs_cat,probs_dog\ncat,0.6,0.4\nunknown,1,0\ndog,0.9,0.1\n'
    assert score(tmp_path, text, ignore_label='unknown')['evaluated'].labels.tolist() == [0, 1]
    assert score(tmp_path, text.replace('unknown', '-1'), ignore_label=-1)['evaluated'].labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ('column', 'told'),
    [
        (['right', 'wrong', 'right'], "it holds 'right', 'wrong'"),
        (['x', '', ''], "it holds '', 'x'"),
        ([0, 100, 100], 'it holds 0, 100'),
        ([1, -1, 1], 'it holds -1, 1'),
    ],
)
def test_what_is_no_correctness_is_shown_by_its_values(column, told):
    with pytest.raises(UserError) as error:
        parse_arrays({'correct': column, 'confidence_a': [0.1, 0.2, 0.3]}, 'x')
    assert told in str(error.value) and '<U' not in str(error.value)


def test_one_named_column_is_told_to_name_the_other_class_or_none(tmp_path):
    with pytest.raises(UserError, match=r"'probs_yes' is the only column of outputs.*add the column 'probs_NAME'"):
        score(tmp_path, 'labels,probs_yes\nyes,0.5\nno,0.25\n')
    assert score(tmp_path, 'labels,probs\n1,0.75\n0,0.25\n')['evaluated'].labels.tolist() == [1, 0]


@pytest.mark.parametrize('name', ['mc_probs', 'ensemble_probs'])
def test_samples_that_are_logits_are_told_of_their_softmax(name, rng):
    arrays = {'labels': [0, 1], 'logits': rng.normal(size=(2, 3)), name: rng.normal(size=(2, 4, 3))}
    with pytest.raises(UserError, match=rf'give their softmax, scipy\.special\.softmax\({name}, axis=-1\)'):
        parse_arrays(arrays, 'x')


@pytest.mark.parametrize(
    ('end', 'is_told'), [('0.98765\n', False), ('0.98765', False), ('0.98', True), ('', True), ('0.9876543', False)]
)
def test_a_table_that_ends_within_a_number_is_told(end, is_told, tmp_path):
    text = 'correct,confidence\n' + '1,0.12345\n0,0.54321\n' * 9 + '1,'
    notes = score(tmp_path, text + (end or '0.1'))['evaluated'].notes
    assert any('was the file cut off?' in note for note in notes) == is_told
    with pytest.raises(UserError, match='Expected 2 columns, got 1.*was the file cut off'):
        score(tmp_path, text.removesuffix(','))


def test_archives_of_one_table_are_tables_and_others_are_told(tmp_path):
    table = 'correct,confidence\n1,0.5\n0,0.25\n'
    pd.DataFrame({'correct': [1, 0], 'confidence': [0.5, 0.25]}).to_csv(tmp_path / 'x.csv.zip', index=False)
    with zipfile.ZipFile(tmp_path / 'lines.zip', 'w') as archive:
        archive.writestr('lines.jsonl', '{"correct": 1, "confidence": 0.5}\n{"correct": 0, "confidence": 0.25}\n')
    for name in ('x.csv.zip', 'lines.zip'):
        assert read_predictions(tmp_path / name)['evaluated'].confidences['confidence'].tolist() == [0.5, 0.25]
    with zipfile.ZipFile(tmp_path / 'two.zip', 'w') as archive:
        archive.writestr('a.csv', table)
        archive.writestr('b.csv', table)
    with zipfile.ZipFile(tmp_path / 'book.xlsx', 'w') as archive:
        archive.writestr('[Content_Types].xml', '<x/>')
        archive.writestr('xl/workbook.xml', '<x/>')
    np.savez(tmp_path / 'x.npz', correct=np.ones(3))
    (tmp_path / 'x.npz.gz').write_bytes(gzip.compress((tmp_path / 'x.npz').read_bytes()))
    for name, told in (
        ('two.zip', 'unpack it, and name one'),
        ('book.xlsx', 'an Excel workbook.*save its sheet as CSV'),
        ('x.npz.gz', r'unpack it first \(gunzip x\.npz\.gz\)'),
    ):
        with pytest.raises(UserError, match=told):
            read_predictions(tmp_path / name)


def test_records_that_nobody_needs_are_left_out(tmp_path):
    columns = {'correct': [1, 0], 'confidence': [0.5, 0.25], 'box': [{'x': 1}, {'x': 2}], 'raw': [b'a', b'b']}
    pa.parquet.write_table(pa.table(columns), tmp_path / 'x.parquet')
    found = read_predictions(tmp_path / 'x.parquet')['evaluated']
    assert not found.slices and sum('left out' in note for note in found.notes) == 2
    pa.parquet.write_table(pa.table({**columns, 'labels': columns['box']}), tmp_path / 'x.parquet')
    with pytest.raises(UserError, match="column 'labels' holds struct"):
        read_predictions(tmp_path / 'x.parquet')


@pytest.mark.parametrize('name', ['path', 'Path', 'FILENAME', 'Image_Path'])
def test_a_column_of_paths_may_have_capitals(name, tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / 'a.png')
    (tmp_path / 'x.csv').write_text(f'ID,{name}\n007,a.png\n')
    assert open_images(tmp_path / 'x.csv', Form((8, 8, 1), False)).ids.tolist() == ['007']
