"""What is told of work that takes a while, and to whom."""

import io
import sys
import time

import pytest

from failpred_jax import console


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def work(seconds, monkeypatch):
    """Do something that the clock says took so long, in a phase of ten steps."""
    times = iter([0.0, seconds])
    monkeypatch.setattr(console.time, 'monotonic', lambda: next(times))
    with console.phase('resampling', 10, 'resamples') as phase:
        phase.add(4)
        time.sleep(5 * console._REFRESH_SECONDS)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(console, '_REFRESH_SECONDS', 0.01)


@pytest.mark.parametrize(('seconds', 'told'), [(1.9, ''), (3.2, 'resampling: 3 s\n')])
def test_a_pipe_gets_one_line_of_what_took_long(seconds, told, monkeypatch, capsys):
    heard, outer = {}, {'resampling': 1.0}
    with console.listen(outer), console.listen(heard):
        work(seconds, monkeypatch)
    assert capsys.readouterr().out == told
    assert heard == {'resampling': seconds}
    assert outer == {'resampling': 1 + seconds}
    assert not console._listeners


def test_a_terminal_sees_how_far_it_is_and_how_long_yet(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, 'stderr', terminal)
    monkeypatch.setattr(console, 'TOLD_SECONDS', 0.0)
    work(9.0, monkeypatch)
    shown = terminal.getvalue().split('\r')
    assert any('resampling:  40% |' in line and '4/10 resamples' in line and 'left' in line for line in shown), shown
    assert not shown[-1].strip()
    assert capsys.readouterr().out == ''


def test_work_that_fails_ends_its_bar_and_is_not_told_as_done(monkeypatch, capsys):
    heard = {}
    with pytest.raises(ValueError, match='no'), console.listen(heard), console.phase('trying'):
        raise ValueError('no')
    assert capsys.readouterr().out == ''
    assert list(heard) == ['trying']
