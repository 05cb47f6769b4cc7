"""Starting the real entry point in a process of its own, as a user does."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import time
import unittest.mock
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from failpred_jax import main

# The variable with the flag for quick compilation, where tests/conftest.py wants that.
COMPILING = 'FAILPRED_TESTS_XLA_FLAGS'
ROOT = Path(__file__).parents[2]
STAGES = ('baseline', 'confidence', 'finetune')
# Where kaleido looks for one: a report's PNGs take longer than a tiny run, and a kill leaves theirs behind.
NO_BROWSER = {'BROWSER_PATH': '/nonexistent'}
NO_TENSORFLOW = Path(__file__).parent / 'no_tensorflow'
# The port that discards: a connection is refused at once.
NO_NETWORK = dict.fromkeys(
    ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'), 'http://127.0.0.1:9'
)

# A run of seconds, with all three stages.
TINY = (
    '--config=configs/digits.py',
    '--config.model.mlp.hidden_units=16',
    '--config.model.head_units=(16,16)',
    '--config.baseline.epochs=3',
    '--config.baseline.eval_every_epochs=1',
    '--config.confidence.epochs=3',
    '--config.confidence.eval_every_epochs=1',
    '--config.finetune.epochs=3',
    '--config.finetune.eval_every_epochs=1',
    '--config.evaluate.resamples=50',
    '--config.evaluate.scores=mcp,tcp,confidnet,confidnet_finetuned,mc_dropout',
    '--config.evaluate.mc_samples=4',
)

# Every chunk is one step and is followed by a checkpoint, so that whatever happens to a run falls between two.
SLOW = ('--config.run.checkpoint_seconds=0.0001', '--config.run.chunk_seconds=0.0001')


def environment(num_devices: int, tensorflow: bool, browser: bool, platform: str = 'cpu') -> dict[str, str]:
    """Return the environment of a process with so many fake devices, perhaps without tensorflow, and no network."""
    given = os.environ | {
        'XLA_FLAGS': f'--xla_force_host_platform_device_count={num_devices} {os.environ.get(COMPILING, "")}',
        'JAX_PLATFORMS': platform,
        **NO_NETWORK,
    }
    if not tensorflow:
        given['PYTHONPATH'] = os.pathsep.join(filter(None, [str(NO_TENSORFLOW), os.environ.get('PYTHONPATH')]))
    if not browser:
        given |= NO_BROWSER
    return given


def start(
    *words: str, num_devices: int = 8, tensorflow: bool = False, browser: bool = False, platform: str = 'cpu'
) -> subprocess.Popen:
    """Start `python -m failpred_jax.main` from the repository's root.

    Most runs go without tensorflow and a browser: it must work, and these take longer than the rest of a tiny run.
    """
    return subprocess.Popen(
        [sys.executable, '-m', 'failpred_jax.main', *words],
        cwd=ROOT,
        env=environment(num_devices, tensorflow, browser, platform),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def job(*words: str, num_processes: int = 2, num_devices: int = 4) -> Iterator[list[subprocess.Popen]]:
    """Start the processes of one job on this machine, as `start` does, and leave none behind."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    place = (f'--coordinator_address=127.0.0.1:{port}', f'--num_processes={num_processes}')
    processes = [start(*words, *place, f'--process_id={i}', num_devices=num_devices) for i in range(num_processes)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def ends(processes: list[subprocess.Popen], timeout: float = 300) -> list[tuple[int, str, str]]:
    """Return (exit code, output, errors) of each process, once all have ended."""
    texts = [process.communicate(timeout=timeout) for process in processes]
    return [(process.returncode, *text) for process, text in zip(processes, texts, strict=True)]


def wait_for_checkpoint(process: subprocess.Popen, folder: Path, at_least: int) -> None:
    """Wait until a checkpoint of at least this step is there."""
    for _ in range(15_000):
        if any(int(p.name) >= at_least for p in folder.glob('0*') if p.name.isdigit()):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError(f'no checkpoint {at_least} in {folder}')


def run(*words: str, **how: Any) -> subprocess.CompletedProcess:
    """Run `python -m failpred_jax.main` to its end, started as `start` does."""
    process = start(*words, **how)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def run_well(*words: str, **how: Any) -> str:
    """Run it, expect success, and return what it printed."""
    done = run(*words, **how)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_here(*words: str) -> tuple[int, str, str]:
    """Run the program in this process, which starts nothing and compiles little; return (exit code, output, errors).

    For what does not depend on a process of its own. Config files are found from the repository's root.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        unittest.mock.patch.dict(os.environ, NO_BROWSER),
    ):
        code = main.main(['failpred', *words])
    return code, out.getvalue(), err.getvalue()


def run_well_here(*words: str) -> str:
    """Run it in this process, expect success, and return what it printed."""
    code, out, err = run_here(*words)
    assert code == 0, err
    return out


def run_well_alike(*words: str) -> str:
    """Run it compiled as other processes here compile it, which its bits depend on; return what it printed.

    That is in this process, but with --long, when processes compile as a user's do, in one of its own.
    """
    return run_well_here(*words) if COMPILING in os.environ else run_well(*words)


def final_digests(workdir: Path) -> dict[str, str]:
    """Return the digest of each stage's last state."""
    digests = {}
    for stage in STAGES:
        step = json.loads((workdir / stage / 'result.json').read_text())['step']
        file = workdir / stage / 'checkpoints' / f'{step:08d}' / 'progress' / 'metadata'
        digests[stage] = json.loads(file.read_text())['digest']
    return digests
