"""How a run stops when it is asked to, by SIGTERM or SIGINT, within half a minute and with nothing lost."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_STOPPED = 75  # EX_TEMPFAIL of sysexits.h: try again later
# Launchers commonly kill 30 s after they asked. A compilation or a chunk that takes longer than this is left.
GRACE_SECONDS = 25.0


class Stopped(BaseException):
    """A signal asked to stop. No Exception, so that nobody takes it for a fault of what it interrupted."""


class Stop:
    """Whether a signal asked to stop.

    Training defers the answer to the end of a chunk, and saves. Whatever else is going on has nothing that would have
    to be saved, and is left where it is, by a Stopped. A second SIGINT is a KeyboardInterrupt.
    """

    def __init__(self):
        self._asked = threading.Event()
        self._is_deferred = False

    def request(self) -> None:
        """Ask to stop, as a signal does."""
        self._asked.set()

    def requested(self) -> bool:
        """Return whether a stop was asked for."""
        return self._asked.is_set()

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Leave it to the block to look at `requested()`."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within a deferred block, let a signal end this one at once, by a Stopped: nothing is half done in it."""
        self._is_deferred = False
        try:
            if self.requested():
                raise Stopped
            yield
        finally:
            self._is_deferred = True

    @contextlib.contextmanager
    def on_signal(self) -> Iterator[None]:
        """Listen to signals while the block runs; does nothing outside of the main thread, where Python cannot."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        # The handlers wait for the main thread, which may be in a long compilation; this pipe does not.
        readable, writable = os.pipe()
        os.set_blocking(writable, False)
        previous_fd = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        done = threading.Event()
        threading.Thread(target=_end_in_time, args=(readable, done), daemon=True).start()
        try:
            yield
        finally:
            done.set()
            signal.set_wakeup_fd(previous_fd)
            os.close(writable)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        if self._asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        is_first = not self._asked.is_set()
        self._asked.set()
        if self._is_deferred:
            # Not print: it may be what was interrupted.
            os.write(2, f'{signal.Signals(number).name}: saving, then stopping\n'.encode())
        elif is_first:
            raise Stopped(
                f'{signal.Signals(number).name}: nothing was being trained; run the same command again to continue'
            )


def _end_in_time(readable: int, done: threading.Event) -> None:
    """End the process GRACE_SECONDS after the first signal, unless it is done by then."""
    with os.fdopen(readable, 'rb', buffering=0) as pipe:
        while number := pipe.read(1):
            if number[0] in SIGNALS:
                if not done.wait(GRACE_SECONDS):
                    _end(f'stopped: no save within {GRACE_SECONDS:g} s; the same command goes on from the last one')
                return


def _end(message: str, code: int = EXIT_STOPPED) -> None:
    os.write(2, f'{message}\n'.encode())
    os._exit(code)


@contextlib.contextmanager
def ends_after(seconds: float, message: str, code: int) -> Iterator[None]:
    """End the whole process if the block takes longer: it may hang in a call that nothing interrupts."""
    timer = threading.Timer(seconds, _end, (message, code))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def ends_at_interrupt(message: str, code: int) -> Iterator[None]:
    """End the whole process at a SIGINT in the block, which imports packages and has nothing to lose.

    Compiled modules that are interrupted as they begin turn it into errors of their own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, lambda number, frame: _end(message, code))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def end_at_once(code: int) -> None:
    """End the process without its usual farewells, which may wait for others."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
