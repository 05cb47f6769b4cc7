"""The program: finds the command that the command line names, runs it, and turns errors into messages."""

import atexit
import importlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from failpred_jax import __version__, command_line, endings, launcher, terminal
from failpred_jax.stopping import Stopped, ends_at_interrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (the process's own, if none is given) and return its exit code."""
    argv = sys.argv if argv is None else argv
    terminal.never_fail_to_print()
    is_help = any(word in command_line.HELP for word in argv[1:])
    try:
        if is_help:
            print(command_line.help_text(), flush=True)
        elif '--version' in command_line.with_two_dashes(argv[1:]):
            print(f'failpred_jax {__version__}', flush=True)
        else:
            _run([*argv[:1], *command_line.with_two_dashes(argv[1:])])
    except (Exception, Stopped, KeyboardInterrupt) as error:
        ending = endings.explained(error)
        if ending is None:
            endings.end_of_one_of_several()
            raise
        if is_help and isinstance(error, BrokenPipeError):
            # `--help | head` has read what it wanted.
            return endings.leave(ending.code, is_agreed=False)
        return endings.leave_after(ending)
    return endings.leave(0, is_agreed=True)


def run() -> NoReturn:
    """Run the process's command line and end the process."""
    code = main()
    # As Python itself ends, in its order: pools of threads are told to end before they are waited for.
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]: there is no public name for it
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or endings.EXIT_NOT_FLUSHED
    # Past Python's own end: while the libraries below are taken down some of their threads still run, and once in a
    # while that aborted a process whose work and last message were done, in place of its exit code. It would also look
    # through all objects for cycles, which takes half a second.
    os._exit(code)


def _run(argv: Sequence[str]) -> None:
    # A program may read what another command prints.
    is_run = not any(word.startswith('--mode') for word in argv)
    if launcher.is_alone(argv, os.environ) and (is_run or sys.stdout.isatty()):
        # jax and all that owns options take seconds to import; until then nobody else says a word.
        print(f'failpred_jax {__version__} starts', flush=True)
    with ends_at_interrupt('stopped at once: run the same command again', endings.EXIT_KILLED):
        command, given = command_line.parse(argv)
        # jax and all rooms load from here on, so that --help and a misspelled flag answer at once.
        processes = importlib.import_module('failpred_jax.processes') if command.needs_jax else None
    if processes is not None:
        processes.join(*(given.flags[flag.name] for flag in command_line.JOB))
    command.run(given)


if __name__ == '__main__':
    run()
