"""Killing a run again and again at random moments, and comparing what it ends with; for test_kill.py and the benchmark.

A kill aims at a phase of the run and falls at a random moment after that phase began, so that short phases are hit as
often as long ones, on a slow machine too.
"""

import csv
import json
import subprocess
import time
from pathlib import Path

import numpy as np
from e2e.command import SLOW, STAGES, TINY, final_digests, start

from failpred_jax.files import read_npz

WORDS = (*TINY, *SLOW, *(f'--config.{stage}.epochs=1' for stage in STAGES))
# Phase -> the file whose writing ends it, in order.
ENDS = {
    'start': 'environment.json',
    'baseline': 'baseline/result.json',
    'confidence': 'confidence/result.json',
    'finetune': 'finetune/result.json',
    'evaluation': 'evaluation/metrics.json',
    'report': 'report/index.html',
}
PHASES = tuple(ENDS)


def run_whole(workdir: Path) -> dict[str, float]:
    """Run without a kill; return how long each phase took, in seconds."""
    began = time.time()
    _finish(workdir)
    times = [began, *((workdir / file).stat().st_mtime for file in ENDS.values())]
    return dict(zip(PHASES, np.diff(times), strict=True))


def kill_once(workdir: Path, phase: str, delay: float) -> str:
    """Start the run, kill it `delay` seconds after `phase` began or it came back to it; return the phase it died in.

    'done' is returned for a run that was faster.
    """
    began = time.time()
    process = start(*WORDS, f'--workdir={workdir}', num_devices=1)
    while process.poll() is None and PHASES.index(_phase(workdir, began)) < PHASES.index(phase):
        time.sleep(0.005)
    try:
        process.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        process.kill()
    _, err = process.communicate()
    assert process.returncode in (0, -9), err
    return 'done' if process.returncode == 0 else _phase(workdir, began)


def kill_and_resume(workdir: Path, kills: list[tuple[str, float]]) -> list[str]:
    """Kill a run at each of (phase, delay), then let it end; return where each kill fell."""
    fell = [kill_once(workdir, phase, delay) for phase, delay in kills]
    _finish(workdir)
    return fell


def draw_kills(rng: np.random.Generator, number: int, lengths: dict[str, float]) -> list[tuple[str, float]]:
    """Return (phase, delay) of `number` kills, in the order of the phases."""
    phases = [PHASES[i] for i in sorted(rng.integers(0, len(PHASES), number))]
    return [(phase, float(rng.uniform(0, lengths[phase]))) for phase in phases]


def differences(workdir: Path, whole: Path) -> list[str]:
    """Return what a run ended with that differs from another's, in any bit; times are left out."""
    found = []
    if final_digests(workdir) != final_digests(whole):
        found.append('final states')
    ours, theirs = (json.loads((w / ENDS['evaluation']).read_text()) for w in (workdir, whole))
    if ours != theirs:
        found.append('metrics.json')
    for name in ('evaluation/predictions.npz', 'split.npz'):
        ours, theirs = (read_npz(w / name) for w in (workdir, whole))
        if ours.keys() != theirs.keys() or any(ours[k].tobytes() != theirs[k].tobytes() for k in ours):
            found.append(name)
    for stage in STAGES:
        if _curve(workdir / stage / 'metrics.csv') != _curve(whole / stage / 'metrics.csv'):
            found.append(f'{stage}/metrics.csv')
    if list(workdir.rglob('.*.unfinished')):
        found.append('unfinished files')
    return found


def _curve(file: Path) -> list[dict[str, str]]:
    with file.open(newline='') as lines:
        return [{k: v for k, v in row.items() if k != 'seconds'} for row in csv.DictReader(lines)]


def _finish(workdir: Path) -> None:
    process = start(*WORDS, f'--workdir={workdir}', num_devices=1)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def _phase(workdir: Path, began: float) -> str:
    """Return the phase of a run that was started at `began`: the first whose end it has not written."""
    for phase, file in ENDS.items():
        path = workdir / file
        # A resumed run starts and reports again; what is trained or evaluated is not done again.
        if not path.exists() or (phase in ('start', 'report') and path.stat().st_mtime < began):
            return phase
    return PHASES[-1]
