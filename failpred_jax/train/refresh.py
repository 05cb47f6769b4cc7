"""BatchNorm's running statistics of weights that were never trained themselves, such as an average of others.

Reference: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018, algorithm 1,
last line; PyTorch's `torch.optim.swa_utils.update_bn`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax import devices
from failpred_jax.data.feeding import Feed
from failpred_jax.models.layers import BATCH_NORM_MOMENTUM
from failpred_jax.train.stage import Stage
from failpred_jax.train.step import ApplyFn, PrepareFn, take_batch
from failpred_jax.types import Array, Examples, PyTree

# Folded into the stage's key for the pass's augmentation and dropout, which are the same in every pass.
_REFRESH = 2**31 - 3


def make_refresh(
    stage: Stage, apply_fn: ApplyFn, prepare_fn: PrepareFn, feed: Feed
) -> Callable[[PyTree, PyTree, Array], PyTree]:
    """Return `refresh(params, batch_stats, key) -> batch_stats`, the statistics of `params` over the training set.

    They are the mean of the statistics of each batch of one epoch (the variance unbiased), always of the same batches,
    under the augmentation and the dropout of training. Arguments and result are replicated, and on several devices each
    normalizes its own examples, as in training.
    """
    sum_chunk = devices.map_over_devices(_make_sum_chunk(stage, apply_fn, prepare_fn), donate=(0,), shared=(6, 7))

    def refresh(params: PyTree, batch_stats: PyTree, key: Array) -> PyTree:
        sums = jax.tree.map(lambda x: x * 0, batch_stats)
        step = 0
        while step < stage.steps_per_epoch:
            num_steps = min(feed.chunk_steps, stage.steps_per_epoch - step)
            chunk = feed.chunk(step, num_steps)
            sums = sum_chunk(sums, params, batch_stats, key, *chunk, np.int32(step), np.int32(num_steps))
            step += num_steps
        return {
            tree: jax.tree.map(lambda x: x / stage.steps_per_epoch, sums[tree]) if tree in stage.batch_norm_in else own
            for tree, own in batch_stats.items()
        }

    return refresh


def _make_sum_chunk(stage: Stage, apply_fn: ApplyFn, prepare_fn: PrepareFn) -> Callable[..., PyTree]:
    """Return a function for one device that adds the statistics of some steps' batches to `sums`."""

    def sum_chunk(
        sums: PyTree,
        params: PyTree,
        batch_stats: PyTree,
        key: Array,
        examples: Examples,
        order: Array,
        first_step: Array,
        num_steps: Array,
    ) -> PyTree:
        zeros = jax.tree.map(jnp.zeros_like, batch_stats)
        key = jax.random.fold_in(key, _REFRESH)

        def add(i: Array, sums: PyTree) -> PyTree:
            step_key = jax.random.fold_in(key, first_step + i)
            batch = take_batch(examples, order[i], step_key, prepare_fn)
            _, moved = apply_fn(
                params,
                # From 0, the running statistics move by a known part of the way to the batch's.
                zeros,
                batch.image,
                cached=batch.cached,
                dropout_key=jax.random.fold_in(step_key, devices.device_index()),
                dropout_in=stage.dropout_in,
                batch_norm_in=stage.batch_norm_in,
            )
            share = (1 - BATCH_NORM_MOMENTUM) * devices.num_devices()
            return jax.tree.map(lambda total, x: total + x / share, sums, devices.psum_all(moved))

        # Its bounds are not known when it is compiled, which makes it a while loop that serves every length.
        return jax.lax.fori_loop(0, num_steps, add, sums)

    return sum_chunk
