"""Whole runs that several files look at: each is made once, whichever worker needs it first."""

import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e.command import TINY, run_well

from failpred_jax import compiler, session
from failpred_jax.decided import decide_run

FEW = ('mcp', 'confidnet')
# Heads, dropout, fits and what combines them; test_fits.py has the other kinds of fits.
EVALUATED = (
    'mcp', 'tcp', 'confidnet', 'confidnet_finetuned', 'mc_dropout', 'temperature_mcp', 'knn_distance', 'fusion',
)  # fmt: skip


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that the first worker that needs it makes, while others wait. Copy what you change."""
    base = factory.getbasetemp()
    # Each worker of pytest-xdist has a folder of its own within one for all.
    folder = (base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base) / name
    with folder.with_suffix('.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / 'made').exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / 'made').touch()
    return folder


def make_finished(folder: Path) -> None:
    """Make a run that nobody stopped, and keep what it printed."""
    out = run_well(*TINY, f'--workdir={folder / "run"}', tensorflow=True, browser=True)
    (folder / 'out.txt').write_text(out)


def make_everything(finished: Path, folder: Path) -> None:
    """Make a copy of that run in which more scores are evaluated."""
    shutil.copytree(finished, folder / 'run', ignore=shutil.ignore_patterns('tensorboard', 'report'))
    config = json.loads((folder / 'run' / 'config.json').read_text())
    config['evaluate'] |= {'scores': EVALUATED, 'resamples': 0}
    with pytest.MonkeyPatch.context() as patch:
        # The cache of compilations is for users.
        patch.setattr(compiler, 'keep_compilations', lambda: None)
        with session.opened(config, folder / 'run') as run:
            run.evaluate()
            decide_run(folder / 'run', dataclasses.replace(run.config.decide, score='confidnet'))
