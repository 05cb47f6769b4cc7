"""The order of examples: nothing dropped, nothing twice, the same on any number of devices."""

import jax
import numpy as np
import pytest

from failpred_jax.data import feeding
from failpred_jax.data.feeding import Feed, batches_in_order, stream
from failpred_jax.types import Examples


def examples(count):
    images = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
    return Examples(images, np.arange(count, dtype=np.int32))


@pytest.mark.parametrize(('start', 'stop'), [(0, 7), (5, 40), (13, 14), (26, 39)])
def test_stream_is_a_window_of_one_endless_sequence(start, stop):
    assert np.array_equal(stream(13, 3, start, stop), stream(13, 3, 0, 60)[start:stop])


def test_every_epoch_is_a_permutation_and_none_is_like_another():
    epochs = stream(13, 3, 0, 52).reshape(4, 13)
    assert all(sorted(epoch) == list(range(13)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert not np.array_equal(stream(13, 4, 0, 13), epochs[0])


@pytest.mark.parametrize('budget', [2**20, 0], ids=['resident', 'streamed'])
@pytest.mark.parametrize(('step', 'num_steps'), [(0, 1), (3, 4)])
def test_a_chunk_holds_the_steps_of_the_stream_in_order(budget, step, num_steps, monkeypatch):
    monkeypatch.setattr(feeding, 'STREAMED_CHUNK_BYTES', 16 * 5 * 5)
    feed = Feed(examples(100), batch_size=16, seed=1, budget_bytes=budget, max_steps=5)
    assert feed.is_resident == bool(budget)
    sent, order = jax.tree.map(np.asarray, feed.chunk(step, num_steps))
    images, labels = sent.images, sent.labels
    assert order.shape == (8, 5, 2)
    expected = stream(100, 1, step * 16, (step + num_steps) * 16).reshape(num_steps, 16)
    for i in range(num_steps):
        seen = [labels[device, order[device, i]] for device in range(8)]
        assert np.array_equal(np.concatenate(seen), expected[i])
        seen = [images[device, order[device, i]] for device in range(8)]
        assert np.array_equal(np.concatenate(seen).reshape(-1), expected[i])


@pytest.mark.parametrize('count', [1, 15, 16, 17, 32])
def test_evaluation_sees_every_example_once_in_order(count):
    seen, real_counts = [], []
    for batch, real in batches_in_order(examples(count), 16):
        labels, mask = np.asarray(batch.label), np.asarray(batch.mask)
        assert labels.shape == (8, 2)
        assert mask.sum() == real
        seen.append(labels.reshape(-1)[mask.reshape(-1)])
        real_counts.append(real)
    assert np.array_equal(np.concatenate(seen), np.arange(count))
    assert sum(real_counts) == count
