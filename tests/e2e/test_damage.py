"""Disks that fill up or cannot be written: one message, and what was saved before stays as it is."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile

import jax
import numpy as np
import pytest
from e2e.command import ROOT, TINY, environment, final_digests, run_here, run_well_alike
from e2e.test_bad_input import content

from failpred_jax import files

SMALL_FILES_ONLY = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
runpy.run_module('failpred_jax.main', run_name='__main__')
"""


def test_a_file_that_may_not_grow_stops_the_run_which_then_goes_on(finished, tmp_path):
    """As a quota or a full disk would: the second stage's first checkpoint does not fit any more."""
    whole, _ = finished
    workdir = tmp_path / 'run'
    shutil.copytree(whole, workdir)
    for name in ('confidence', 'finetune', 'evaluation', 'report'):
        shutil.rmtree(workdir / name)
    before = content(workdir)
    words = (*TINY, f'--workdir={workdir}')
    # The config still fits; what describes a checkpoint's arrays does not.
    limit = (workdir / 'config.json').stat().st_size + 512
    done = subprocess.run(
        [sys.executable, '-c', SMALL_FILES_ONLY.format(limit=limit), *words],
        cwd=ROOT,
        env=environment(8, tensorflow=False, browser=False) | {'JAX_ENABLE_COMPILATION_CACHE': 'false'},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    assert 'checkpoint 0 could not be written to ' in done.stderr
    assert 'the same command then goes on from the last one' in done.stderr
    assert 'Traceback' not in done.stderr
    now = content(workdir)
    assert {name: now[name] for name in before if name.startswith('baseline')} == {
        name: value for name, value in before.items() if name.startswith('baseline')
    }
    run_well_alike(*words)
    assert final_digests(workdir) == final_digests(whole)


@pytest.mark.parametrize(
    'error',
    [
        MemoryError('Unable to allocate 9 GiB'),
        jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes'),
    ],
    ids=['host', 'device'],
)
def test_out_of_memory_is_one_message_and_the_workdir_is_given_back(error, tmp_path, monkeypatch):
    def train_stage(*args, **kwargs):
        raise error

    monkeypatch.setattr('failpred_jax.experiment.train_stage', train_stage)
    code, _, errors = run_here(*TINY, f'--workdir={tmp_path / "run"}')
    assert code == 2
    assert errors.startswith(f'error: out of memory ({error}); lower the batch size')
    assert errors.count('\n') == 1
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO], ids=errno.errorcode.get)
def test_a_disk_that_refuses_keeps_the_old_evaluation(number, tmp_path, monkeypatch):
    """The same evaluation again, on a disk that refuses each of its files in turn."""
    arrays = {'labels': np.arange(20) % 2, 'logits': np.eye(2)[np.arange(20) // 3 % 2]}
    np.savez(tmp_path / 'p.npz', **arrays)
    words = ('--mode=score', f'--predictions={tmp_path / "p.npz"}', f'--workdir={tmp_path / "run"}')
    monkeypatch.setattr('failpred_jax.report.export.write_pngs', lambda figures, folder: [])
    assert run_here(*words)[::2] == (0, '')
    before = content(tmp_path / 'run')
    make = tempfile.mkstemp
    for allowed in range(3):
        made = []

        def refuse(*args, made=made, allowed=allowed, **kwargs):
            made.append(kwargs)
            if len(made) > allowed:
                raise OSError(number, os.strerror(number), str(kwargs['dir']))
            return make(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(files.tempfile, 'mkstemp', refuse)
            code, _, errors = run_here(*words)
        assert code == 2
        assert os.strerror(number) in errors
        assert 'Traceback' not in errors
        assert content(tmp_path / 'run') == before
