"""Label issues: planted ones come first, and predictions that have seen the labels are refused."""

import numpy as np
import pytest

from failpred_jax.errors import UserError
from failpred_jax.label.issues import check_held_out, find_issues


def probs_of(labels, rng, num_classes=4):
    logits = rng.standard_normal((len(labels), num_classes))
    logits[np.arange(len(labels)), labels] += 4
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_planted_label_errors_are_first(rng):
    true = rng.integers(0, 4, 1000)
    given = true.copy()
    given[:40] = (true[:40] + 1) % 4
    found = find_issues(probs_of(true, rng), given)
    assert np.isin(found.rows[:30], np.arange(40)).mean() >= 0.95
    first = found.rows[:30][found.rows[:30] < 40]
    assert (found.suggested[: len(first)] == true[first]).mean() > 0.9
    count = int(found.is_candidate.sum())
    assert found.is_candidate[:count].all() and not found.is_candidate[count:].any()
    assert (np.diff(found.margin[:count]) <= 0).all()
    assert found.joint.sum() <= 1000 and np.trace(found.joint) > 500


def test_a_confident_joint_as_in_the_paper():
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.3, 0.7], [0.2, 0.8]])
    found = find_issues(probs, np.array([0, 0, 0, 1, 1]))
    # Thresholds: means of 0.9, 0.8, 0.05 and of 0.7, 0.8.
    np.testing.assert_allclose(found.thresholds, [1.75 / 3, 0.75])
    assert found.joint.tolist() == [[2, 1], [0, 1]]
    assert (found.rows.tolist(), found.suggested.tolist(), found.is_candidate.tolist()) == ([2], [1], [True])
    assert found.margin[0] == pytest.approx(0.9)


def test_classes_without_labels_or_probability_are_no_errors(rng):
    """cleanlab 288 and 639: a class that no label has, and one that the model never predicts."""
    probs = np.array([[0.1, 0.7, 0.2], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.8, 0.1, 0.1]])
    found = find_issues(probs, np.array([0, 0, 1, 1]))
    assert found.suggested.tolist() == [1, 0, 1, 0] or set(found.suggested) <= {0, 1}
    assert '1 of 3 classes are no label' in found.notes[0] and np.isnan(found.thresholds[2])
    never = np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0.2, 0.8, 0], [1.0, 0, 0]])
    found = find_issues(never, np.array([0, 0, 1, 2]))
    # A threshold of 0 would make every unit confidently of class 2.
    assert found.rows.tolist() == [3] and found.joint[:, 2].sum() == 0


def test_in_sample_predictions_are_refused_or_doubted():
    with pytest.raises(UserError, match="all 500 predictions agree.*config.confidence.targets='crossfit'"):
        check_held_out(1.0, 500, 0.9, 500)
    assert 'right for 99.0% of the units, those of held-out units for 92.0%' in check_held_out(0.99, 5000, 0.92, 5000)
    assert check_held_out(0.93, 5000, 0.92, 5000) == check_held_out(1.0, 20, 0.5, 20) == ''
    assert check_held_out(0.99, 5000, np.nan, 0) == ''
