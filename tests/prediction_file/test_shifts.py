"""Shifted parts of prediction files: found by their names, checked, measured."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import failpred_jax
from failpred_jax.errors import UserError
from failpred_jax.prediction_file import parse_arrays


@pytest.fixture
def arrays(rng):
    labels = rng.integers(0, 3, 40)
    return {
        'labels': labels,
        'logits': (2 * np.eye(3)[labels] + rng.normal(size=(40, 3))).astype(np.float32),
        'confidence_mine': rng.normal(size=40),
        'ood_far_away_logits': rng.normal(size=(25, 3)).astype(np.float32),
        'ood_far_away_confidence_mine': rng.normal(size=25),
        'shift_dark_labels': labels[:30],
        'shift_dark_logits': rng.normal(size=(30, 3)).astype(np.float32),
        'shift_dark_confidence_mine': rng.normal(size=30),
    }


def test_parts_are_found_by_name(arrays):
    parts = parse_arrays(arrays, 'here')
    assert set(parts) == {'evaluated', 'ood_far_away', 'shift_dark'}
    strangers = parts['ood_far_away']
    assert strangers.num_units == 25
    assert not strangers.correct.any()
    assert set(strangers.confidences) == {'mine'}
    assert parts['shift_dark'].correct is None


def test_columns_to_slice_by_keep_their_names(arrays):
    arrays = {name: value for name, value in arrays.items() if not name.startswith(('ood_', 'shift_'))}
    parts = parse_arrays({**arrays, 'shift_worker_id': np.arange(40), 'ood_flag': np.arange(40) % 2}, 'here')
    assert set(parts) == {'evaluated'}
    assert set(parts['evaluated'].slices) == {'shift_worker_id', 'ood_flag'}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'ood_far_away_labels': np.zeros(25, int)}, 'strangers are of no class'),
        ({'ood_far_away_logits': np.zeros((25, 4))}, 'the ood_far_away part has 4 classes, the evaluated 3'),
        ({'ood_far_away_confidence_mine': None}, "'ood_far_away_confidence_mine' is missing"),
        ({'ood_far_away_confidence_other': np.zeros(25)}, "the evaluated part has no 'confidence_other'"),
        ({'features': np.zeros((40, 2))}, "'ood_far_away_features' is missing"),
        ({'ood_logits': np.zeros((25, 3))}, "'ood_logits' says of no set; name it: 'ood_NAME_logits'"),
        ({'ood_far_away_logits': np.zeros((0, 3)), 'ood_far_away_confidence_mine': np.zeros(0)}, 'part is empty'),
        ({'ood_far_away_logits': np.zeros((24, 3))}, "'ood_far_away_confidence_mine' has shape (25,)"),
        ({'shift_dark_labels': None}, "'shift_dark_labels' is missing"),
        ({'shift_dark_labels': np.full(30, 7)}, 'shift_dark_labels'),
        ({'ood_far_away_confidence_mine': np.full(25, np.nan)}, 'is missing for 25 units'),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(arrays, change, message):
    arrays = {name: value for name, value in {**arrays, **change}.items() if value is not None}
    with pytest.raises(UserError) as error:
        parse_arrays(arrays, 'here')
    assert message in str(error.value)


def test_confidences_alone_are_enough(rng):
    correct, mine, far = rng.random(60) < 0.8, rng.normal(size=60), rng.normal(size=25) - 1
    table = failpred_jax.evaluate_predictions(
        correct=correct, confidences={'mine': mine}, shifts={'ood_far': {'confidence_mine': far}}, resamples=0
    )
    (found,) = table.evaluation.shifted.sets
    expected = roc_auc_score(np.arange(85) < 60, np.concatenate([mine, far]))
    assert found.name == 'far'
    assert found.scores['mine']['strangers'].metrics['auroc'] == pytest.approx(expected)
    assert 'far: strangers, of none of the classes; 25 units' in str(table)


def test_a_shift_of_another_name_is_refused(rng):
    with pytest.raises(UserError, match="shifts has 'far'; give"):
        failpred_jax.evaluate_predictions(correct=np.ones(3, bool), confidences={'a': np.ones(3)}, shifts={'far': {}})
