"""One call of a monitor on a file or a pipe: state in, units, state and reports out."""

import contextlib
import fcntl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from failpred_jax.apply import Policy
from failpred_jax.errors import NoRowsError, UserError
from failpred_jax.monitor.chunks import read_chunks
from failpred_jax.monitor.columns import Rows, Signature, unknown_groups
from failpred_jax.monitor.counted import UNKNOWN, Digest, find_counted, with_file
from failpred_jax.monitor.monitor import Monitor
from failpred_jax.monitor.options import Options
from failpred_jax.monitor.output import Table, write_prometheus
from failpred_jax.monitor.reference import read_policy_and_reference
from failpred_jax.monitor.state import load, save
from failpred_jax.monitor.window import Window
from failpred_jax.readers.reading import PIPE
from failpred_jax.stopping import Stop, Stopped

MOST_UNKNOWN = 1000


class Ended(NamedTuple):
    """What a call leaves.

    Attributes:
      monitor: after it.
      num_new: windows that were completed.
      num_repeated: rows at the beginning of the file that were counted in an earlier call.
      num_rows: rows that were counted in this call.
      left: the last line of the file where it does not end with a newline, which is left for the next call; or ''.
      num_late: labels of the repeated rows that were not there when these were counted; they are not counted.
      columns: of the stream, as they are written.
      unknown: groups in it that the policy has no threshold for; from MOST_UNKNOWN on, perhaps not all.
    """

    monitor: Monitor
    num_new: int
    num_repeated: int = 0
    num_rows: int = 0
    left: str = ''
    num_late: int = 0
    columns: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


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
    if state.suffix != '.json':
        raise UserError(f"--state is '{state}'; name a file that ends with .json")
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--state is '{state}', but '{error.filename}' is no folder; name another place") from error
    with _locked(state):
        monitor = _opened(policy, state, asked)
        before, rows_before, found = monitor.num_windows, monitor.num_rows, _Found()
        table = Table(state.with_suffix('.csv'), monitor.num_windows)
        if str(stream) == PIPE:
            _follow(monitor, stream, state, table, found)
        else:
            _commit(monitor, _take_file(monitor, stream, found), state, table)
        return Ended(
            monitor,
            monitor.num_windows - before,
            found.num_repeated,
            monitor.num_rows - rows_before,
            found.left[-1] if found.left else '',
            found.num_late,
            tuple(found.columns),
            tuple(sorted(found.unknown)),
        )


def _opened(policy: Path, state: Path, asked: dict) -> Monitor:
    if not state.exists():
        return Monitor(*read_policy_and_reference(policy), Options(**asked))
    monitor = load(state, policy)
    wanted = Options(**{**monitor.options.to_json(), 'alarms': monitor.options.alarms, **asked})
    return load(state, policy, wanted) if wanted != monitor.options else monitor


@dataclass
class _Found:
    """What is found in a stream besides its windows; see `Ended`."""

    num_repeated: int = 0
    num_late: int = 0
    left: list[str] = field(default_factory=list)
    # A set that keeps its order.
    columns: dict[str, None] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def look(self, arrays: Mapping[str, Any], policy: Policy) -> None:
        """Take note of the columns and groups in a part of the stream."""
        self.columns |= dict.fromkeys(arrays)
        # Enough to tell; what is kept does not grow with the stream.
        if len(self.unknown) < MOST_UNKNOWN:
            self.unknown |= unknown_groups(arrays, policy)


def _take_file(monitor: Monitor, stream: Path, found: _Found) -> list[Window]:
    """Feed what is new in a file, and return the windows completed."""

    def parts() -> Iterator[tuple[Rows, Signature, str]]:
        with contextlib.suppress(NoRowsError):
            for arrays, where in read_chunks(stream, left=found.left, as_text=_names(monitor)):
                found.look(arrays, monitor.policy)
                yield *monitor.read(arrays, where), where

    # A file is read twice only where it may begin with rows that were counted.
    seen = find_counted((rows for rows, _, _ in parts()), monitor.files, f"'{stream}'") if monitor.files else None
    num_seen, digest, windows = seen.num_rows if seen else 0, Digest(), []
    labeled = np.zeros(2, np.int64)
    for rows, signature, where in parts():
        first = max(0, num_seen - digest.num_rows)
        digest.add(rows)
        has_label = ~np.isnan(rows.correct)
        labeled += np.count_nonzero(has_label[:first]), np.count_nonzero(has_label[first:])
        if first < len(rows.code):
            windows += monitor.take(rows.take(slice(first, None)), signature, where)
    again, new = map(int, labeled)
    counted = again if seen is None or seen.num_labeled == UNKNOWN else seen.num_labeled
    found.num_repeated, found.num_late = num_seen, max(0, again - counted)
    # Labels that are not counted stay late.
    monitor.files = with_file(monitor.files, digest.taken(counted + new), seen)
    return windows


def _follow(monitor: Monitor, stream: Path, state: Path, table: Table, found: _Found) -> None:
    """Feed a pipe, and save whenever a window is complete."""
    stop = Stop()
    try:
        with stop.on_signal(), stop.deferred(), contextlib.suppress(NoRowsError):
            for arrays, where in read_chunks(stream, stop.at_once, as_text=_names(monitor)):
                found.look(arrays, monitor.policy)
                if windows := monitor.update(arrays, where):
                    _commit(monitor, windows, state, table)
    except Stopped as stopped:
        raise Stopped('everything that was read of the pipe is saved; the same command goes on') from stopped
    finally:
        # What was read cannot be read again.
        if monitor.signature is not None:
            _commit(monitor, [], state, table)


def _names(monitor: Monitor) -> tuple[str, ...]:
    """Return the column by which the policy has thresholds, whose cells are the names of its groups."""
    return (str(monitor.policy.content.get('by')),) if monitor.policy.groups else ()


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
