"""The one kind of error that a user, not a programmer, has to read."""

import difflib
import traceback
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar('T')


class UserError(Exception):
    """Bad input: the message says what was given, what is allowed and what to do.

    `main.py` prints the message without a traceback and exits with code 2.
    """


class DeclarationError(UserError, ValueError):
    """What a score, a model or anything else that was added declares of itself is wrong."""


class NoRowsError(UserError):
    """A table has a header, or a file has arrays, but there are no rows: a day on which nothing happened, to some."""


class AlarmRaised(Exception):  # noqa: N818  (a finding, not a fault)
    """A monitor's alarm has gone off: everything is done and saved, and the message says what it means.

    `main.py` prints it and exits with code 3.
    """


class ScoreUnavailableError(Exception):
    """A confidence score cannot be computed for this run; the message says why, for the reader of the table."""


def nearest(given: str, allowed: Iterable[str], cutoff: float = 0.6) -> str:
    """Return `; did you mean 'x'?` for the nearest of `allowed`, or '' if none is as like it as `cutoff` (1: equal)."""
    matches = difflib.get_close_matches(given, list(allowed), n=1, cutoff=cutoff)
    return f"; did you mean '{matches[0]}'?" if matches else ''


def line_of(error: BaseException, file: str) -> str:
    """Return ' in line 3' for the last line of a file that an exception went through, or ''."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines.append(error.lineno)
    return f' in line {lines[-1]}' if lines else ''


def share_of_percent(given: float) -> str:
    """Return `; 5 % is 0.05` for a number that can be a percentage where a share is wanted, else ''."""
    return f'; {given:g} % is {given / 100:g}' if 1 <= given <= 100 else ''


def numbered(num: int, noun: str) -> str:
    """Return '1 unit' or '1,200 units'."""
    return f'{num:,} {noun}{"" if num == 1 else "s"}'


def given(value: T | None, what: str) -> T:
    """Return a value that may be None where nothing asks for it, but not here; `what` names it for the ValueError."""
    if value is None:
        raise ValueError(f'{what} is needed here, but was not given')
    return value
