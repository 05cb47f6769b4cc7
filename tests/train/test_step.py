"""The step: what is frozen stays frozen, devices do not matter, chunks do not matter, and a bad loss stops it."""

import dataclasses

import jax
import numpy as np
import pytest

from failpred_jax import devices
from failpred_jax.config import default_config, read_config
from failpred_jax.data.feeding import Feed
from failpred_jax.data.prepare import make_prepare_fns
from failpred_jax.models.network import make_network
from failpred_jax.stages import make_stages, start_state
from failpred_jax.train.step import make_chunk, merge_params, split_params
from failpred_jax.types import DatasetInfo, Examples

INFO = DatasetInfo('things', 'classification', (10, 10, 1), ('a', 'b', 'c'))


def config(**model):
    made = default_config()
    made.data.source = 'digits'
    made.data.augment.flip = True
    made.model.update({'mlp': {'hidden_units': 8}, 'head_units': (6, 6), **model})
    for stage in (made.baseline, made.confidence, made.finetune):
        stage.update({'epochs': 2, 'batch_size': 16, 'learning_rate': 0.01})
    return read_config(made)


class Run:
    """The stages of a tiny network on random images, and a way to take steps of one."""

    def __init__(self, **model):
        self.config = config(**model)
        self.network = make_network(self.config.model, INFO)
        self.stages = {stage.name: stage for stage in make_stages(self.config, 40)}
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (40, 10, 10, 1)).astype(np.uint8)
        self.examples = Examples(images, rng.integers(0, 3, 40).astype(np.int32))
        self.prepare, _ = make_prepare_fns(self.config.data, INFO)

    def start(self, name, previous=None):
        return start_state(self.stages[name], self.network, 0, previous)

    def steps(self, name, state, counts, stage=None):
        stage = stage or self.stages[name]
        chunk = devices.map_over_devices(make_chunk(stage, self.network.apply, self.prepare, None), shared=(3,))
        feed = Feed(self.examples, stage.batch_size, 0, 2**20, max_steps=8)
        state = devices.replicate(state)
        for count in counts:
            step = int(devices.unreplicate(state).step)
            state, sums = chunk(state, *feed.chunk(step, count), np.int32(count))
        return devices.unreplicate(state), devices.unreplicate(sums)


def leaves(state):
    return jax.tree.leaves(state.replace(key=jax.random.key_data(state.key)))


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.fixture(scope='module')
def run():
    return Run(name='mlp')


def test_chunks_of_any_length_give_the_same_bits(run):
    start = run.start('baseline')
    whole, _ = run.steps('baseline', start, [6])
    parts, _ = run.steps('baseline', start, [1, 3, 2])
    assert all(np.array_equal(x, y) for x, y in zip(leaves(whole), leaves(parts), strict=True))
    assert int(whole.step) == 6


@pytest.mark.parametrize('name', ['confidence', 'finetune'])
def test_what_is_frozen_is_the_same_to_the_last_bit(run, name):
    baseline = run.start('baseline')
    previous = baseline if name == 'confidence' else run.start('confidence', baseline)
    start = run.start(name, previous)
    end, _ = run.steps(name, start, [5])
    assert equal(end.frozen, start.frozen)
    assert equal(end.batch_stats, start.batch_stats)
    assert not equal(end.trained, start.trained)
    assert set(end.frozen) == {'backbone', 'classifier'}
    # No optimizer state for what does not train.
    sizes = {leaf.shape for leaf in jax.tree.leaves(end.opt_state)}
    assert sizes <= {leaf.shape for leaf in jax.tree.leaves(end.trained)} | {()}


def test_finetuning_starts_from_a_copy_of_the_backbone(run):
    start = run.start('finetune', run.start('confidence', run.start('baseline')))
    assert equal(start.trained['encoder'], start.frozen['backbone'])


def test_a_loss_that_is_not_finite_stops_the_loop_at_its_step(run):
    stage = run.stages['baseline']

    def loss(outputs, labels, mask):
        return stage.loss_fn(outputs, labels, mask) * np.float32(np.inf)

    bad = dataclasses.replace(stage, loss_fn=loss)
    state, sums = run.steps('baseline', run.start('baseline'), [4], stage=bad)
    assert int(sums.bad_step) == 0
    assert int(state.step) == 1


def test_sums_count_every_unit(run):
    _, sums = run.steps('baseline', run.start('baseline'), [3])
    assert int(sums.num_units) == 48
    assert 0 <= int(sums.correct_count) <= 48
    assert np.isfinite(sums.loss_sum)


def test_split_and_merge_undo_one_another(run):
    params, _ = run.network.init(jax.random.key(0))
    trained, frozen = split_params(params, lambda path: path[-1] == 'bias')
    assert all('kernel' not in jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(trained))
    assert equal(merge_params(trained, frozen), params)
