"""A table with one row per unit of any part is the same as arrays of the parts."""

import csv

import numpy as np
import pytest

from failpred_jax import main
from failpred_jax.errors import UserError
from failpred_jax.prediction_file import parse_arrays, read_predictions
from failpred_jax.prediction_file.dealing import deal_parts


def test_a_column_deals_the_rows_to_parts_of_any_size(tmp_path, rng, capsys):
    sizes = {'test': 30, 'Val ': 20, 'cal': 25, 'training': 10}
    rows = [
        {'split': part, 'correct': int(rng.random() < 0.8), 'confidence_mine': rng.random(), 'site': part[0]}
        for part, size in sizes.items()
        for _ in range(size)
    ]
    order = rng.permutation(len(rows))
    file = tmp_path / 'p.csv'
    with file.open('w', newline='') as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows[i] for i in order)
    found = read_predictions(file)
    names = {'test': 'evaluated', 'Val ': 'validation', 'cal': 'calibration', 'training': 'training'}
    assert {part: units.num_units for part, units in found.items()} == {names[k]: n for k, n in sizes.items()}
    kept = [rows[i] for i in order if rows[i]['split'] == 'cal']
    np.testing.assert_array_equal(found['calibration'].confidences['mine'], [row['confidence_mine'] for row in kept])
    np.testing.assert_array_equal(found['calibration'].correct, [bool(row['correct']) for row in kept])
    assert any(
        "the column 'split' says which part each row belongs to: 25 'cal', 30 'test'" in n
        for n in found['evaluated'].notes
    )
    words = ('failpred', '--mode=decide', f'--predictions={file}', f'--workdir={tmp_path / "run"}', '--risk=0.5')
    assert main.main([*words, '--resamples=0']) == 0
    assert 'certified on 25 units' in capsys.readouterr().out


@pytest.mark.parametrize('words', [('test', 'val', 'cal', 'train'), ('Testing', 'DEV', 'calib', 'training ')])
@pytest.mark.parametrize('kind', [str, object, bytes])
def test_usual_names_of_the_parts_mean_them(words, kind, rng):
    parts = np.array(rng.permutation(list(words) * 5), dtype=None if kind is str else object)
    parts = parts.astype('S12') if kind is bytes else parts
    found = deal_parts({'split': parts, 'x': np.arange(20)}, 'f')
    for word, prefix in zip(words, ('', 'val_', 'cal_', 'train_'), strict=True):
        rows = [i for i, part in enumerate(parts) if (part.decode() if kind is bytes else part) == word]
        assert found.arrays[f'{prefix}x'].tolist() == found.rows[prefix].tolist() == rows


@pytest.mark.parametrize(
    ('column', 'told'),
    [
        (['test', '', 'val', 'test'], 'is empty in row 2;'),
        (['test', 'val', 'holdout', 'holdout'], "holds 'holdout' in rows 3, 4;"),
        (['bus', 'train', 'bus', 'tram'], "holds 'bus' in rows 1, 3;"),
        ([None, 'test', 'val', np.nan], 'is empty in rows 1, 4;'),
        (['val', 'cal', 'val', 'val'], r"no row is of the part 'test'.*\(there are 1 'cal', 3 'val'\)"),
        (['Train', 'train', 'train', 'train'], r"\(there are 4 'train'\)"),
    ],
)
@pytest.mark.parametrize('name', ['part', 'split'])
def test_a_column_that_names_parts_names_one_for_every_row(column, told, name):
    """Rows of no part were once scored as test, with those of all other parts."""
    arrays = {name: np.array(column, object), 'correct': np.arange(4) > 2, 'confidence_a': np.arange(4.0)}
    with pytest.raises(UserError, match=f"the column '{name}' of 'x.csv' says which part.*{told}"):
        parse_arrays(arrays, "'x.csv'")


def test_rows_in_messages_are_those_of_the_file(tmp_path):
    (tmp_path / 'x.csv').write_text('part,correct,confidence\nval,1,0.5\ntest,1,0.5\nval,0,high\ntest,,0.1\n')
    with pytest.raises(UserError) as error:
        read_predictions(tmp_path / 'x.csv')
    assert "'confidence' holds words, such as 'high' (row 3)" in str(error.value)
    assert "'correct' is missing for 1 unit (row 4)" in str(error.value)


def test_other_columns_of_that_name_are_for_slicing():
    for column, more in (
        (['left', 'right'] * 5, {}),
        (['test'] * 10, {}),
        ([''] * 10, {}),
        (['test', 'val'] * 5, {'val_correct': np.ones(3, bool)}),
        (np.arange(10), {}),
    ):
        arrays = {'split': np.array(column), 'correct': np.arange(10) > 2, **more}
        assert deal_parts(arrays, 'f') == (arrays, (), {})
    units = parse_arrays(
        {'split': np.array(['left', 'right'] * 5), 'correct': np.arange(10) > 2, 'confidence_a': np.arange(10.0)}, 'x'
    )
    assert list(units['evaluated'].slices) == ['split']
    # A part of the body beside a part of the data.
    both = {'part': np.array(['head', 'arm'] * 5), 'split': np.array(['test'] * 6 + ['val'] * 4)}
    units = parse_arrays({**both, 'correct': np.arange(10) > 2, 'confidence_a': np.arange(10.0)}, 'x')
    assert {name: found.num_units for name, found in units.items()} == {'evaluated': 6, 'validation': 4}
    assert list(units['evaluated'].slices) == ['part']
