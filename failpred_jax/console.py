"""What is said to people: plain sentences and progress, once for the whole job."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

import tqdm

from failpred_jax import processes

# Shorter work needs no word.
TOLD_SECONDS = 2.0
_REFRESH_SECONDS = 0.5

_told: set[str] = set()
# Where the seconds of finished phases go: those who asked for them, the innermost last.
_listeners: list[dict[str, float]] = []


def say(text: str) -> None:
    """Print a line, once for the whole job, without breaking a progress bar."""
    if processes.is_main_process():
        tqdm.tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()


def say_once(text: str) -> None:
    """Print a line the first time it is said in this process."""
    if text not in _told:
        _told.add(text)
        say(text)


class Phase:
    """Work that takes a while, as those who do it see it; safe to use from several threads."""

    def __init__(self, bar: tqdm.tqdm | None):
        self._bar, self._lock = bar, threading.Lock()

    def add(self, count: float = 1) -> None:
        """Say that so much more of the total is done."""
        if self._bar is not None:
            with self._lock:
                self._bar.update(count)


@contextlib.contextmanager
def phase(what: str, total: float | None = None, unit: str = '', is_shown: bool = True) -> Iterator[Phase]:
    """Show work that takes over two seconds: a bar on a terminal, else a line with its seconds when it is done.

    Args:
      what: what is done, in a few words, as in 'resampling'.
      total: how much there is to do, in the steps of `Phase.add`; None where nobody knows.
      unit: what the total counts, in the plural, as in 'resamples'.
      is_shown: False where those who do it show it themselves, so that only its seconds are wanted here.

    Yields:
      Phase.
    """
    start = time.monotonic()
    # Where the bar of training is, too.
    is_on_terminal = is_shown and processes.is_main_process() and sys.stderr.isatty()
    bar = _bar(what, total, unit) if is_on_terminal else None
    done = threading.Event()
    clock = threading.Thread(target=_keep_fresh, args=(bar, done), daemon=True)
    if bar is not None:
        clock.start()
    try:
        yield Phase(bar)
    finally:
        done.set()
        seconds = time.monotonic() - start
        if bar is not None:
            clock.join()
            bar.close()
        for heard in _listeners:
            heard[what] = heard.get(what, 0.0) + seconds
    if is_shown and bar is None and seconds >= TOLD_SECONDS:
        say(f'{what}: {seconds:.0f} s')


@contextlib.contextmanager
def listen(heard: dict[str, float]) -> Iterator[None]:
    """Add the seconds of every phase that ends inside the block to `heard`, by what it did."""
    _listeners.append(heard)
    try:
        yield
    finally:
        # By identity: two listeners may have heard the same.
        _listeners[:] = [other for other in _listeners if other is not heard]


def _bar(what: str, total: float | None, unit: str) -> tqdm.tqdm:
    how_far = '{percentage:3.0f}% |{bar}| ' if total else ''
    counted = '{n_fmt}/{total_fmt}' + f' {unit}, ' if total and unit else ''
    left = ', {remaining} left' if total else ''
    return tqdm.tqdm(
        total=total,
        desc=what,
        delay=TOLD_SECONDS,
        leave=False,
        file=sys.stderr,
        dynamic_ncols=True,
        bar_format='{desc}: ' + how_far + counted + '{elapsed}' + left,
    )


def _keep_fresh(bar: tqdm.tqdm, done: threading.Event) -> None:
    """Redraw a bar whose work says nothing for a while, so that its clock goes on."""
    while not done.wait(_REFRESH_SECONDS):
        if time.time() - bar.start_t >= TOLD_SECONDS:
            bar.refresh()
            # A bar that was shown has to be cleared when it closes.
            bar.last_print_t = time.time()
