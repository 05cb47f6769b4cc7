"""Held-out targets: nobody predicts what it has seen."""

import re

import jax
import numpy as np
import pytest

from failpred_jax.config import default_config, read_config
from failpred_jax.errors import UserError
from failpred_jax.files import read_npz
from failpred_jax.stages.crossfit import check_can_crossfit, draw_folds, held_out_logits
from failpred_jax.stages.targets import describe_targets, outcomes_of
from failpred_jax.train.precompute import Program
from failpred_jax.train.step import init_state
from failpred_jax.types import Cached, DatasetInfo, Examples


@pytest.mark.parametrize(('count', 'folds'), [(10, 2), (23, 5), (3, 3)])
def test_folds_share_the_examples_evenly_and_follow_the_seed(count, folds):
    fold = draw_folds(count, folds, seed=1)
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.sum() == count
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(fold, draw_folds(count, folds, seed=1))
    assert count < 10 or not np.array_equal(fold, draw_folds(count, folds, seed=2))


class Memory:
    """A classifier that recognizes what it was trained on: its logits say of each image whether it has seen it."""

    def __init__(self, count):
        made = default_config()
        made.data.source = 'digits'
        made.confidence.folds = 3
        made.evaluate.batch_size = 8
        self.config = read_config(made)
        images = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
        self.train = Examples(images, (np.arange(count) % 2).astype(np.int32))
        self.program = Program(None, self.precompute, None, lambda keys, images, labels: (images, labels), None, 8)
        self.trained = []

    def precompute(self, params, batch_stats, images, names):
        assert names == {'logits'}
        seen = jax.numpy.asarray(params['backbone']['seen'])[images[:, 0, 0, 0].astype(int)]
        return Cached(logits=jax.numpy.stack([seen, images[:, 0, 0, 0].astype('float32')], axis=1))

    def train_fn(self, stage, folder, examples):
        self.trained.append((folder.name, stage.num_steps))
        seen = np.zeros(256, np.float32)
        seen[examples.images.reshape(-1)] = 1
        return init_state(stage, {'backbone': {'seen': seen}}, {}, jax.random.key(0))

    def logits(self, folder):
        return held_out_logits(self.config, self.program, self.train, folder, self.train_fn)


def test_every_target_comes_from_a_classifier_that_has_not_seen_the_example(tmp_path):
    memory = Memory(40)
    folder = tmp_path / 'crossfit'
    logits = memory.logits(folder)
    assert logits.shape == (40, 2)
    assert np.array_equal(logits[:, 0], np.zeros(40))
    # And each example has its own.
    assert np.array_equal(logits[:, 1], np.arange(40))
    assert [name for name, _ in memory.trained] == ['fold_0', 'fold_1', 'fold_2']
    assert all(steps == 1 for _, steps in memory.trained)
    assert np.array_equal(read_npz(folder / 'logits.npz')['fold'], draw_folds(40, 3, memory.config.seed))
    # What is finished is read, not done again.
    assert np.array_equal(memory.logits(folder), logits)
    assert len(memory.trained) == 3


def test_targets_are_described_from_the_held_out_logits():
    logits = np.log(np.array([[0.9, 0.1], [0.3, 0.7], [0.8, 0.2]], np.float32))
    outcomes = outcomes_of(logits, np.array([0, 1, 1], np.int32))
    np.testing.assert_allclose(outcomes.tcp, [0.9, 0.7, 0.2], rtol=1e-6)
    np.testing.assert_allclose(outcomes.confidence, [0.9, 0.7, 0.8], rtol=1e-6)
    assert list(outcomes.correct) == [True, True, False]
    found = describe_targets([outcomes], 'crossfit')
    assert (found['source'], found['num_units'], found['num_errors']) == ('crossfit', 3, 1)
    assert 'each predicted by a classifier that has not seen it' in found['warnings'][0]


def test_segmentation_is_refused_in_words():
    info = DatasetInfo('roads', 'segmentation', (32, 32, 3), ('a', 'b'))
    with pytest.raises(UserError, match=re.escape("config.confidence.targets is 'crossfit', but 'roads' is for segm")):
        check_can_crossfit(info)
