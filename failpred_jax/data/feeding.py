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
from failpred_jax.data.lazy import is_lazy, readers_ahead
from failpred_jax.errors import given
from failpred_jax.types import Batch, Examples, PyTree

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

    A set within the budget is copied to every device once, and a chunk is only the order of its rows. A larger one
    is streamed: the rows of a chunk are gathered on the host and sent along. Images travel as uint8, and what is
    known of the examples travels with them.
    """

    def __init__(self, examples: Examples, batch_size: int, seed: int, budget_bytes: int, max_steps: int):
        self.count = len(examples.labels)
        self.batch_size = batch_size
        self.seed = seed
        num_bytes = num_bytes_of(examples)
        bytes_per_step = -(-batch_size * num_bytes // self.count)
        self.is_resident = num_bytes <= budget_bytes
        limit = MAX_CHUNK_STEPS if self.is_resident else max(1, STREAMED_CHUNK_BYTES // bytes_per_step)
        # Counts of units are int32 on the devices.
        units_per_step = batch_size * int(np.prod(examples.labels.shape[1:], dtype=np.int64))
        self.chunk_steps = int(max(1, min(limit, max_steps, (2**31 - 1) // units_per_step)))
        # Not both: once it is on the devices, nobody needs what the host holds of it.
        self._resident = devices.replicate(examples) if self.is_resident else None
        self._streamed = None if self.is_resident else examples._replace(index=np.arange(self.count, dtype=np.int32))
        self._ahead = [] if self.is_resident else readers_ahead(examples.images, examples.labels)

    def _local_rows(self, step: int, num_steps: int) -> np.ndarray:
        """Return which examples this process takes in steps [step, step + num_steps): [steps, rows] int32."""
        batch = self.batch_size
        rows = stream(self.count, self.seed, step * batch, (step + num_steps) * batch).reshape(num_steps, batch)
        return devices.local_part(rows.T).T

    def chunk(self, step: int, num_steps: int, then: int = 0) -> tuple[Examples, jax.Array]:
        """Return (examples, order) for steps [step, step + num_steps), as train/step.py's chunk takes them.

        `order` is padded to `chunk_steps` steps, so that chunks of every length share one compilation. Images and label
        maps that have to be read are, meanwhile, read for the `then` steps that probably follow.
        """
        in_turn = self._local_rows(step, num_steps)
        per_device = in_turn.shape[1] // devices.num_local_devices()
        # [steps, devices, rows a device] -> [devices, steps, rows a device]
        local = in_turn.reshape(num_steps, -1, per_device).swapaxes(0, 1)
        order = np.zeros((local.shape[0], self.chunk_steps, per_device), np.int32)
        if self._resident is not None:
            order[:, :num_steps] = local
            return self._resident, devices.shard(order.reshape(-1, per_device))
        order[:] = np.arange(self.chunk_steps * per_device, dtype=np.int32).reshape(self.chunk_steps, per_device)

        def send(array: np.ndarray) -> jax.Array:
            rows_of = np.zeros((local.shape[0], self.chunk_steps * per_device, *array.shape[1:]), array.dtype)
            ahead = next((reader for reader in self._ahead if reader.source is array), None)
            if ahead is not None:
                taken = ahead.take(in_turn.reshape(-1)).reshape(num_steps, -1, per_device, *array.shape[1:])
                rows_of[:, : num_steps * per_device] = taken.swapaxes(0, 1).reshape(len(local), -1, *array.shape[1:])
            else:
                rows_of[:, : num_steps * per_device] = array[local.reshape(len(local), -1)]
            return devices.shard(rows_of.reshape(-1, *array.shape[1:]))

        sent = jax.tree.map(send, self._streamed), devices.shard(order.reshape(-1, per_device))
        if self._ahead and then:
            following = self._local_rows(step + num_steps, then).reshape(-1)
            for reader in self._ahead:
                reader.begin(following)
        return sent


def num_bytes_of(tree: PyTree) -> int:
    """Return the bytes of all arrays (or shapes) of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def batches_in_order(examples: Examples, batch_size: int) -> Iterator[tuple[Batch, int]]:
    """Yield (batch on the devices, number of real examples in it) for every example once, in order.

    The last batch is padded to full size by repeating its first example, with False in its mask. Every process
    sees the same number of batches, and its devices get their part of each.
    """
    count = len(examples.labels)
    ahead = readers_ahead(examples.images, examples.labels)
    # What is read is taken from the readers, and everything else as it is.
    there = examples._replace(**{n: None for n in ('images', 'labels') if is_lazy(getattr(examples, n))})

    def rows_from(start: int) -> np.ndarray:
        rows = np.full(batch_size, start)
        real = min(batch_size, count - start)
        rows[:real] += np.arange(real)
        return devices.local_part(rows)

    for start in range(0, count, batch_size):
        real = min(batch_size, count - start)
        rows, mask = rows_from(start), devices.local_part(np.arange(batch_size) < real)
        read = {id(reader.source): reader.take(rows) for reader in ahead}
        for reader in ahead if start + batch_size < count else ():
            reader.begin(rows_from(start + batch_size))
        chosen = jax.tree.map(lambda array, rows=rows: array[rows], there)
        images, labels = (read.get(id(own), of) for own, of in zip(examples[:2], chosen[:2], strict=True))
        yield devices.shard(Batch(images, given(labels, 'labels'), mask, chosen.cached)), real
