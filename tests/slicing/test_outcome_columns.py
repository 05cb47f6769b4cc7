"""Columns that say what is right are never searched, and what they would hide is found."""

import csv

import numpy as np
import pytest

from failpred_jax import sliced
from failpred_jax.decide.thresholds import groups_of
from failpred_jax.decide.units import Units
from failpred_jax.errors import UserError
from failpred_jax.prediction_file.outcome_columns import outcome_columns
from failpred_jax.sliced import Asked, check_columns_of_file, slices_of_file


def written(path, **columns):
    with open(path, 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.fixture
def cases(rng, tmp_path):
    """Words as labels; where the scanner is Philips and the age over 75, 40 % is wrong, and 5 % elsewhere."""
    scanner, age = rng.choice(['GE', 'Philips'], 2400), rng.integers(18, 95, 2400)
    label = rng.choice(['benign', 'malignant'], 2400)
    wrong = rng.random(2400) < np.where((scanner == 'Philips') & (age > 75), 0.4, 0.05)
    prediction = np.where(wrong, np.where(label == 'benign', 'malignant', 'benign'), label)
    return {'label': label, 'prediction': prediction, 'confidence': rng.random(2400), 'scanner': scanner, 'age': age}


def search_of(monkeypatch, path, tmp_path, names=None):
    """Return the search of a file, without its folder's other contents."""
    kept = []
    monkeypatch.setattr(sliced, '_write', lambda kind, known, found, *_: kept.append((known, found)) or path)
    slices_of_file(path, tmp_path / 'out', Asked(names))
    return kept[0]


def test_labels_and_predictions_in_words_do_not_hide_a_slice(cases, tmp_path, monkeypatch):
    numbers = np.where(cases['label'] == 'benign', 7, 3)
    path = written(tmp_path / 'x.csv', **cases, diagnosis=numbers)
    known, found = search_of(monkeypatch, path, tmp_path)
    assert found.columns == ('scanner', 'age', 'predicted class', 'confidence')
    assert "'true_class' (the labels)" in known.notes[-1] and "'diagnosis' (the labels)" in known.notes[-1]
    best = found.slices[0][0]
    assert best.is_confirmed and 'scanner = Philips' in best.name and 'age >' in best.name
    assert known.units.predicted.tolist() == cases['prediction'].tolist()
    assert known.labels.tolist() == cases['label'].tolist()


def test_what_is_correct_under_other_names_is_left_out(cases, tmp_path, monkeypatch):
    correct = cases['label'] == cases['prediction']
    path = written(
        tmp_path / 'x.csv', correct=correct.astype(int), confidence=cases['confidence'], scanner=cases['scanner'],
        age=cases['age'], correct_detector=correct | (np.arange(2400) % 9 == 0), missed=np.where(correct, 'no', 'yes'),
        corrected_vision=np.arange(2400) % 3,
    )  # fmt: skip
    known, found = search_of(monkeypatch, path, tmp_path)
    assert found.columns == ('scanner', 'age', 'corrected_vision', 'confidence')
    assert known.notes[-1].endswith("'correct_detector' (what is correct), 'missed' (what is correct)")
    assert 'scanner = Philips' in found.slices[0][0].name


def test_columns_are_checked_before_anything_is_evaluated(cases, tmp_path):
    path = written(tmp_path / 'x.csv', **cases)
    check_columns_of_file(path, ['age', 'predicted_class'])
    with pytest.raises(UserError, match="no column 'scaner'; did you mean 'scanner'"):
        check_columns_of_file(path, ['scaner', 'age'])
    with pytest.raises(UserError, match="column 'true_class' holds the labels"):
        check_columns_of_file(path, ['true_class'])


def test_policies_have_no_thresholds_by_what_nobody_knows_then():
    correct = np.arange(40) % 4 > 0
    units = Units({'s': np.arange(40.0)}, correct, columns={'true_class': np.arange(40) % 2, 'ward': np.arange(40) % 5})
    assert groups_of(units, 'ward')[:2].tolist() == ['0', '1']
    with pytest.raises(UserError, match="config.decide.by is 'true_class', which holds the labels"):
        groups_of(units, 'true_class')


def test_a_column_is_no_outcome_by_chance():
    correct = np.arange(200) >= 3
    assert outcome_columns({'rare': ~correct, 'one': np.ones(200), 'id': np.arange(200)}, correct) == {}
    correct = np.arange(200) >= 6
    assert outcome_columns({'rare': ~correct, 'nearly': np.arange(200) >= 5}, correct) == {'rare': 'what is correct'}
