"""A tiny network on random images, and the ways in which tests train it."""

import csv

import jax
import numpy as np

from failpred_jax import devices
from failpred_jax.config import default_config, read_config
from failpred_jax.data.feeding import Feed
from failpred_jax.data.prepare import make_prepare_fns
from failpred_jax.models.network import make_network
from failpred_jax.stages import make_stages, start_state
from failpred_jax.stopping import Stop
from failpred_jax.train import loop
from failpred_jax.train.checkpoints import Checkpoints
from failpred_jax.train.precompute import Budget, Program
from failpred_jax.train.step import make_chunk
from failpred_jax.types import DatasetInfo, Examples

INFO = DatasetInfo('things', 'classification', (6, 6, 1), ('a', 'b', 'c'))
ON_DEVICE, STREAMED = Budget(2**30, 2**30), Budget(0, 0)
NUM_TRAIN, BATCH_SIZE = 40, 16


class StopAfter(Stop):
    """A stop that is requested once the loop has looked for it so many times."""

    def __init__(self, num_looks):
        super().__init__()
        self.num_looks = num_looks

    def requested(self):
        self.num_looks -= 1
        return self.num_looks <= 0


class Tiny:
    """The baseline of a tiny MLP, with recipes: {name: its options} in order."""

    def __init__(self, recipes=None, dropout=False, **baseline):
        made = default_config()
        made.data.source = 'digits'
        made.model.update({'name': 'mlp', 'dropout': dropout, 'mlp': {'hidden_units': 8}})
        # A chunk is a step, so that a stop can fall anywhere.
        made.run.chunk_seconds = 1e-6
        made.baseline.update({'epochs': 3, 'batch_size': BATCH_SIZE, 'learning_rate': 0.1, **baseline})
        made.baseline.recipes = tuple(recipes or ())
        for name, options in (recipes or {}).items():
            made.baseline[name].update(options)
        self.config = read_config(made)
        self.network = make_network(self.config.model, INFO)
        self.stage = make_stages(self.config, NUM_TRAIN)[0]
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (NUM_TRAIN + 20, 6, 6, 1)).astype(np.uint8)
        labels = rng.integers(0, 3, NUM_TRAIN + 20).astype(np.int32)
        self.train = Examples(images[:NUM_TRAIN], labels[:NUM_TRAIN])
        self.val = Examples(images[NUM_TRAIN:], labels[NUM_TRAIN:])
        prepare = make_prepare_fns(self.config.data, INFO)
        self.program = Program(self.network.apply, self.network.precompute, *prepare, None, 8)

    @property
    def start(self):
        return start_state(self.stage, self.network, 0, None)

    def steps(self, count):
        """Return the state after so many steps."""
        return self.stepper(count)(self.start, 0, count)

    def stepper(self, most):
        """Return (state, step, steps to go, at most `most`) -> state, compiled once whatever the lengths are."""
        chunk_fn = make_chunk(self.stage, self.network.apply, self.program.prepare_train_fn, None)
        chunk = devices.map_over_devices(chunk_fn, shared=(3,))
        feed = Feed(self.train, BATCH_SIZE, 0, 2**20, max_steps=most)

        def run(state, step, count):
            found, _ = chunk(devices.replicate(state), *feed.chunk(step, count), np.int32(count))
            return devices.unreplicate(found)

        return run

    def run(self, folder, stop=None, budget=ON_DEVICE):
        """Train to the end, as a run does."""
        return loop.train_stage(
            self.stage, self.program, self.start, self.train, self.val, folder, self.config.run, budget, 0, stop
        )

    def checkpoints(self, folder):
        """Return (the last state as it goes on, as it is evaluated, the validations' figures)."""
        checkpoints = Checkpoints(folder / 'checkpoints')
        goes_on, _ = checkpoints.restore_latest(self.start, print)
        evaluated, _ = checkpoints.restore(int(goes_on.step), self.start)
        checkpoints.close()
        with (folder / 'metrics.csv').open() as file:
            rows = [{k: v for k, v in row.items() if k != 'seconds'} for row in csv.DictReader(file)]
        return goes_on, evaluated, rows


def leaves(state):
    return jax.tree.leaves(state.replace(key=jax.random.key_data(state.key)))


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
