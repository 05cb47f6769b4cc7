"""What is frozen is computed once, and nobody can tell from the results."""

import csv

import jax
import numpy as np
import pytest

from failpred_jax.config import default_config, read_config
from failpred_jax.data.prepare import make_prepare_fns
from failpred_jax.models.network import make_network
from failpred_jax.stages import make_stages, start_state
from failpred_jax.stopping import Stop, Stopped
from failpred_jax.train import loop
from failpred_jax.train.checkpoints import Checkpoints
from failpred_jax.train.precompute import Budget, Program, precompute
from failpred_jax.types import Cached, DatasetInfo, Examples

INFO = DatasetInfo('things', 'classification', (10, 10, 1), ('a', 'b', 'c'))
NOTHING, DEVICE, HOST = Budget(0, 0), Budget(2**30, 2**30), Budget(0, 2**30)


class Run:
    """A tiny network on random images, and a way to train its stages within a budget."""

    def __init__(self, model='mlp', flip=False, **confidence):
        made = default_config()
        made.data.source = 'digits'
        made.data.augment.flip = flip
        made.model.update({'name': model, 'mlp': {'hidden_units': 8}, 'head_units': (6, 6)})
        for section in (made.baseline, made.confidence, made.finetune):
            section.update({'epochs': 2, 'batch_size': 16, 'learning_rate': 0.01})
        made.confidence.update(confidence)
        self.config = read_config(made)
        self.network = make_network(self.config.model, INFO)
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (60, 10, 10, 1)).astype(np.uint8)
        labels = rng.integers(0, 3, 60).astype(np.int32)
        self.train, self.val = Examples(images[:40], labels[:40]), Examples(images[40:], labels[40:])
        prepare = make_prepare_fns(self.config.data, INFO)
        self.program = Program(self.network.apply, self.network.precompute, *prepare, None, 8)
        self.stages = {stage.name: stage for stage in make_stages(self.config, 40)}

    def start(self, name):
        before = self.stages[name].starts_from
        return start_state(self.stages[name], self.network, 0, self.start(before) if before else None)

    def cached(self, name, budget, train=None):
        return precompute(self.stages[name], self.program, self.start(name), train or self.train, self.val, budget)

    def trained(self, name, budget, folder, **how):
        """Return the last state's arrays and the validations' figures."""
        start = self.start(name)
        loop.train_stage(
            self.stages[name], self.program, start, self.train, self.val, folder, self.config.run, budget, 0, **how
        )
        return self.outcome(name, folder)

    def outcome(self, name, folder):
        checkpoints = Checkpoints(folder / 'checkpoints')
        state, _ = checkpoints.restore(self.stages[name].num_steps, self.start(name))
        checkpoints.close()
        with (folder / 'metrics.csv').open() as file:
            rows = [{k: v for k, v in row.items() if k.startswith('val_')} for row in csv.DictReader(file)]
        return jax.tree.leaves((state.trained, state.frozen, state.opt_state)), rows


@pytest.fixture(scope='module')
def run():
    return Run()


def fields(cached):
    return {name for name, value in cached._asdict().items() if value is not None}


@pytest.mark.parametrize(
    ('model', 'name', 'confidence'),
    [
        ('small_convnet_mnist', 'confidence', {}),
        ('mlp', 'confidence', {'backbone_dropout': False}),
        ('small_convnet_mnist', 'finetune', {}),
    ],
)
def test_the_results_are_the_same(model, name, confidence, tmp_path):
    run = Run(model, **confidence)
    arrays, rows = run.trained(name, NOTHING, tmp_path / 'nothing')
    assert len(rows) == 3
    for place, budget in (('device', DEVICE), ('host', HOST)):
        other_arrays, other_rows = run.trained(name, budget, tmp_path / place)
        if model == 'mlp':
            assert all(np.array_equal(a, b) for a, b in zip(arrays, other_arrays, strict=True))
            assert rows == other_rows
            continue
        # On some processors (an AMD EPYC) a row of a small product is rounded by how many rows there are.
        for a, b in zip(arrays, other_arrays, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        for a, b in zip(rows, other_rows, strict=True):
            assert a.keys() == b.keys()
            assert all(a[key] == b[key] or float(a[key]) == pytest.approx(float(b[key]), rel=1e-3) for key in a)


def test_stopped_and_resumed_without_room_it_ends_the_same(run, tmp_path):
    whole, _ = run.trained('confidence', DEVICE, tmp_path / 'whole')
    stop = Stop()
    stop.request()
    with pytest.raises(Stopped):
        run.trained('confidence', DEVICE, tmp_path / 'parts', stop=stop)
    parts, _ = run.trained('confidence', NOTHING, tmp_path / 'parts')
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_only_what_is_the_same_in_every_step_is_kept(run, capsys):
    train, val = run.cached('confidence', DEVICE)
    assert (fields(train.cached), fields(val.cached)) == ({'hidden'}, {'features', 'logits'})
    assert train.images is None and val.images is None
    said = capsys.readouterr().out
    assert 'confidence: computes the frozen activations before the first dropout of 40 training images once' in said
    train, val = run.cached('finetune', DEVICE)
    assert (fields(train.cached), fields(val.cached)) == ({'logits'}, {'logits'})
    assert train.images is not None and val.images is not None
    assert run.cached('baseline', DEVICE) == (run.train, run.val)
    undisturbed, _ = Run(backbone_dropout=False).cached('confidence', DEVICE)
    assert fields(undisturbed.cached) == {'features', 'logits'}
    capsys.readouterr()
    flipped, val = Run(flip=True).cached('confidence', DEVICE)
    assert '40 training images anew in every pass (the images change at random)' in capsys.readouterr().out
    assert (fields(flipped.cached), fields(val.cached)) == (set(), {'features', 'logits'})


def test_beyond_the_budget_it_is_computed_anew_and_said(run, capsys):
    train, val = run.cached('confidence', NOTHING)
    assert train is run.train and val is run.val
    assert 'anew in every pass' in capsys.readouterr().out


def test_what_is_known_already_stays(run):
    given = np.arange(120, dtype=np.float32).reshape(40, 3)
    train, _ = run.cached('finetune', DEVICE, run.train._replace(cached=Cached(logits=given)))
    assert train.cached.logits is given
