"""Several processes, as on several hosts: they find the same, end together, and none is left waiting."""

import json
import signal

import numpy as np
import pytest
from e2e.command import SLOW, TINY, ends, job, run, wait_for_checkpoint

from failpred_jax.files import read_npz

# What process 0 has to say appears once in a job; XLA's own lines about its connections are not ours.
FOREIGN = '[Gloo]'


def said(output: str) -> str:
    return '\n'.join(line for line in output.splitlines() if line.strip() and FOREIGN not in line)


@pytest.mark.long
def test_two_processes_of_four_devices_find_what_one_of_eight_finds(finished, tmp_path):
    """Trained, evaluated with a last batch that is not full, and written by one of them alone."""
    workdir = tmp_path / 'run'
    with job(*TINY, f'--workdir={workdir}') as processes:
        main, other = ends(processes)
    assert (main[0], other[0]) == (0, 0), main[2] + other[2]
    assert '8 cpu devices in 2 processes' in main[1]
    assert f'report: {workdir / "report" / "index.html"}' in main[1]
    assert 'connected peer ranks' in other[1] + other[2]
    assert 'report' not in said(other[1])
    whole, _ = finished
    ours, theirs = (read_npz(w / 'evaluation' / 'predictions.npz') for w in (workdir, whole))
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)
    ours, theirs = (json.loads((w / 'evaluation' / 'metrics.json').read_text()) for w in (workdir, whole))
    assert ours['classifier']['num_units'] == theirs['classifier']['num_units'] == 898
    assert ours['classifier']['num_errors'] == theirs['classifier']['num_errors']
    for name, found in theirs['scores'].items():
        for metric in ('auroc', 'aurc', 'aupr_error', 'fpr_at_95tpr'):
            np.testing.assert_allclose(ours['scores'][name][metric], found[metric], rtol=1e-3, err_msg=name)
    assert not list(workdir.rglob('.*.unfinished'))


@pytest.mark.long
def test_a_signal_to_one_stops_all_and_one_that_dies_takes_the_others_down(tmp_path):
    workdir = tmp_path / 'run'
    words = (*TINY, *SLOW, f'--workdir={workdir}', '--config.baseline.epochs=5000', '--mode=train')
    checkpoints = workdir / 'baseline' / 'checkpoints'
    with job(*words) as processes:
        wait_for_checkpoint(processes[0], checkpoints, at_least=2)
        processes[1].send_signal(signal.SIGTERM)
        ended = ends(processes, timeout=60)
    for code, _, err in ended:
        assert code == 75
        assert 'the same command goes on from there' in err
    for victim, survivor in ((1, 0), (0, 1)):
        reached = max(int(p.name) for p in checkpoints.glob('0*') if p.name.isdigit())
        with job(*words) as processes:
            wait_for_checkpoint(processes[0], checkpoints, at_least=reached + 1)
            processes[victim].kill()
            # It is missed at once here, and after devices.HEARTBEAT_SECONDS where a whole host went away.
            code, _, err = ends(processes, timeout=90)[survivor]
        assert code not in (0, 2, 75)
        assert 'this process cannot go on' in err or 'another task died' in err


def test_what_stops_process_0_stops_the_others_with_its_message(tmp_path):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with job(*TINY, f'--workdir={tmp_path}') as processes:
        main, other = ends(processes)
    assert main[0] == other[0] == 2
    assert main[2].count('error: the WORKDIR ') == 1
    assert 'error: process 1: process 0 stopped: the WORKDIR ' in other[2]
    assert 'Traceback' not in main[2] + other[2]


def test_processes_that_do_not_come_are_not_waited_for_forever(tmp_path):
    for process_id in (0, 1):
        done = run(
            *TINY, f'--workdir={tmp_path / "run"}', '--coordinator_address=127.0.0.1:9', '--num_processes=2',
            f'--process_id={process_id}', '--wait_seconds=2',
        )  # fmt: skip
        assert done.returncode == 2
        assert f'error: process {process_id} did not meet the other 1 at 127.0.0.1:9 within 2 s' in done.stderr
        assert not (tmp_path / 'run').exists()
