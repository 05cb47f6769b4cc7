"""The launch scripts: sound, started with stand-ins for what a cluster has, and in step with the program they start."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from failpred_jax import command_line, endings, launcher
from failpred_jax.registry import COMMANDS
from failpred_jax.stopping import EXIT_STOPPED

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / 'launch'
SCRIPTS = sorted(p for p in LAUNCH.iterdir() if p.suffix in ('.sh', '.sbatch'))
STARTERS = [LAUNCH / name for name in ('slurm.sbatch', 'tpu_vm.sh', 'k8s_jobset.yaml', 'Dockerfile', 'run.sh')]


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda p: p.name)
def test_bash_can_read_it(script):
    subprocess.run(['bash', '-n', script], check=True)


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda p: p.name)
def test_shellcheck_finds_nothing(script):
    if shutil.which('shellcheck') is None:
        pytest.skip('shellcheck is not installed')
    done = subprocess.run(['shellcheck', '--shell=bash', '-x', script], capture_output=True, text=True, cwd=LAUNCH)
    assert done.returncode == 0, done.stdout


def flags_of_ours() -> set[str]:
    shared = {flag.name for flag in (*command_line.SHARED, *command_line.JOB)}
    return shared | {flag.name for name in COMMANDS for flag in COMMANDS[name].flags} | {'config', 'mode'}


@pytest.mark.parametrize('file', STARTERS, ids=lambda p: p.name)
def test_every_flag_it_passes_exists(file):
    """Those that follow run.sh, and in YAML and Dockerfile all that look like ours."""
    passed = set(re.findall(r'--([a-z_]+)=(?:"?\$|configs/|/runs|runs/)', file.read_text()))
    passed -= {'zone', 'command'}  # gcloud's
    assert passed <= flags_of_ours(), passed
    assert passed == {'config', 'workdir'}
    # The pods' image is the Dockerfile's, which starts run.sh.
    assert 'run.sh' in file.read_text() or 'launch/Dockerfile' in file.read_text()


def test_every_flag_has_its_line_in_the_help():
    for name in flags_of_ours():
        assert f'--{name}' in command_line.help_text()


def stand_in(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f'#!/usr/bin/env bash\n{script}\n')
    path.chmod(0o755)


def run_script(script: str, tmp_path: Path, *words: str, **variables: str) -> subprocess.Popen:
    environ = {**os.environ, **variables, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
    return subprocess.Popen(
        ['bash', LAUNCH / script, *words],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_run_sh_hands_its_words_on_as_they_are(tmp_path):
    stand_in(tmp_path, 'python', 'printf "%s\\n" "$PWD" "$@"')
    out, _ = run_script('run.sh', tmp_path, '--config=a b', '--config.x=(1,2)', VIRTUAL_ENV='x').communicate()
    assert out.splitlines() == [
        str(ROOT), '-u', '-m', 'failpred_jax.main', '--config=a b', '--config.x=(1,2)',
    ]  # fmt: skip


def test_run_sh_starts_the_program(tmp_path):
    stand_in(tmp_path, 'python', f'exec {sys.executable} "$@"')
    process = run_script('run.sh', tmp_path, '--mode=trian', '--config=configs/digits.py')
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--mode is 'trian'; did you mean 'train'" in out


@pytest.mark.parametrize('code', [0, 2, EXIT_STOPPED])
def test_slurm_requeues_what_stopped_and_nothing_else(code, tmp_path):
    stand_in(tmp_path, 'srun', f'echo "srun $*"; exit {code}')
    stand_in(tmp_path, 'scontrol', 'echo "scontrol $*"')
    process = run_script('slurm.sbatch', tmp_path, '--config.seed=1', SLURM_JOB_ID='71', SLURM_SUBMIT_DIR=str(ROOT))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    wanted = 'bash launch/run.sh --config=configs/cifar10.py --workdir=runs/slurm-71 --config.seed=1'
    assert f'srun --kill-on-bad-exit=1 {wanted}' in out
    assert ('scontrol requeue 71' in out) == (code == EXIT_STOPPED)


def test_slurm_hands_the_signal_on_and_waits_for_the_save(tmp_path):
    stand_in(
        tmp_path,
        'srun',
        f'trap "sleep 0.5; echo saved; exit {EXIT_STOPPED}" TERM; echo up; while :; do sleep 0.1; done',
    )
    stand_in(tmp_path, 'scontrol', 'echo "scontrol $*"')
    process = run_script('slurm.sbatch', tmp_path, SLURM_JOB_ID='71', SLURM_SUBMIT_DIR=str(ROOT))
    assert process.stdout.readline() == 'up\n'
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert out.splitlines() == ['saved', 'saved and stopped; back into the queue', 'scontrol requeue 71']
    assert process.returncode == EXIT_STOPPED


def test_tpu_words_arrive_at_the_workers_as_they_were_given(tmp_path):
    """The stand-in for gcloud runs the last command as a worker would, where run.sh prints what it was given."""
    home = tmp_path / 'home'
    (home / 'failpred_jax' / 'launch').mkdir(parents=True)
    (home / 'failpred_jax' / 'launch' / 'run.sh').write_text('printf "%s\\n" "$@"')
    stand_in(
        tmp_path,
        'gcloud',
        'echo "$*" >&2; last="${@: -1}"; '
        f'case "$last" in --command=*run.sh*) cd {home} && bash -c "${{last#--command=}}";; esac',
    )
    process = run_script('tpu_vm.sh', tmp_path, '--config.model.head_units=(16,16)', 'a b', NAME='slice', ZONE='z')
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert out.splitlines()[-4:] == [
        '--config=configs/cifar10.py', '--workdir=runs/tpu', '--config.model.head_units=(16,16)', 'a b',
    ]  # fmt: skip
    assert out.count('--worker=all') == 4


def test_tpu_without_a_name_says_what_to_give(tmp_path):
    process = run_script('tpu_vm.sh', tmp_path)
    out, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert 'the name of the TPU, as in: NAME=my-slice' in out


def test_jobset_holds_together():
    variables, jobset = yaml.safe_load_all((LAUNCH / 'k8s_jobset.yaml').read_text())
    assert (variables['apiVersion'], variables['kind']) == ('v1', 'ConfigMap')
    assert (jobset['apiVersion'], jobset['kind']) == ('jobset.x-k8s.io/v1alpha2', 'JobSet')
    assert set(jobset['spec']) == {'failurePolicy', 'replicatedJobs'}
    data = variables['data']
    assert all(isinstance(value, str) for value in data.values())
    (workers,) = jobset['spec']['replicatedJobs']
    assert workers['replicas'] == 1
    job = workers['template']['spec']
    hosts = int(data['JAX_NUM_PROCESSES'])
    assert job['parallelism'] == job['completions'] == hosts
    assert job['completionMode'] == 'Indexed'
    pod = job['template']['spec']
    # A policy for exit codes is refused with any other restart policy.
    assert pod['restartPolicy'] == 'Never'
    (worker,) = pod['containers']
    (rule,) = job['podFailurePolicy']['rules']
    wanted = {'containerName': worker['name'], 'operator': 'In', 'values': [endings.EXIT_USER_ERROR]}
    assert rule == {'action': 'FailJob', 'onExitCodes': wanted}
    (policy,) = jobset['spec']['failurePolicy']['rules']
    assert policy['action'] == 'FailJobSet'
    assert policy['onJobFailureReasons'] == ['PodFailurePolicy']
    assert worker['envFrom'] == [{'configMapRef': {'name': variables['metadata']['name']}}]
    names = [name for word in worker['args'] for name in re.findall(r'\$\((\w+)\)', word)]
    assert set(names) <= set(data)
    assert {mount['name'] for mount in worker['volumeMounts']} == {volume['name'] for volume in pod['volumes']}
    name = jobset['metadata']['name']
    host, port = data['JAX_COORDINATOR_ADDRESS'].split(':')
    assert host == f'{name}-{workers["name"]}-0-0.{name}'
    assert worker['ports'] == [{'containerPort': int(port)}]
    # What the pods get makes a job for the program, once Kubernetes has numbered them.
    for i in range(hosts):
        found = launcher.given_job('', None, None, {**data, 'JOB_COMPLETION_INDEX': str(i)})
        assert found == launcher.Job(f'{host}:{port}', hosts, i)


def test_dockerfile_copies_what_there_is_and_names_no_host():
    text = (LAUNCH / 'Dockerfile').read_text()
    copied = [words.split()[:-1] for words in re.findall(r'^COPY (.*)$', text, re.MULTILINE)]
    assert copied
    for path in (path for paths in copied for path in paths):
        assert (ROOT / path).exists(), path
    # All that the package's installation reads is among them.
    assert {'pyproject.toml', 'setup.cfg', 'README.md'} <= {path for paths in copied for path in paths}
    declared = re.findall(r'^ARG (\w+)', text, re.MULTILINE)
    assert set(re.findall(r'\$\{(\w+)\}', text)) <= set(declared)
    assert text.index('ARG BASE_IMAGE') < text.index('FROM ${BASE_IMAGE}') < text.index('ARG JAX_EXTRA')


@pytest.mark.parametrize('file', STARTERS, ids=lambda p: p.name)
def test_no_package_registry_is_named(file):
    assert not re.search(r'https?://|pypi|\.io/|docker\.com|nvcr', file.read_text().replace('k8s.io/v1alpha2', ''))
