"""Work on the host that is divided among its cores: NumPy leaves them free while it computes."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar('T')


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def in_threads(fn: Callable[[T], object], items: Iterable[T]) -> None:
    """Call `fn` on every item, as many at once as there are cores; the first error stops what has not begun."""
    with ThreadPoolExecutor(num_cores()) as pool:
        waiting = [pool.submit(fn, item) for item in items]
        try:
            for future in waiting:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
