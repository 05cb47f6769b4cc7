"""Frames and series of pandas: names of columns are names of classes, and indexes say which rows are which units."""

import numpy as np
import pandas as pd
import pytest

from failpred_jax.errors import UserError
from failpred_jax.prediction_file.file import parse_arrays

RNG = np.random.default_rng(0)
N, NAMES = 60, ['a', 'b', 'c', 'd']
PROBS = RNG.dirichlet(np.ones(4), size=N)
LABELS = np.array([RNG.choice(4, p=row) for row in PROBS])
WORDS = np.array(NAMES)[LABELS]
ORDERS = [[0, 1, 2, 3], [2, 0, 1, 3], [3, 2, 1, 0]]


def right(**arrays):
    """Return which units of the evaluated part are right, after the arrays were read, and the part."""
    units = parse_arrays(arrays, 'the arguments')['evaluated']
    return units.logits.argmax(axis=1) == units.labels, units


@pytest.mark.parametrize('name', ['probs', 'logits', 'log_probs'])
@pytest.mark.parametrize('order', ORDERS)
@pytest.mark.parametrize('prefix', ['', 'probs_'])
def test_columns_are_the_classes_that_they_name_in_any_order(order, name, prefix):
    values = PROBS if name == 'probs' else np.log(PROBS) + (3 if name == 'logits' else 0)
    expected, _ = right(labels=LABELS, **{name: values})
    frame = pd.DataFrame(values[:, order], columns=[prefix + NAMES[i] for i in order])
    hot = pd.DataFrame(np.eye(4, dtype=int)[LABELS], columns=NAMES)
    for given in ({}, {'class_names': NAMES}, {'class_names': pd.Series(NAMES)}):
        for labels in (WORDS, hot):
            found, units = right(labels=labels, **{name: frame}, **given)
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(np.array(units.class_names)[units.labels], WORDS)


@pytest.mark.parametrize('order', ORDERS)
def test_numbers_of_columns_are_numbers_of_classes(order):
    expected, _ = right(labels=LABELS, probs=PROBS)
    for columns in (order, [str(i) for i in order], [f'probs_{i}' for i in order], np.array(order, float)):
        frame = pd.DataFrame(PROBS[:, order], columns=columns)
        np.testing.assert_array_equal(right(labels=LABELS, probs=frame)[0], expected)
        np.testing.assert_array_equal(right(labels=WORDS, probs=frame, class_names=NAMES)[0], expected)


@pytest.mark.parametrize('order', ORDERS)
def test_numbers_that_do_not_run_from_0_are_names_of_classes(order):
    numbers = np.array([3, 1, 8, 9])
    frame = pd.DataFrame(PROBS[:, order], columns=numbers[order])
    found, units = right(labels=numbers[LABELS], probs=frame)
    np.testing.assert_array_equal(found, right(labels=LABELS, probs=PROBS)[0])
    assert set(units.class_names) == {'3', '1', '8', '9'}


def test_truth_values_name_the_two_classes():
    truth = LABELS > 1
    two = np.stack([PROBS[:, :2].sum(1), PROBS[:, 2:].sum(1)], axis=1)
    frame = pd.DataFrame(two[:, ::-1], columns=[True, False])
    np.testing.assert_array_equal(right(labels=truth, probs=frame)[0], right(labels=truth, probs=two)[0])


def test_parts_have_the_order_of_the_evaluated_one():
    order = ORDERS[1]
    frame, val = pd.DataFrame(PROBS, columns=NAMES), pd.DataFrame(PROBS[:, order], columns=np.array(NAMES)[order])
    features = pd.DataFrame(PROBS, columns=list('wxyz'))
    found = parse_arrays(
        {'val_probs': val, 'val_labels': WORDS, 'probs': frame, 'labels': WORDS, 'features': features,
         'val_features': features[list('zxyw')]},
        'the arguments',
    )  # fmt: skip
    for name in ('logits', 'labels', 'probs', 'features'):
        first, second = (getattr(found[part], name) for part in ('evaluated', 'validation'))
        np.testing.assert_allclose(first, second, rtol=1e-6)


@pytest.mark.parametrize(
    'columns, given', [(list('abce'), NAMES), (list('aabc'), NAMES), (list('abca'), None), ([1, 2, 3, 4], NAMES)]
)
def test_names_that_contradict_the_classes_are_refused(columns, given):
    arrays = {'labels': LABELS, 'probs': pd.DataFrame(PROBS, columns=columns)}
    with pytest.raises(UserError, match=r"the columns of 'probs' are named .*to_numpy\(\)"):
        parse_arrays(arrays if given is None else {**arrays, 'class_names': given}, 'the arguments')


def test_series_of_other_indexes_are_refused_and_of_the_same_taken():
    order = RNG.permutation(N)
    labels, score = pd.Series(LABELS), pd.Series(PROBS.max(axis=1))
    for other in (score[order], score.set_axis(order)):
        row = int(np.flatnonzero(other.index != labels.index)[0]) + 1
        told = rf"'confidence_mine' and 'labels' have different indexes: row {row} is .*reset_index"
        with pytest.raises(UserError, match=told):
            parse_arrays({'labels': labels, 'probs': PROBS, 'confidence_mine': other}, 'the arguments')
    expected, _ = right(labels=LABELS, probs=PROBS)
    for index in (order, pd.Index([f'u{i}' for i in order])):
        frame = pd.DataFrame(PROBS, index=index)
        found, units = right(labels=labels.set_axis(index), probs=frame, confidence_mine=score.set_axis(index))
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(units.confidences['mine'], score)
    # Rows without an index are taken as they come, and parts have indexes of their own.
    parse_arrays(
        {'labels': labels.set_axis(order), 'probs': PROBS, 'val_labels': labels, 'val_probs': PROBS}, 'the arguments'
    )
