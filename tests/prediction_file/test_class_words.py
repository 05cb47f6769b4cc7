"""Classes that are called by what looks like a number or a truth value: two are one if and only if their words are."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failpred_jax.errors import UserError
from failpred_jax.monitor import chunks
from failpred_jax.monitor.reading import class_numbers, correctness
from failpred_jax.prediction_file import read_predictions
from failpred_jax.prediction_file.class_words import have_two_of_one

CODES = ('5', '05', '005', '250.1', '250.10', '12', '012', 'x')


def right_in(path):
    units = read_predictions(path)['evaluated']
    return units.logits.argmax(axis=1) == units.labels if units.correct is None else units.correct


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(CODES), st.sampled_from(CODES)), min_size=4, max_size=12))
def test_a_prediction_is_right_if_it_is_written_as_the_label(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp('x')
    # So that both columns write codes, which single rows need not tell.
    pairs = [*pairs, ('05', '05'), ('250.10', '250.10')]
    frame = pd.DataFrame(pairs, columns=['label', 'prediction']).assign(confidence=np.linspace(0, 1, len(pairs)))
    frame.to_csv(folder / 'x.csv', index=False)
    frame.to_parquet(folder / 'x.parquet')
    expected = np.array([label == chosen for label, chosen in pairs])
    assert np.array_equal(right_in(folder / 'x.csv'), expected)
    assert np.array_equal(right_in(folder / 'x.parquet'), expected)


def test_what_one_column_pads_and_the_other_does_not_is_one_class(tmp_path):
    pd.DataFrame({'label': ['01', '02', '01', '03'], 'prediction': ['1', '2', '2', '3'], 'confidence': 0.5}).to_csv(
        tmp_path / 'x.csv', index=False
    )
    assert right_in(tmp_path / 'x.csv').tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (['1', '01'], True), (['1', '1.0', '2.0'], False), (['250', '250.0', '250.1'], True), (['1', 'x1'], False),
        (['1.1', '1.10'], True), ([], False), (['-1', '1'], False), (['0', '-0'], True),
    ],
)  # fmt: skip
def test_words_of_one_number_are_found(words, expected):
    assert have_two_of_one(words) is expected


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
@pytest.mark.parametrize('names', [('False', 'True'), ('no', 'yes'), ('negative', 'Positive')])
def test_truth_values_are_the_class_that_says_so(names, order, tmp_path, rng):
    labels = rng.random(40) < 0.5
    true = np.where(rng.random(40) < 0.8, labels, ~labels) * 0.8 + 0.1
    outputs = np.stack([1 - true, true], axis=1)
    columns = {f'probs_{names[i]}': outputs[:, i] for i in order}
    frame = pd.DataFrame({'label': labels, **columns})
    frame.to_csv(tmp_path / 'x.csv', index=False)
    frame.to_parquet(tmp_path / 'x.parquet')
    frame.to_json(tmp_path / 'x.jsonl', orient='records', lines=True)
    np.savez(tmp_path / 'x.npz', labels=labels, probs=outputs[:, order], class_names=[names[i] for i in order])
    expected = (true > 0.5) == labels
    assert 0.5 < expected.mean() < 1
    for name in ('x.csv', 'x.parquet', 'x.jsonl', 'x.npz'):
        assert np.array_equal(right_in(tmp_path / name), expected), name


def test_numbers_that_may_be_either_of_true_and_false_are_refused(tmp_path):
    outputs = np.array([[0.2, 0.8], [0.7, 0.3]])
    np.savez(tmp_path / 'x.npz', labels=[1, 0], probs=outputs, class_names=['True', 'False'])
    with pytest.raises(UserError, match='so that 1 may be either'):
        read_predictions(tmp_path / 'x.npz')
    np.savez(tmp_path / 'x.npz', labels=[1, 0], probs=outputs, class_names=['False', 'True'])
    assert right_in(tmp_path / 'x.npz').all()


def test_labels_are_names_or_places_and_never_a_guess(tmp_path):
    outputs = np.eye(3)[[0, 1, 2, 0]] * 0.9 + 0.03

    def right(labels, names):
        np.savez(tmp_path / 'x.npz', labels=labels, probs=outputs, class_names=names)
        return right_in(tmp_path / 'x.npz').all()

    assert right([3, 1, 2, 3], ['3', '1', '2'])
    assert right(['3', '1', '2', '3'], ['3', '1', '2'])
    assert right([2, 0, 1, 2], np.array([2, 0, 1]))
    assert right([0, 1, 2, 0], ['0', '1', '2'])
    assert right([0, 1, 2, 0], ['30', '10', '20'])
    with pytest.raises(UserError, match='may be these names or places in this list'):
        right([2, 0, 1, 2], ['2', '0', '1'])


def test_columns_of_one_number_and_of_numbers_below_zero_are_named_by_their_words(tmp_path):
    for names in (['012', '0012', '12'], ['-1', '0', '1']):
        labels = np.array(names)[[0, 1, 2, 1]]
        columns = {f'probs_{name}': (labels == name) * 0.8 + 0.1 for name in names}
        pd.DataFrame({'label': labels, **columns}).to_csv(tmp_path / 'x.csv', index=False)
        assert read_predictions(tmp_path / 'x.csv')['evaluated'].class_names == tuple(names)
        assert right_in(tmp_path / 'x.csv').all()


def test_a_stream_is_right_where_its_words_are(tmp_path):
    labels, chosen = ['012', '12', '12', '0012', ''], ['012', '012', '12', '12', '12']
    frame = pd.DataFrame({'Label': labels, 'prediction': chosen, 'confidence': 0.5})
    frame.to_csv(tmp_path / 'x.csv', index=False)
    ((arrays, where),) = chunks.read_chunks(tmp_path / 'x.csv')
    given = {'labels': arrays['Label'], 'predicted': arrays['prediction']}
    numbers = class_numbers(given['predicted'], (), 0, 'predicted', where)
    predicted = np.full(5, -1) if numbers is None else numbers
    found = correctness(given, predicted, given['predicted'], (), 0, where)
    np.testing.assert_array_equal(found, [1, 0, 1, 0, np.nan])


def test_the_plural_of_one_hot_columns_is_told(tmp_path):
    pd.DataFrame({'label_0': [1, 0], 'label_1': [0, 1], 'probs_0': [0.9, 0.8], 'probs_1': [0.1, 0.2]}).to_csv(
        tmp_path / 'x.csv', index=False
    )
    with pytest.raises(UserError, match="'label_0': one-hot labels are 'labels_0', 'labels_1'"):
        read_predictions(tmp_path / 'x.csv')
