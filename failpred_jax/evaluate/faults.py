"""What one score does wrong is said of that score, and the others are measured: training has been paid for."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.console import say_once
from failpred_jax.errors import ScoreUnavailableError, line_of
from failpred_jax.terminal import first_line, is_out_of_memory


class FaultyValuesError(Exception):
    """What a score returned cannot be used; the message says why."""


@contextlib.contextmanager
def by_itself(name: str, unavailable: dict[str, str], fn: Callable[..., Any] | None = None) -> Iterator[None]:
    """Keep what a score raises from ending the rest; `unavailable` is told why it has no values.

    A score that cannot be had says so with ScoreUnavailableError. Anything else is a fault of the score, ours or
    anybody's, and a warning. What is no fault of a score goes on: memory or a disk that failed. `fn` is the score's
    function, by which its file is known.
    """
    try:
        yield
    except ScoreUnavailableError as error:
        unavailable[name] = str(error)
    except (Exception, SystemExit) as error:  # whatever one score does, the others are shown
        if is_out_of_memory(error) or isinstance(error, OSError):
            raise
        kind = '' if isinstance(error, FaultyValuesError) else f'{type(error).__name__}: '
        unavailable[name] = f'it failed: {kind}{first_line(error)}{_place(fn, error)}'
        # Of an image at a time, the reason may count what is in it.
        say_once(f"warning: score '{name}' failed and is left out; the table says why")


def checked(values: np.ndarray, num_units: int, may_be_undefined: bool = False) -> np.ndarray:
    """Return a score's values, if there is one for each unit.

    Args:
      values: what the score returned.
      num_units: N; the values must be [N].
      may_be_undefined: whether NaN is looked for by others, who know which units count.

    Raises:
      FaultyValuesError: the values cannot be ranked.
    """
    if values.shape != (num_units,):
        raise FaultyValuesError(f'it returned values of shape {values.shape}; it must be ({num_units},), one per unit')
    num_undefined = 0 if may_be_undefined else np.count_nonzero(np.isnan(values))
    if num_undefined:
        raise FaultyValuesError(f'{num_undefined:,} of its {num_units:,} values are NaN; a ranking needs numbers')
    return values


def drop_undefined(columns: Mapping[str, np.ndarray], unavailable: dict[str, str]) -> dict[str, np.ndarray]:
    """Return the scores [N] without those that hold NaN, of which `unavailable` is told; N are the units that count."""
    found = {}
    for name, values in columns.items():
        with by_itself(name, unavailable):
            found[name] = checked(values, len(values))
    return found


def _place(fn: Callable[..., Any] | None, error: BaseException) -> str:
    """Return in which line of the score's own file it failed, or ''."""
    if fn is None:
        return ''
    file = getattr(getattr(inspect.unwrap(fn), '__code__', None), 'co_filename', '')
    line = line_of(error, file)
    return f' ({Path(file).name}{line})' if line else ''
