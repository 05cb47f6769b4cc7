"""How examples reach the devices: in which order, from where, and padded to full batches where order is theirs.

Training reads one endless stream: a permutation of the training set an epoch, each seeded by (seed, epoch), laid
end to end. Step s takes examples [s B, (s + 1) B) of the stream. So no batch is ever partial, no example is ever
dropped, and the global step alone says where in the data a run is, on any number of devices.
"""

import functools
from collections.abc import Iterator

import jax
import numpy as np

from failpred_jax import devices
from failpred_jax.types import Batch, Examples

# A streamed chunk is held twice (one training, one being prepared); this bounds each.
STREAMED_CHUNK_BYTES = 128 * 2**20
# Beyond this many steps a longer chunk saves nothing, and the array of its order would only grow.
MAX_CHUNK_STEPS = 4096


@functools.lru_cache(maxsize=2)
def epoch_order(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of an epoch: [num_examples] int32, a permutation fixed by its arguments."""
    return np.random.default_rng((seed, epoch)).permutation(num_examples).astype(np.int32)


def stream(num_examples: int, seed: int, start: int, stop: int) -> np.ndarray:
    """Return the examples at places [start, stop) of the endless stream: [stop - start] int32."""
    parts = []
    while start < stop:
        epoch, offset = divmod(start, num_examples)
        end = min(num_examples, offset + stop - start)
        parts.append(epoch_order(num_examples, seed, epoch)[offset:end])
        start += end - offset
    return np.concatenate(parts)


class Feed:
    """Training examples for the chunks of a stage, wherever they live.

    A set within the budget is copied to every device once, as uint8, and a chunk is only the order of its rows. A
    larger one is streamed: the rows of a chunk are gathered on the host and sent along.
    """

    def __init__(self, examples: Examples, batch_size: int, seed: int, budget_bytes: int, max_steps: int):
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        bytes_per_step = batch_size * (examples.images[0].nbytes + examples.labels[0].nbytes)
        self.is_resident = examples.images.nbytes + examples.labels.nbytes <= budget_bytes
        limit = MAX_CHUNK_STEPS if self.is_resident else max(1, STREAMED_CHUNK_BYTES // bytes_per_step)
        # Counts of units are int32 on the devices.
        units_per_step = batch_size * int(np.prod(examples.labels.shape[1:], dtype=np.int64))
        self.chunk_steps = int(max(1, min(limit, max_steps, (2**31 - 1) // units_per_step)))
        self._resident = devices.replicate(tuple(examples)) if self.is_resident else None

    def chunk(self, step: int, num_steps: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return (images, labels, order) for steps [step, step + num_steps), as train/step.py's chunk takes them.

        `order` is padded to `chunk_steps` steps, so that chunks of every length share one compilation.
        """
        batch, count = self.batch_size, len(self.examples.images)
        rows = stream(count, self.seed, step * batch, (step + num_steps) * batch).reshape(num_steps, batch)
        local = devices.local_part(rows.T).T
        per_device = local.shape[1] // devices.num_local_devices()
        # [steps, devices, rows a device] -> [devices, steps, rows a device]
        local = local.reshape(num_steps, -1, per_device).transpose(1, 0, 2)
        order = np.zeros((local.shape[0], self.chunk_steps, per_device), np.int32)
        if self.is_resident:
            order[:, :num_steps] = local
            return (*self._resident, devices.shard(order.reshape(-1, per_device)))
        order[:] = np.arange(self.chunk_steps * per_device, dtype=np.int32).reshape(self.chunk_steps, per_device)
        sent = []
        for array in self.examples:
            rows_of = np.zeros((local.shape[0], self.chunk_steps * per_device, *array.shape[1:]), array.dtype)
            rows_of[:, : num_steps * per_device] = array[local.reshape(local.shape[0], -1)]
            sent.append(devices.shard(rows_of.reshape(-1, *array.shape[1:])))
        return (*sent, devices.shard(order.reshape(-1, per_device)))


def batches_in_order(examples: Examples, batch_size: int) -> Iterator[tuple[Batch, int]]:
    """Yield (batch on the devices, number of real examples in it) for every example once, in order.

    The last batch is padded to full size by repeating its first example, with False in its mask. Every process
    sees the same number of batches, and its devices get their part of each.
    """
    count = len(examples.images)
    for start in range(0, count, batch_size):
        real = min(batch_size, count - start)
        rows = np.full(batch_size, start)
        rows[:real] += np.arange(real)
        mask = np.arange(batch_size) < real
        rows, mask = devices.local_part(rows), devices.local_part(mask)
        yield devices.shard(Batch(examples.images[rows], examples.labels[rows], mask)), real
