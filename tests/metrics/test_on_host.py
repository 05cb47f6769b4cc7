"""What is measured some units at a time is what the metrics' own functions give."""

import numpy as np
import pytest
from scipy.special import softmax

from failpred_jax import blocks
from failpred_jax.metrics import measure_classifier
from failpred_jax.metrics.classifier import classifier_metrics


@pytest.mark.parametrize('num_classes', [2, 10, 40])
def test_blocks_of_units_give_the_metrics_of_all(num_classes, monkeypatch):
    rng = np.random.default_rng(num_classes)
    labels = rng.integers(0, num_classes, 501)
    logits = (4 * rng.normal(size=(501, num_classes))).astype(np.float32)
    logits[np.arange(501), labels] += 3
    logits[3] = [200] + [0] * (num_classes - 1)
    whole = measure_classifier(logits, labels, 'classification').metrics
    wanted = classifier_metrics(softmax(logits.astype(np.float64), axis=1).astype(np.float32), labels)
    shared = wanted.keys() & whole.keys()
    assert {'multiclass_brier', 'classwise_ece'} <= shared
    for name in shared - {'multiclass_nll'}:
        assert whole[name] == pytest.approx(wanted[name], rel=1e-5, abs=1e-7), name
    nll = -np.log(softmax(logits.astype(np.float64), axis=1)[np.arange(501), labels])
    assert whole['multiclass_nll'] == pytest.approx(nll.mean(), rel=1e-6)
    monkeypatch.setattr(blocks, 'BLOCK_VALUES', 60 * num_classes)
    in_blocks = measure_classifier(logits, labels, 'classification').metrics
    # A softmax of few rows may end in other bits than that of many.
    for name, value in whole.items():
        assert in_blocks[name] == pytest.approx(value, rel=1e-6), name


def test_blocks_reach_back_so_that_all_have_one_size(monkeypatch):
    monkeypatch.setattr(blocks, 'BLOCK_VALUES', 12)
    rows = np.arange(100).reshape(50, 2)
    taken = list(blocks.blocks_of(rows))
    assert {place.stop - place.start for place, _ in taken} == {6}
    assert [new for _, new in taken] == list(range(0, 50, 6))
    found = blocks.in_blocks(lambda given, factor: given.sum(axis=1) * factor, rows, 3)
    np.testing.assert_array_equal(found, rows.sum(axis=1) * 3)
    assert blocks.in_blocks(lambda given: given.sum(axis=1), rows[:0]).shape == (0,)
