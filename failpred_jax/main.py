"""The program: finds the command that the command line names, runs it, and turns errors into messages."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence

from failpred_jax import __version__, command_line, terminal
from failpred_jax.errors import AlarmRaised, UserError
from failpred_jax.stopping import EXIT_STOPPED, Stopped

EXIT_OUR_ERROR, EXIT_USER_ERROR = 1, 2
EXIT_ALARM = 3  # of a monitor; everything else is done
EXIT_KILLED, EXIT_NO_READER = 130, 141  # what a shell reports for SIGINT and SIGPIPE
# What launchers set for each of several processes; launcher.py reads what they mean.
_JOB = (
    'JAX_COORDINATOR',
    'JAX_NUM_PROC',
    'JAX_PROCESS',
    'JOB_COMPLETION_INDEX',
    'SLURM_',
    'TPU_WORKER_',
    'CLOUD_TPU_TASK_ID',
)
# A disk that is full, read-only, forbidden or failing, and a file where a folder must be (or the other way round), are
# for the user to fix; any other OSError is a bug of ours.
DISK_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EEXIST,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ESTALE, errno.EBUSY,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (the process's own, if none is given) and return its exit code."""
    argv = sys.argv if argv is None else argv
    terminal.never_fail_to_print()
    try:
        if any(word in command_line.HELP for word in argv[1:]):
            print(command_line.help_text(), flush=True)
        elif '--version' in argv[1:]:
            print(f'failpred_jax {__version__}', flush=True)
        else:
            _run(argv)
    except (Exception, Stopped, KeyboardInterrupt) as error:
        code, kind, text = _explained(error)
        if code == EXIT_OUR_ERROR:
            _end_of_one_of_several()
            raise
        terminal.tell(kind, _process_name(), text)
        return _leave(code, is_agreed=False)
    return _leave(0, is_agreed=True)


def _run(argv: Sequence[str]) -> None:
    # A program may read what another command prints.
    is_run = not any(word.startswith('--mode') for word in argv)
    if _is_alone(argv) and (is_run or sys.stdout.isatty()):
        # jax and all that owns options take seconds to import; until then nobody else says a word.
        print(f'failpred_jax {__version__} starts', flush=True)
    command, given = command_line.parse(argv)
    if command.needs_jax:
        # jax and all rooms load from here on, so that --help and a misspelled flag answer at once.
        from failpred_jax import processes

        processes.join(*(given.flags[flag.name] for flag in command_line.JOB))
    command.run(given)


def _is_alone(argv: Sequence[str]) -> bool:
    """Return whether nothing says that this process is one of several, of which one alone speaks."""
    flags = tuple(f'--{flag.name}' for flag in command_line.JOB)
    return not any(word.startswith(flags) for word in argv) and not any(name.startswith(_JOB) for name in os.environ)


def _explained(error: BaseException) -> tuple[int, str, str]:
    """Return (exit code, kind of message, message) for what ended the program."""
    match error:
        case UserError():
            return EXIT_USER_ERROR, 'error', str(error)
        case AlarmRaised():
            return EXIT_ALARM, 'alarm', str(error)
        case Stopped():
            return EXIT_STOPPED, 'stopped', str(error)
        case KeyboardInterrupt():
            return EXIT_KILLED, 'stopped at once', 'run the same command again to continue from the last checkpoint'
        case BrokenPipeError():
            return EXIT_NO_READER, 'stopped', 'the reader of the output is gone; run the same command again to continue'
        case OSError(errno=number) if number in DISK_ERRORS:
            where = f" '{error.filename}'" if error.filename else ''
            return (
                EXIT_USER_ERROR,
                'error',
                (f'cannot write{where}: {error.strerror}; fix this and rerun; earlier files are intact'),
            )
        case _ if terminal.is_out_of_memory(error):
            return EXIT_USER_ERROR, 'error', terminal.OUT_OF_MEMORY.format(terminal.first_line(error))
    return EXIT_OUR_ERROR, '', ''


def _process_name() -> str:
    processes = sys.modules.get('failpred_jax.processes')
    return processes.process_name() if processes else ''


def _leave(code: int, is_agreed: bool) -> int:
    """Return `code` once this process has left its job of several, if it is in one."""
    processes = sys.modules.get('failpred_jax.processes')
    if processes:
        processes.leave(code, is_agreed)
    return code


def _end_of_one_of_several() -> None:
    """In a job of several processes, say what is being raised and end, or the others would wait; else do nothing."""
    processes = sys.modules.get('failpred_jax.processes')
    if processes and processes.is_one_of_several():
        traceback.print_exc()
        terminal.tell('error', processes.process_name(), terminal.LOST_IN_JOB)
        processes.leave_at_once(EXIT_OUR_ERROR)


if __name__ == '__main__':
    sys.exit(main())
