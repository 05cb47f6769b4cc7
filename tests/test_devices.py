"""A function written for one device, on eight: rows come back in the order of the global batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from failpred_jax import devices


def on_all(fn, *args):
    return devices.gather(devices.map_over_devices(fn)(*devices.shard(args)))


@pytest.mark.parametrize('rows', [8, 24])
def test_next_in_batch_turns_the_global_batch_by_one(rows, rng):
    x = rng.normal(size=(rows, 2)).astype(np.float32)
    assert np.array_equal(on_all(devices.next_in_batch, x), np.roll(x, -1, axis=0))
    weights = rng.normal(size=(rows, 2)).astype(np.float32)
    gradient = on_all(jax.grad(lambda x, w: jnp.sum(devices.next_in_batch(x) * w)), x, weights)
    assert np.array_equal(gradient, np.roll(weights, 1, axis=0))


def test_gather_all_gives_every_device_the_global_batch(rng):
    x = rng.normal(size=16).astype(np.float32)
    assert np.array_equal(on_all(devices.gather_all, x).reshape(8, 16), np.tile(x, (8, 1)))


def test_a_program_is_made_once_for_arguments_of_the_same_shapes():
    traced = []

    def fn(x, shared):
        traced.append(x.shape)
        return x * shared

    mapped = devices.map_over_devices(fn, shared=(1,))
    for rows in (8, 16, 8, 8):
        found = devices.gather(mapped(devices.shard(np.ones(rows, np.float32)), np.float32(rows)))
        assert found.tolist() == [rows] * rows
    assert traced == [(1,), (2,)]
