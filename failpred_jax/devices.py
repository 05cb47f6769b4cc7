"""Devices: the only file that knows how many there are, and how a function is mapped over them.

Everything elsewhere is written for one device, under the axis name `AXIS`. A value that is the same on all devices
is *replicated* (a leading axis over this process's devices); a batch is *sharded* (its examples dealt out in order
to the devices). `jax.pmap` is called here alone, so that another way of mapping is a change of one file.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from failpred_jax import compiler
from failpred_jax.errors import UserError
from failpred_jax.types import PyTree

AXIS = 'data'


def num_devices() -> int:
    """Return the number of devices of all processes."""
    return jax.device_count()


def num_local_devices() -> int:
    """Return the number of devices of this process."""
    return jax.local_device_count()


def describe() -> str:
    """Return the devices in words, such as '8 cpu devices'."""
    count, platform = num_devices(), jax.devices()[0].device_kind
    text = f'{count} {platform} device{"s" if count > 1 else ""}'
    return text if jax.process_count() == 1 else f'{text} in {jax.process_count()} processes'


def check_batch_size(batch_size: int, key: str) -> None:
    """Raise a UserError if the batch cannot be dealt out evenly; `key` is the option that set it."""
    count = num_devices()
    if batch_size % count:
        below, above = batch_size // count * count, -(-batch_size // count) * count
        near = f'{below} or {above}' if below else f'{above}'
        raise UserError(
            f'{key} is {batch_size}, which cannot be divided among {count} devices; '
            f'choose a multiple of {count}, such as {near}'
        )


def local_part(global_batch: np.ndarray) -> np.ndarray:
    """Return this process's rows of an array whose first axis is the global batch, in device order."""
    size = global_batch.shape[0] // jax.process_count()
    return global_batch[jax.process_index() * size :][:size]


@functools.cache
def _mesh() -> Mesh:
    """Return the devices of all processes, those of one side by side."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    # axis_types must be Auto: with the default, linen's dropout, sort and bincount fail under the mesh.
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def _put(x: Any) -> jax.Array:
    return jax.device_put(x, NamedSharding(_mesh().local_mesh, PartitionSpec(AXIS)))


def replicate(tree: PyTree) -> PyTree:
    """Return the tree with every leaf copied to each local device, along a new leading axis."""

    def copy(x: Any) -> jax.Array:
        if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(copy(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        x = np.asarray(x)
        return _put(np.broadcast_to(x, (num_local_devices(), *x.shape)))

    return jax.tree.map(copy, tree)


def unreplicate(tree: PyTree) -> PyTree:
    """Return the first device's copy of a replicated tree, on the host (typed keys stay typed keys)."""

    def first(x: jax.Array) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(first(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        return np.asarray(x.addressable_shards[0].data)[0]

    return jax.tree.map(first, tree)


def shard(tree: PyTree) -> PyTree:
    """Deal rows out to the local devices: [rows, ...] becomes [devices, rows / devices, ...], on the devices."""
    count = num_local_devices()
    return jax.tree.map(lambda x: _put(np.reshape(x, (count, -1, *x.shape[1:]))), tree)


def gather(tree: PyTree) -> PyTree:
    """Return the rows of all devices of all processes on the host, in global batch order; undoes `shard`."""

    def collect(x: jax.Array) -> np.ndarray:
        rows = np.asarray(x).reshape(-1, *x.shape[2:])
        if jax.process_count() > 1:
            return np.asarray(multihost_utils.process_allgather(rows, tiled=True))
        return rows

    return jax.tree.map(collect, tree)


def map_over_devices(fn: Callable, donate: tuple[int, ...] = (), shared: tuple[int, ...] = ()) -> Callable:
    """Return `fn`, written for one device, run on all of them by `jax.pmap`; arguments have a leading device axis.

    Args:
      fn: may use `psum_all`, `device_index` and what else is below.
      donate: positions of arguments whose memory the result may take over.
      shared: positions of arguments that have no device axis: they are the same for all devices.
    """
    programs: dict[Any, jax.stages.Compiled] = {}

    def in_axes(args: tuple) -> tuple[int | None, ...]:
        return tuple(None if i in shared else 0 for i in range(len(args)))

    def specs(args: tuple) -> tuple[PartitionSpec, ...]:
        return tuple(PartitionSpec() if i in shared else PartitionSpec(AXIS) for i in range(len(args)))

    def program_of(args: tuple) -> jax.stages.Compiled:
        # As a jitted function does by itself: one program for all arguments of the same structure and shapes.
        leaves, structure = jax.tree.flatten(args)
        shapes = structure, tuple((np.shape(x), jax.dtypes.result_type(x)) for x in leaves)
        if shapes not in programs:
            mapped = jax.pmap(fn, axis_name=AXIS, in_axes=in_axes(args), donate_argnums=donate)
            # pmap takes no options for the compiler; what it is lowered to does.
            programs[shapes] = mapped.lower(*args).compile(compiler_options=compiler.options())
        return programs[shapes]

    def on_all(*args: Any) -> PyTree:
        args = jax.tree.map(lambda x: x if isinstance(x, jax.Array) else np.asarray(x), args)
        program = program_of(args)
        if jax.process_count() == 1:
            return program(*args)
        # Each process holds the rows of its own devices; to a compiled program, those of all processes are one array.
        whole = multihost_utils.host_local_array_to_global_array(args, _mesh(), specs(args))
        return multihost_utils.global_array_to_host_local_array(program(*whole), _mesh(), PartitionSpec(AXIS))

    return on_all


def psum_all(tree: PyTree) -> PyTree:
    """Return the sum over all devices; inside a mapped function."""
    return jax.lax.psum(tree, AXIS)


def device_index() -> jax.Array:
    """Return this device's number among all devices; inside a mapped function."""
    return jax.lax.axis_index(AXIS)


def gather_all(tree: PyTree) -> PyTree:
    """Return the rows of all devices in global batch order, on every device; inside a mapped function."""
    return jax.tree.map(lambda x: jax.lax.all_gather(x, AXIS, tiled=True), tree)


def next_in_batch(tree: PyTree) -> PyTree:
    """Return, for each row of the global batch, the row after it (for the last, the first); inside a mapped function.

    Args:
      tree: of arrays [rows of this device, ...]; the result has their shapes. Gradients flow through it.
    """
    count = num_devices()
    to_previous = [(i, (i - 1) % count) for i in range(count)]

    def shift(x: jax.Array) -> jax.Array:
        return jnp.concatenate([x[1:], jax.lax.ppermute(x[:1], AXIS, to_previous)])

    return jax.tree.map(shift, tree)
