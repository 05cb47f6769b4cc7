"""Who belongs to a job: the flags, or what launchers leave in the environment."""

import pytest

from failpred_jax.errors import UserError
from failpred_jax.launcher import Job, first_host, given_job

SLURM = {
    'SLURM_JOB_ID': '70001',
    'SLURM_STEP_ID': '2',
    'SLURM_STEP_NODELIST': 'gpu[03-05]',
    'SLURM_STEP_NUM_TASKS': '3',
    'SLURM_STEP_TASKS_PER_NODE': '1(x3)',
    'SLURM_PROCID': '1',
    'SLURM_LOCALID': '0',
}
JOBSET = {'JAX_COORDINATOR_ADDRESS': 'run-workers-0-0.run:8476', 'JAX_NUM_PROCESSES': '4', 'JOB_COMPLETION_INDEX': '3'}


def test_nobody_says_anything():
    assert given_job('', None, None, {}) is None


def test_flags_come_before_the_environment():
    assert given_job('node0:1234', 2, 1, SLURM) == Job('node0:1234', 2, 1)
    assert given_job('[fe80::1]:1234', 2, 0, {}) == Job('[fe80::1]:1234', 2, 0)


def test_a_job_of_one_waits_for_nobody():
    assert given_job('node0:1234', 1, 0, {}) is None
    assert given_job('', None, None, SLURM | {'SLURM_STEP_NUM_TASKS': '1'}) is None


def test_a_batch_script_is_no_step():
    """sbatch sets the number of tasks before `srun` has started any."""
    assert given_job('', None, None, {'SLURM_JOB_ID': '7', 'SLURM_NTASKS': '3', 'SLURM_PROCID': '0'}) is None


def test_slurm():
    assert given_job('', None, None, SLURM) == Job('gpu03:61811', 3, 1)
    # Several tasks on a host share its GPUs, one each, unless SLURM has dealt them out already.
    packed = SLURM | {'SLURM_STEP_TASKS_PER_NODE': '4(x2),1', 'SLURM_LOCALID': '3'}
    assert given_job('', None, None, packed).local_device_ids == (3,)
    assert given_job('', None, None, packed | {'CUDA_VISIBLE_DEVICES': '0'}).local_device_ids is None


@pytest.mark.parametrize(
    ('hosts', 'first'),
    [
        ('a', 'a'),
        ('a,b', 'a'),
        ('n[001-015],m2', 'n001'),
        ('n[7,9-15]', 'n7'),
        ('rack[1-2]-n[03-04],x', 'rack1-n03'),
        ('n[1-2]-ib', 'n1-ib'),
    ],
)
def test_first_of_a_host_list(hosts, first):
    assert first_host(hosts) == first


def test_kubernetes_jobset():
    assert given_job('', None, None, JOBSET) == Job('run-workers-0-0.run:8476', 4, 3)
    assert given_job('', None, None, JOBSET | {'JAX_PROCESS_ID': '0'}).process_id == 0


@pytest.mark.parametrize(
    ('flags', 'environ', 'words'),
    [
        (('node0:1', None, None), {}, '--num_processes and --process_id are not given; give all three'),
        (('', 2, 0), {}, '--coordinator_address is not given; give all three'),
        (('node0:1', 2, 2), {}, '--process_id is 2; in a job of 2 it must be 0 to 1'),
        (('node0:1', 2, -1), {}, '--process_id is -1; in a job of 2 it must be 0 to 1'),
        (('node0:1', 0, 0), {}, '--num_processes is 0; a job has 1 process or more'),
        (('node0', 2, 0), {}, "--coordinator_address is 'node0'; it must be HOST:PORT"),
        (('node0:99999', 2, 0), {}, 'a free port (1 to 65535)'),
        (
            ('', None, None),
            JOBSET | {'JAX_NUM_PROCESSES': 'four'},
            "JAX_NUM_PROCESSES is 'four'; it must be an integer",
        ),
        (('', None, None), {'JAX_COORDINATOR_ADDRESS': 'a:1'}, 'JAX_NUM_PROCESSES and JAX_PROCESS_ID are not given'),
        (('', None, None), JOBSET | {'JOB_COMPLETION_INDEX': '4'}, 'JAX_PROCESS_ID is 4; in a job of 4'),
    ],
)
def test_what_makes_no_job(flags, environ, words):
    with pytest.raises(UserError) as error:
        given_job(*flags, environ)
    assert words in str(error.value)
