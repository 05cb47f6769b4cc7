"""BatchNorm's statistics of averaged weights are those of the training set, seen with these weights."""

import dataclasses

import jax
import numpy as np
from flax import linen
from train.tiny import BATCH_SIZE, INFO, ON_DEVICE, Tiny, equal

from failpred_jax import devices
from failpred_jax.data.feeding import Feed, stream
from failpred_jax.models.layers import EVAL, BatchNorm, Dense
from failpred_jax.models.network import Architecture, Network
from failpred_jax.train.refresh import make_refresh
from failpred_jax.train.step import make_outcome_step, merge_params
from failpred_jax.train.validate import collect_units


class Normalized(linen.Module):
    """A backbone of one dense layer and its BatchNorm."""

    dropout: bool = False

    def setup(self):
        self.dense, self.norm = Dense(4), BatchNorm()

    def prefix(self, x, mode=EVAL):
        return self.norm(self.dense(x.reshape(x.shape[0], -1)), mode)

    def suffix(self, x, mode=EVAL):
        return linen.relu(x)

    def __call__(self, x, mode=EVAL):
        return self.suffix(self.prefix(x, mode), mode)


class WithBatchNorm(Tiny):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.network = Network(Architecture(Normalized(), Dense(3), Dense(1)), INFO.image_shape)
        self.program = dataclasses.replace(
            self.program, apply_fn=self.network.apply, precompute_fn=self.network.precompute
        )


def test_they_are_the_mean_over_the_batches_of_an_epoch():
    tiny = WithBatchNorm()
    state = tiny.start
    # Chunks of two steps, the last of which is not full.
    feed = Feed(tiny.train, BATCH_SIZE, 0, 2**20, max_steps=2)
    refresh = make_refresh(tiny.stage, tiny.program.apply_fn, tiny.program.prepare_train_fn, feed)
    given = devices.replicate((merge_params(state.trained, state.frozen), state.batch_stats, state.key))
    found = devices.unreplicate(refresh(*given))['backbone']['norm']
    rows = stream(len(tiny.train.labels), 0, 0, 3 * BATCH_SIZE).reshape(3 * 8, -1)
    dense = jax.tree.map(np.asarray, state.trained['backbone']['dense'])
    images = tiny.train.images.reshape(len(tiny.train.labels), -1) / 255
    parts = [images[part] @ dense['kernel'] + dense['bias'] for part in rows]
    np.testing.assert_allclose(found['mean'], np.mean([part.mean(0) for part in parts], axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found['var'], np.mean([part.var(0, ddof=1) for part in parts], axis=0), rtol=1e-4)


def test_they_are_validated_and_saved_with_the_average(tmp_path):
    tiny = WithBatchNorm({'swa': {'start': 0.5}})
    tiny.run(tmp_path)
    goes_on, evaluated, rows = tiny.checkpoints(tmp_path)
    assert not equal(evaluated.batch_stats, goes_on.batch_stats)
    feed = Feed(tiny.train, BATCH_SIZE, 0, ON_DEVICE.device, 3)
    refresh = make_refresh(tiny.stage, tiny.program.apply_fn, tiny.program.prepare_train_fn, feed)
    params = devices.replicate(merge_params(goes_on.recipe_states['swa']['mean'], goes_on.frozen))
    batch_stats = refresh(params, devices.replicate(goes_on.batch_stats), devices.replicate(goes_on.key))
    assert equal(evaluated.batch_stats, devices.unreplicate(batch_stats))
    outcomes = devices.map_over_devices(make_outcome_step(tiny.program.apply_fn, tiny.program.prepare_eval_fn, None))
    units = collect_units(outcomes, params, batch_stats, tiny.val, 8)
    assert float(rows[-1]['val_accuracy']) == np.mean(units.correct)
    # Before the average begins, the trained weights are validated with the statistics of their training.
    assert jax.tree.structure(evaluated.evaluated) == jax.tree.structure(tiny.start.evaluated)
