"""A run that is killed, stopped or damaged goes on where it was and ends with the same bits."""

import json
import shutil
import signal

import numpy as np
from e2e.command import SLOW, STAGES, TINY, final_digests, run_well, run_well_alike, start, wait_for_checkpoint

from failpred_jax.files import read_npz


def test_killed_in_every_stage_and_resumed_it_ends_the_same(finished, tmp_path):
    workdir = tmp_path / 'run'
    for stage in STAGES:
        process = start(*TINY, *SLOW, f'--workdir={workdir}')
        wait_for_checkpoint(process, workdir / stage / 'checkpoints', at_least=20)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (workdir / stage / 'result.json').exists()
    out = run_well(*TINY, f'--workdir={workdir}', tensorflow=False)
    # Unlike the run that nobody stopped, it went without tensorflow, which it says.
    assert out.count('TensorBoard events are not written') == 1
    assert 'pip install tensorflow-cpu tensorboard' in out
    whole, _ = finished
    assert final_digests(workdir) == final_digests(whole)
    ours, theirs = (read_npz(w / 'evaluation' / 'predictions.npz') for w in (workdir, whole))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert np.array_equal(value, theirs[name], equal_nan=value.dtype.kind == 'f'), name
    metrics = [json.loads((w / 'evaluation' / 'metrics.json').read_text()) for w in (workdir, whole)]
    assert metrics[0] == metrics[1]


def test_sigterm_saves_and_says_how_to_go_on(tmp_path):
    workdir = tmp_path / 'run'
    words = (*TINY, *SLOW, f'--workdir={workdir}', '--config.baseline.epochs=5000', '--mode=train')
    process = start(*words)
    wait_for_checkpoint(process, workdir / 'baseline' / 'checkpoints', at_least=2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 75
    assert 'the same command goes on from there' in err
    assert 'Traceback' not in err


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(finished, tmp_path):
    workdir = tmp_path / 'run'
    shutil.copytree(finished[0], workdir)
    # As if the run had died right after the last checkpoint of the last stage, and the disk had eaten a part of it.
    (workdir / 'finetune' / 'result.json').unlink()
    last = workdir / 'finetune' / 'checkpoints' / '00000045'
    # Every file of the arrays, all along: a single byte may lie where orbax keeps what nobody reads.
    for victim in (f for f in last.rglob('*') if f.is_file() and 'state' in f.parts):
        content = np.frombuffer(victim.read_bytes(), np.uint8).copy()
        content[::16] ^= 0xFF
        victim.write_bytes(content.tobytes())
    out = run_well_alike(*TINY, f'--workdir={workdir}', '--mode=train')
    assert 'it was set aside, and the run goes on from step 30' in out
    assert (last.parent / '00000045.damaged').is_dir()
    assert final_digests(workdir) == final_digests(finished[0])
