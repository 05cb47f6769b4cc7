"""How signals end a run, in processes of their own that do nothing else."""

import signal
import subprocess
import sys

import pytest

from failpred_jax.stopping import EXIT_STOPPED, GRACE_SECONDS, Stop, Stopped

START = """
import contextlib, signal, sys, time
from failpred_jax import stopping
stopping.GRACE_SECONDS = 0.5
stop = stopping.Stop()
try:
    with stop.on_signal(), {block}:
        print('up', flush=True)
        for _ in range({rounds}):
            time.sleep(0.05)
            if {looks} and stop.requested():
                sys.exit('saved')
except stopping.Stopped as error:
    sys.exit(f'stopped: {{error}}')
print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
"""


def start(**how):
    process = subprocess.Popen(
        [sys.executable, '-c', START.format(**{'block': 'stop.deferred()', 'looks': True, 'rounds': 1200} | how)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'up\n'
    return process


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_training_looks_and_saves(number):
    process = start()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert err.splitlines() == [f'{number.name}: saving, then stopping', 'saved']


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_what_has_nothing_to_save_stops_at_once(number):
    process = start(block='contextlib.nullcontext()', looks=False)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert err.startswith(f'stopped: {number.name}: nothing was being trained')


def test_what_never_looks_is_ended_in_time_all_the_same():
    process = start(looks=False)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == EXIT_STOPPED
    assert 'the same command goes on from the last one' in err
    assert GRACE_SECONDS < 30


def test_without_a_signal_nothing_happens_and_the_handlers_are_given_back():
    process = start(rounds=1)
    out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ('True\n', '', 0)


def test_a_stop_is_not_caught_as_an_error():
    stop = Stop()
    assert not stop.requested()
    stop.request()
    assert stop.requested()
    assert not issubclass(Stopped, Exception)
