"""A table with one row per unit of any part is the same as arrays of the parts."""

import csv

import numpy as np

from failpred_jax import main
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


def test_other_columns_of_that_name_are_for_slicing():
    for column, more in (
        (['left', 'right'] * 5, {}),
        (['val'] * 10, {}),
        (['test'] * 10, {}),
        (['train', 'val'] * 5, {}),
        (['test', 'val'] * 5, {'val_correct': np.ones(3, bool)}),
        (np.arange(10), {}),
    ):
        arrays = {'split': np.array(column), 'correct': np.arange(10) > 2, **more}
        assert deal_parts(arrays) == (arrays, ())
    units = parse_arrays(
        {'split': np.array(['left', 'right'] * 5), 'correct': np.arange(10) > 2, 'confidence_a': np.arange(10.0)}, 'x'
    )
    assert list(units['evaluated'].slices) == ['split']
