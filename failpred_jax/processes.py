"""Processes: how a job of several joins, agrees and leaves. Which devices they have is devices.py's business.

Of several processes, process 0 alone touches the WORKDIR and prints; `from_main` tells the others what they need of it,
and stops them too where it cannot go on. So the WORKDIR may lie on any disk that process 0 reaches.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import serialization
from jax.experimental import multihost_utils

from failpred_jax.errors import UserError
from failpred_jax.launcher import Job, given_job, is_cloud_tpu
from failpred_jax.stopping import end_at_once, ends_after

# A process whose host went away without closing its connections is missed after this time.
HEARTBEAT_SECONDS = 60
# How long a process that failed waits for the others to fail in the same way, so that each can say so in peace.
LEAVE_SECONDS = 10
# At its end a job waits for process 0, which may have a table and a report to write.
SHUTDOWN_SECONDS = 24 * 3600
# Bytes from process 0 travel in blocks of these sizes, so that there is one compilation each.
SMALL_BLOCK, LARGE_BLOCK = 2**16, 2**22


def join(
    coordinator_address: str = '',
    num_processes: int | None = None,
    process_id: int | None = None,
    wait_seconds: float = 300.0,
) -> None:
    """Make this process one of its job's; call it before anything else touches a device.

    What is not given is read from the launcher's environment (launcher.py); without one, this process is alone and
    waits for nobody.

    Args:
      coordinator_address: HOST:PORT at which process 0 listens; '' if not given.
      num_processes: of the job.
      process_id: this one's, from 0.
      wait_seconds: how long to wait for the others.

    Raises:
      UserError: what is given or in the environment makes no job, or the processes differ in their devices. Where the
        others do not come in time, the process says so and ends with code 2, since what waits for them cannot be
        interrupted.
    """
    job = given_job(coordinator_address, num_processes, process_id, os.environ)
    if job is not None or is_cloud_tpu(os.environ):
        _meet(job, wait_seconds)
    check_platform()
    if jax.device_count() != jax.local_device_count() * jax.process_count():
        raise UserError(
            f'this process has {jax.local_device_count()} devices, but {jax.process_count()} processes have '
            f'{jax.device_count()} together; every process needs as many as the others'
        )


def check_platform() -> None:
    """Raise a UserError if the devices that JAX_PLATFORMS asks for cannot be used here.

    Asked before anything reads a file through JAX: what fails then seems to be the file's fault.
    """
    try:
        jax.devices()
    # Without a GPU, JAX_PLATFORMS=cuda is an assertion of JAX's that holds no word.
    except (RuntimeError, AssertionError) as error:
        wanted = jax.config.values['jax_platforms']
        if not wanted:
            raise
        jax.config.update('jax_platforms', '')
        try:
            there = ' and '.join(dict.fromkeys((jax.default_backend(), 'cpu')))
        finally:
            jax.config.update('jax_platforms', wanted)
        reason = str(error).partition(' (set JAX_PLATFORMS')[0].splitlines() or ['no such device was found']
        raise UserError(
            f"JAX_PLATFORMS is '{wanted}', but here there is {there} ({reason[0]}); unset it, or "
            'set it to what is there'
        ) from error


def _meet(job: Job | None, wait_seconds: float) -> None:
    """Join the other processes of a job, or of a TPU slice, whose launcher is known."""
    # It would take SIGTERM for itself; run.py stops at a chunk's end instead.
    jax.config.update('jax_enable_preemption_service', False)
    with ends_after(wait_seconds, _nobody_came(job, wait_seconds), code=2):
        _initialize(job, wait_seconds)


def _initialize(job: Job | None, wait_seconds: float) -> None:
    limits: dict[str, Any] = {
        # Past our own limit: jax ends the process without a word of ours when its own is over.
        'initialization_timeout': int(wait_seconds) + 60,
        'heartbeat_timeout_seconds': HEARTBEAT_SECONDS,
        'shutdown_timeout_seconds': SHUTDOWN_SECONDS,
    }
    if job is None:
        # A TPU that belongs to no cluster is a ValueError: this host is alone with it.
        with contextlib.suppress(ValueError):
            jax.distributed.initialize(**limits)
        return
    # A cluster's way to the web is no way to its own hosts, and gRPC would wait there until the time is up.
    host = job.coordinator_address.rpartition(':')[0].strip('[]')
    direct = os.environ.get('no_grpc_proxy') or os.environ.get('no_proxy') or ''  # noqa: SIM112 (gRPC's spelling)
    os.environ['no_grpc_proxy'] = f'{direct},{host}'.strip(',')  # noqa: SIM112
    jax.distributed.initialize(
        job.coordinator_address,
        job.num_processes,
        job.process_id,
        local_device_ids=job.local_device_ids,
        # Without this, jax asks SLURM again, and takes one GPU of a task that was given all of a host.
        cluster_detection_method='deactivate',
        **limits,
    )


def _nobody_came(job: Job | None, seconds: float) -> str:
    if job is None:
        return f'error: the other hosts of this TPU slice did not come within {seconds:g} s; start all of them'
    return (
        f'error: process {job.process_id} did not meet the other {job.num_processes - 1} at {job.coordinator_address} '
        f'within {seconds:g} s; check that all {job.num_processes} were started with that address and number, that '
        'process 0 runs on that host, and that the port is open to the others (--wait_seconds=N waits longer)'
    )


def leave(code: int, is_agreed: bool) -> None:
    """End this process's part in its job; does nothing for a process that is alone.

    Args:
      code: exit code, should the process have to be ended here.
      is_agreed: whether all processes leave (done, or all asked to stop). If not, the others are given a few seconds to
        fail in the same way; then this process ends, at which they lose it and end as well.
    """
    if not is_one_of_several():
        return
    told = 'the other processes go on; they end when they miss this one'
    with contextlib.nullcontext() if is_agreed else ends_after(LEAVE_SECONDS, told, code):
        jax.distributed.shutdown()


def leave_at_once(code: int) -> None:
    """End a process of a job that cannot go on: the others lose it, and end too."""
    # The interpreter's own end would first wait for processes that wait for this one.
    end_at_once(code)


def is_one_of_several() -> bool:
    """Return whether this process belongs to a job of several."""
    return jax.distributed.is_initialized()


def process_name() -> str:
    """Return 'process 1', say, for messages of a job of several; '' for process 0, or one that is alone."""
    return f'process {jax.process_index()}' if is_one_of_several() and jax.process_index() else ''


def is_main_process() -> bool:
    """Return whether this process is the one that writes logs, tables and reports."""
    return jax.process_index() == 0


def agree(value: int) -> int:
    """Return process 0's value on every process; each must call it at the same point."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def any_process(value: bool) -> bool:
    """Return whether `value` is true on some process; each must call it at the same point."""
    if jax.process_count() == 1:
        return value
    return bool(np.any(multihost_utils.process_allgather(np.int32(value))))


def from_main(fn: Callable[[], Any]) -> Any:
    """Return, on every process, what `fn()` returns on process 0, where alone it is called.

    Args:
      fn: calls nothing that the other processes must call too (nor this function again), and returns None, numbers,
        strings, NumPy arrays, or lists and dicts of these.

    Raises:
      What `fn` raises, on process 0; at the same time a UserError that names it on the others, so that none is left
      waiting.
    """
    if jax.process_count() == 1:
        return fn()
    answer, failure = {}, None
    if is_main_process():
        try:
            answer = {'value': fn()}
        except Exception as error:  # whatever it is, the others must not wait for it
            answer, failure = {'error': str(error)}, error
    told = serialization.msgpack_restore(_broadcast(serialization.msgpack_serialize(answer)))
    if failure is not None:
        raise failure
    if 'error' in told:
        raise UserError(f'process 0 stopped: {told["error"]}')
    return told['value']


def _broadcast(data: bytes) -> bytes:
    """Return process 0's bytes on every process."""
    # In two parts: counts are int32 on the devices.
    size = agree(len(data) // LARGE_BLOCK) * LARGE_BLOCK + agree(len(data) % LARGE_BLOCK)
    block = SMALL_BLOCK if size <= SMALL_BLOCK else LARGE_BLOCK
    padded = np.zeros(-(-size // block) * block, np.uint8)
    if is_main_process():
        padded[:size] = np.frombuffer(data, np.uint8)
    parts = [multihost_utils.broadcast_one_to_all(part) for part in padded.reshape(-1, block)]
    return np.concatenate(parts)[:size].tobytes()
