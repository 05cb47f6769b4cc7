"""Devices and processes: the only file that knows how many there are.

Everything elsewhere is written for one device, under the axis name `AXIS`. A value that is the same on all devices
is *replicated* (a leading axis over this process's devices); a batch is *sharded* (its examples dealt out in order
to the devices). `jax.pmap` is called here alone, so that another way of mapping is a change of one file.
"""

import functools
import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from failpred_jax.errors import UserError
from failpred_jax.types import PyTree

AXIS = 'data'


def keep_compilations() -> None:
    """Keep compiled programs in the user's cache folder, so that a second run starts in seconds.

    JAX_COMPILATION_CACHE_DIR names another folder, and JAX_ENABLE_COMPILATION_CACHE=false turns it off, as JAX has it.
    """
    if jax.config.jax_compilation_cache_dir is None:
        cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
        # A home folder may be shared by machines whose processors cannot run one another's programs.
        folder = cache / 'failpred_jax' / f'xla-{_processor()}'
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return  # A home that cannot be written costs time, not results.
        jax.config.update('jax_compilation_cache_dir', str(folder))
    # Far below JAX's one second: a run compiles hundreds of programs that each take a fraction of one.
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)


def _processor() -> str:
    """Return a short digest of the processor's kind and instruction sets."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        known = sorted({line for line in lines if line.startswith(('model name', 'flags', 'Features', 'CPU part'))})
    except OSError:
        known = [platform.processor()]
    return hashlib.blake2b('\n'.join([platform.machine(), *known]).encode(), digest_size=6).hexdigest()


def num_devices() -> int:
    """Return the number of devices of all processes."""
    return jax.device_count()


def num_local_devices() -> int:
    """Return the number of devices of this process."""
    return jax.local_device_count()


def is_main_process() -> bool:
    """Return whether this process is the one that writes logs, tables and reports."""
    return jax.process_index() == 0


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
def _sharding() -> NamedSharding:
    # axis_types must be Auto: with the default, linen's dropout, sort and bincount fail under the mesh.
    mesh = jax.make_mesh((num_local_devices(),), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.local_devices())
    return NamedSharding(mesh, PartitionSpec(AXIS))


def _put(x: Any) -> jax.Array:
    return jax.device_put(x, _sharding())


def replicate(tree: PyTree) -> PyTree:
    """Return the tree with every leaf copied to each local device, along a new leading axis."""

    def copy(x: Any) -> jax.Array:
        if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(copy(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        x = np.asarray(x)
        return _put(np.broadcast_to(x, (num_local_devices(), *x.shape)))

    return jax.tree.map(copy, tree)


def unreplicate(tree: PyTree) -> PyTree:
    """Return the first device's copy of a replicated tree, on the host (typed keys stay typed keys)."""

    def first(x: jax.Array) -> Any:
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
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


def agree(value: int) -> int:
    """Return process 0's value on every process; each must call it at the same point."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def wait_for_all(point: str) -> None:
    """Return once every process has reached `point`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(point)


def map_over_devices(fn: Callable, donate: tuple[int, ...] = (), in_axes: Any = 0) -> Callable:
    """Return `fn`, written for one device, run on all of them; arguments have a leading device axis.

    Args:
      fn: may use `psum_all` and `device_index`.
      donate: positions of arguments whose memory the result may take over.
      in_axes: as in `jax.pmap`; None for an argument that is a plain scalar, the same for all devices.
    """
    return jax.pmap(fn, axis_name=AXIS, donate_argnums=donate, in_axes=in_axes)


def psum_all(tree: PyTree) -> PyTree:
    """Return the sum over all devices; inside a mapped function."""
    return jax.lax.psum(tree, AXIS)


def device_index() -> jax.Array:
    """Return this device's number among all devices; inside a mapped function."""
    return jax.lax.axis_index(AXIS)
