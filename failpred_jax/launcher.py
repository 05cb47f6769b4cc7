"""Which processes make up a job: from the command line, or from the variables that a launcher sets.

Read here and not by jax.distributed, which on SLURM gives every task one GPU, and on Kubernetes needs a package and
rights of its own.
"""

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from failpred_jax.errors import UserError

OPTIONS = ('--coordinator_address', '--num_processes', '--process_id')
VARIABLES = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
# How the names of all variables begin that launchers set for each of several processes.
_OF_LAUNCHERS = (*VARIABLES, 'JOB_COMPLETION_INDEX', 'SLURM_', 'TPU_WORKER_', 'CLOUD_TPU_TASK_ID')


@dataclass(frozen=True)
class Job:
    """One process's place among several.

    Attributes:
      coordinator_address: HOST:PORT at which process 0 listens.
      num_processes: 2 or more.
      process_id: of this one, from 0.
      local_device_ids: which of the host's GPUs are this process's; None for all that it sees.
    """

    coordinator_address: str
    num_processes: int
    process_id: int
    local_device_ids: tuple[int, ...] | None = None


def is_alone(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Return whether nothing hints that this process is one of several, of which one alone speaks."""
    return not any(word.startswith(OPTIONS) for word in argv) and not any(n.startswith(_OF_LAUNCHERS) for n in environ)


def given_job(
    coordinator_address: str, num_processes: int | None, process_id: int | None, environ: Mapping[str, str]
) -> Job | None:
    """Return the job that the flags give, else the one of JAX_* variables (Kubernetes), else SLURM's; None for none.

    Raises:
      UserError: they are incomplete, or make no sense.
    """
    if (coordinator_address, num_processes, process_id) != ('', None, None):
        return _checked(coordinator_address, num_processes, process_id, OPTIONS)
    if any(name in environ for name in VARIABLES[:2]):
        # An indexed Job of Kubernetes numbers its pods in this variable.
        number = environ.get(VARIABLES[2], environ.get('JOB_COMPLETION_INDEX'))
        count = environ.get(VARIABLES[1])
        return _checked(
            environ.get(VARIABLES[0], ''),
            None if count is None else _number(count, VARIABLES[1]),
            None if number is None else _number(number, VARIABLES[2]),
            VARIABLES,
        )
    return _slurm_job(environ)


def _checked(address: str, count: int | None, number: int | None, names: tuple[str, str, str]) -> Job | None:
    missing = [name for name, value in zip(names, (address, count, number), strict=True) if value in ('', None)]
    if missing or count is None or number is None:
        raise UserError(
            f'{", ".join(names)} go together, but {" and ".join(missing)} {"is" if len(missing) == 1 else "are"} not '
            'given; give all three to every process of the job, or none (a single process, or a launcher that is known)'
        )
    if count < 1:
        raise UserError(f'{names[1]} is {count}; a job has 1 process or more')
    if not 0 <= number < count:
        raise UserError(f'{names[2]} is {number}; in a job of {count} it must be 0 to {count - 1}')
    host, _, port = address.rpartition(':')
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UserError(
            f"{names[0]} is '{address}'; it must be HOST:PORT, the host of process 0 and a free port (1 to 65535) on "
            'it, such as node0:12345'
        )
    return Job(address, count, number) if count > 1 else None


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UserError(f"the environment variable {name} is '{text}'; it must be an integer") from error


def _slurm_job(environ: Mapping[str, str]) -> Job | None:
    """Return the job of a SLURM step of several tasks; None outside of `srun`, or for a single task."""
    names = ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_PROCID', 'SLURM_STEP_NUM_TASKS')
    if not all(name in environ for name in names):
        return None
    count, number = (_number(environ[name], name) for name in ('SLURM_STEP_NUM_TASKS', 'SLURM_PROCID'))
    if count < 2:
        return None
    # All tasks know these numbers, so they come to the same port; another step of the job comes to another.
    step = _number(environ.get('SLURM_STEP_ID', '0'), 'SLURM_STEP_ID')
    port = 61440 + (_number(environ['SLURM_JOB_ID'], 'SLURM_JOB_ID') + step) % 4096
    ids = None
    tasks = environ.get('SLURM_STEP_TASKS_PER_NODE', '1')
    has_own_gpu = environ.get('CUDA_VISIBLE_DEVICES', '').isdigit()
    if (re.match(r'\d+', tasks) or [''])[0] != '1' and not has_own_gpu and 'SLURM_LOCALID' in environ:
        ids = (_number(environ['SLURM_LOCALID'], 'SLURM_LOCALID'),)
    return Job(f'{first_host(environ["SLURM_STEP_NODELIST"])}:{port}', count, number, ids)


def first_host(hosts: str) -> str:
    """Return the first of a SLURM host list: 'gpu[03-05,9],x' -> 'gpu03'."""
    first = re.match(r'(?:[^,\[]|\[[^\]]*\])+', hosts)
    return re.sub(r'\[(\w+)[^\]]*\]', r'\1', first[0]) if first else hosts


def is_cloud_tpu(environ: Mapping[str, str]) -> bool:
    """Return whether this is a Cloud TPU host, whose slice jax knows how to find."""
    wanted = environ.get('JAX_PLATFORMS', '')
    devices = [*Path('/dev').glob('accel[0-9]*'), *Path('/dev/vfio').glob('[0-9]*')]
    return bool(devices) and ('tpu' in wanted or not wanted) and importlib.util.find_spec('libtpu') is not None
