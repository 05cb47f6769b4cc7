"""Units told apart by columns that came with them, weighted, and known by their names."""

import csv

import numpy as np
import pytest

import failpred_jax
from failpred_jax import scored_file
from failpred_jax.errors import UserError
from failpred_jax.evaluate.slices import cut
from failpred_jax.metrics import failure_metrics, values_of_units
from failpred_jax.predictions import evaluate_file
from failpred_jax.results import read_evaluation
from failpred_jax.results.codec import measures_from_json


@pytest.fixture
def arrays(rng):
    sure = rng.random(400)
    return {
        'correct': rng.random(400) < sure,
        'confidence_sure': sure,
        'confidence_noise': rng.normal(size=400),
        'group': rng.integers(0, 80, 400),
        'id': np.array([f'case-{i}' for i in range(400)]),
        'weight': rng.random(400),
        'site': rng.choice(['north', 'south', 'east <b>'], 400, p=[0.49, 0.49, 0.02]),
        'age': rng.normal(50, 20, 400),
    }


def test_slices_are_the_metrics_of_their_units(arrays, tmp_path):
    np.savez(tmp_path / 'x.npz', **arrays)
    scored_file.score(tmp_path / 'x.npz', tmp_path / 'out', slice_by=['site', 'age'])
    found = read_evaluation(tmp_path / 'out' / 'evaluation').measures
    by = {(one.by, one.name): one for one in found.slices}
    inside = arrays['site'] == 'north'
    north = by['site', 'north']
    expected = failure_metrics(arrays['confidence_sure'][inside], arrays['correct'][inside])
    assert north.scores['sure'].metrics == pytest.approx({m: expected[m] for m in north.scores['sure'].metrics})
    assert (north.num_units, north.num_groups) == (inside.sum(), len(np.unique(arrays['group'][inside])))
    assert north.accuracy_interval.low < north.accuracy < north.accuracy_interval.high
    ends = north.scores['sure'].intervals['aurc']
    assert ends.low < expected['aurc'] < ends.high
    # Too few are named, with their accuracy, and without figures that say nothing.
    few = by['site', 'east <b>']
    assert 'too few' in few.unavailable
    assert not few.scores
    assert sum(one.num_units for one in found.slices if one.by == 'age') == 400
    weighted = by['weight', 'all units, weighted']
    assert weighted.accuracy == pytest.approx(np.average(arrays['correct'], weights=arrays['weight']))
    expected = values_of_units(arrays['confidence_sure'], arrays['correct'], arrays['weight'])
    assert weighted.scores['sure'].metrics['aurc'] == expected['aurc']
    report = tmp_path / 'out' / 'report'
    page, table = (report / 'index.html').read_text(), (tmp_path / 'out' / 'evaluation' / 'table.md').read_text()
    assert 'This section is unavailable' not in page
    assert 'east <b>' not in page
    assert 'By site: sure' in table
    rows = list(csv.DictReader((report / 'slices.csv').read_text().splitlines()))
    assert {row['score'] for row in rows if row['slice'] == 'north'} == {'sure', 'noise'}
    errors = list(csv.DictReader((report / 'errors.csv').read_text().splitlines()))
    assert len(errors) == int((~arrays['correct']).sum())
    first = arrays['id'].tolist().index(errors[0]['id'])
    assert arrays['confidence_sure'][first] == arrays['confidence_sure'][~arrays['correct']].max()
    assert errors[0]['site'] == arrays['site'][first]


def test_figures_survive_their_file(arrays):
    table = failpred_jax.evaluate_predictions(
        correct=arrays['correct'],
        confidences={'sure': arrays['confidence_sure']},
        columns={'site': arrays['site']},
        group=arrays['group'],
        slice_by='site',
        resamples=20,
    )
    assert measures_from_json(table.metrics).slices == table.evaluation.measures.slices


def test_columns_that_are_not_there_are_refused_with_those_that_are(arrays, tmp_path):
    np.savez(tmp_path / 'x.npz', **arrays)
    for names, text in (
        (['sight'], r"names 'sight', but .* \(further columns: site, age\); did you mean 'site'\?"),
        (['site', 'site'], "names 'site' twice"),
    ):
        with pytest.raises(UserError, match=text):
            evaluate_file(tmp_path / 'x.npz', slice_by=names)


@pytest.mark.parametrize(
    ('values', 'names'),
    [
        (np.array(['b', 'a', '']), ['(empty)', 'a', 'b']),
        (np.array([True, False]), ['False', 'True']),
        (np.array([2, 1, 2]), ['1', '2']),
        (np.array([1.0, np.nan]), ['1', '(missing)']),
        (np.array([0.0, np.nan, 12.0, -1.0]), ['-1', '0', '12', '(missing)']),
        (np.arange(100) + 2**62, [f'{2**62 + i} to {2**62 + i + 19}' for i in range(0, 100, 20)]),
        (
            np.arange(25) * 1e-9 + 0.5,
            [f'{0.5 + i * 1e-9:.17g} to {0.5 + (i + 4) * 1e-9:.17g}' for i in range(0, 25, 5)],
        ),
        (np.arange(100), ['0 to 19', '20 to 39', '40 to 59', '60 to 79', '80 to 99']),
        (
            np.append(np.arange(20) / 2, np.nan),
            ['0 to 1.5', '2 to 3.5', '4 to 5.5', '6 to 7.5', '8 to 9.5', '(missing)'],
        ),
    ],
)
def test_every_unit_is_in_one_slice(values, names):
    found, left = cut(values)
    assert [one.name for one in found] == names
    assert left == 0
    assert (np.sum([one.mask for one in found], axis=0) == 1).all()


def test_of_many_values_those_with_most_units_are_reported():
    found, left = cut(np.array([f'{i:03}' for i in range(60)] + ['059'] * 5))
    assert (len(found), left) == (50, 10)
    assert found[-1].name == '059'
