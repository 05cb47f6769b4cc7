"""One call of a monitor on a file or a pipe: state in, units, state and reports out."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from failpred_jax.errors import UserError
from failpred_jax.monitor.chunks import read_chunks
from failpred_jax.monitor.monitor import Monitor
from failpred_jax.monitor.options import Options
from failpred_jax.monitor.output import Table, write_prometheus
from failpred_jax.monitor.reference import read_policy_and_reference
from failpred_jax.monitor.state import load, save
from failpred_jax.monitor.window import Window
from failpred_jax.readers.reading import PIPE
from failpred_jax.stopping import Stop, Stopped


class Ended(NamedTuple):
    """What a call leaves: the monitor, and how many windows were completed."""

    monitor: Monitor
    num_new: int


def run_monitor(policy: Path, stream: Path, state: Path, asked: dict) -> Ended:
    """Feed a stream to the monitor of a state file, which is begun if it is not there.

    The state changes at the end of a file, all or nothing, so that a call that failed or was killed can be repeated.
    Of a pipe, which cannot be read again, it is saved whenever a window is complete, and at the end.

    Args:
      policy: of policy.json, with its reference.npz beside it.
      stream: a file, or '-'.
      state: of the state; NAME.csv and NAME.prom are written beside NAME.json.
      asked: options that are asked for, by name; others are those of the state, or defaults.

    Raises:
      UserError: something given is not usable; the state is as it was (of a pipe: as before the rows that are not).
      Stopped: a signal asked to stop, and everything is saved.
    """
    if not state.parent.is_dir():
        raise UserError(f"--state is '{state}', but there is no folder '{state.parent}'; make it first")
    if state.suffix != '.json':
        raise UserError(f"--state is '{state}'; name a file that ends with .json")
    with _locked(state):
        monitor = _opened(policy, state, asked)
        before = monitor.num_windows
        table = Table(state.with_suffix('.csv'), monitor.num_windows)
        if str(stream) == PIPE:
            _follow(monitor, stream, state, table)
        else:
            windows: list[Window] = []
            for arrays, where in read_chunks(stream):
                windows += monitor.update(arrays, where)
            _commit(monitor, windows, state, table)
        return Ended(monitor, monitor.num_windows - before)


def _opened(policy: Path, state: Path, asked: dict) -> Monitor:
    if not state.exists():
        return Monitor(*read_policy_and_reference(policy), Options(**asked))
    monitor = load(state, policy)
    wanted = Options(**{**monitor.options.to_json(), 'alarms': monitor.options.alarms, **asked})
    return load(state, policy, wanted) if wanted != monitor.options else monitor


def _follow(monitor: Monitor, stream: Path, state: Path, table: Table) -> None:
    """Feed a pipe, and save whenever a window is complete."""
    stop = Stop()
    try:
        with stop.on_signal(), stop.deferred():
            for arrays, where in read_chunks(stream, stop.at_once):
                if windows := monitor.update(arrays, where):
                    _commit(monitor, windows, state, table)
    except Stopped as stopped:
        raise Stopped('everything that was read of the pipe is saved; the same command goes on') from stopped
    finally:
        # What was read cannot be read again.
        if monitor.signature is not None:
            _commit(monitor, [], state, table)


def _commit(monitor: Monitor, windows: list[Window], state: Path, table: Table) -> None:
    table.add(windows)
    save(monitor, state)
    write_prometheus(monitor, state.with_suffix('.prom'))


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Keep other calls from the same state while the block runs."""
    with state.with_name(f'.{state.name}.lock').open('a') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another call is using the state '{state}'; wait for it, or give another --state"
            ) from error
        except OSError:
            pass  # Some network file systems have no locks.
        yield
