"""How the program ends: its exit code, its last message, and how it leaves a job of several processes.

Imports nothing slow: a misspelled flag ends the program before jax is loaded.
"""

import errno
import sys
import traceback
from typing import NamedTuple

from failpred_jax import terminal
from failpred_jax.errors import AlarmRaised, UserError
from failpred_jax.stopping import EXIT_STOPPED, Stopped

EXIT_OUR_ERROR, EXIT_USER_ERROR = 1, 2
EXIT_ALARM = 3  # of a monitor; everything else is done
EXIT_KILLED, EXIT_NO_READER = 130, 141  # what a shell reports for SIGINT and SIGPIPE
EXIT_NOT_FLUSHED = 120  # as Python's, where the last of the output cannot be written
# A disk that is full, read-only, forbidden or failing, and a file where a folder must be (or the other way round), are
# for the user to fix; any other OSError is a bug of ours.
DISK_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EEXIST,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ESTALE, errno.EBUSY,
)  # fmt: skip


class Ending(NamedTuple):
    """The exit code, and the last message: what kind it is, and what it says."""

    code: int
    kind: str
    text: str


def explained(error: BaseException) -> Ending | None:
    """Return how an exception ends the program; None for one that is a bug of ours and keeps its traceback."""
    match error:
        case UserError():
            return Ending(EXIT_USER_ERROR, 'error', str(error))
        case AlarmRaised():
            return Ending(EXIT_ALARM, 'alarm', str(error))
        case Stopped():
            return Ending(EXIT_STOPPED, 'stopped', str(error))
        case KeyboardInterrupt():
            again = 'run the same command again to continue from the last checkpoint'
            return Ending(EXIT_KILLED, 'stopped at once', again)
        case BrokenPipeError():
            gone = 'the reader of the output is gone; run the same command again to continue'
            return Ending(EXIT_NO_READER, 'stopped', gone)
        case OSError(errno=number) if number in DISK_ERRORS:
            where = f" '{error.filename}'" if error.filename else ''
            text = f'cannot write{where}: {error.strerror}; fix this and rerun; earlier files are intact'
            return Ending(EXIT_USER_ERROR, 'error', text)
        case _ if terminal.is_out_of_memory(error):
            return Ending(EXIT_USER_ERROR, 'error', terminal.OUT_OF_MEMORY.format(terminal.first_line(error)))
    return None


def leave_after(ending: Ending) -> int:
    """Say how the program ends, leave the job of several processes if it is in one, and return the exit code."""
    # A process that has not loaded this module yet is in no job.
    processes = sys.modules.get('failpred_jax.processes')
    terminal.tell(ending.kind, processes.process_name() if processes else '', ending.text)
    return leave(ending.code, is_agreed=False)


def leave(code: int, is_agreed: bool) -> int:
    """Return `code` once this process has left its job of several, if it is in one."""
    processes = sys.modules.get('failpred_jax.processes')
    if processes:
        processes.leave(code, is_agreed)
    return code


def end_of_one_of_several() -> None:
    """In a job of several processes, say what is being raised and end, or the others would wait; else do nothing."""
    processes = sys.modules.get('failpred_jax.processes')
    if processes and processes.is_one_of_several():
        traceback.print_exc()
        terminal.tell('error', processes.process_name(), terminal.LOST_IN_JOB)
        processes.leave_at_once(EXIT_OUR_ERROR)
