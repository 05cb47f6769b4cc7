"""Work on the host that is divided among its cores: NumPy leaves them free while it computes."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

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


def in_stages(items: Iterable[Any], stages: Sequence[Callable[[Any], Any]], most: int = 2) -> Iterator[Any]:
    """Yield what the stages, one after another, make of each item, in the order of the items.

    Each stage has a thread of its own: none is called twice at once, and one that keeps a single core busy runs beside
    another of the next item. The first error stops what has not begun.

    Args:
      items: what the first stage is given.
      stages: each is given what the one before returned.
      most: so many items are under way at once.
    """
    pools = [ThreadPoolExecutor(1) for _ in stages]
    waiting: deque[Future] = deque()
    try:
        for item in items:
            future = pools[0].submit(stages[0], item)
            for pool, stage in zip(pools[1:], stages[1:], strict=True):
                future = pool.submit(lambda stage=stage, before=future: stage(before.result()))
            waiting.append(future)
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)
