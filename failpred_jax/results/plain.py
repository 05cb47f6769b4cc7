"""Plain values of JSON and the dataclasses that they stand for, whatever these are.

An undefined number is NaN in memory and null in JSON, as other readers accept neither NaN nor an infinity. What an
older version did not write has its default, what a newer one added is ignored, and what is of the wrong type (somebody
edited the file) counts as missing.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from failpred_jax.results.measures import Interval


def to_json(value: Any) -> Any:
    """Return nested dataclasses and containers as plain Python values, what is not finite as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if not _is_absent(f, value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_absent(field: dataclasses.Field, value: Any) -> bool:
    """Return whether a field was never computed, so that it needs no null: it is NaN or infinite, as is its default."""
    found, default = getattr(value, field.name), field.default
    if not (isinstance(found, float) and isinstance(default, float)) or math.isfinite(found):
        return False
    return found == default or (math.isnan(found) and not math.isfinite(default))


class WrongTypeError(Exception):
    """A value is not what the layout says."""


def from_json(kind: Any, value: Any) -> Any:
    """Return a value of JSON as a dataclass, container or number of the annotated kind.

    Raises:
      WrongTypeError: it cannot be one; the caller takes the default.
    """
    if kind is Any:
        return value
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else from_json(next(a for a in args if a is not type(None)), value)
    if kind is Interval and isinstance(value, list) and len(value) == 2:
        return Interval(*(from_json(float, end) for end in value))
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return dataclass_from_json(typing.cast(type, kind), value)
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return known(((str(k), args[1], v) for k, v in value.items()))
    if origin is tuple and isinstance(value, list):
        return tuple(from_json(args[0], v) for v in value)
    if kind is float and value is None:
        return math.nan
    if kind is bool and isinstance(value, bool) or kind is str and isinstance(value, str):
        return value
    if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        return kind(value)
    raise WrongTypeError(f'{value!r} is no {kind}')


def known(items: typing.Iterable[tuple[str, Any, Any]]) -> dict[str, Any]:
    """Return name -> value of those (name, kind, value in JSON) that are of their kind."""
    found = {}
    for name, kind, value in items:
        try:
            found[name] = from_json(kind, value)
        except WrongTypeError:
            continue
    return found


@functools.cache
def hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def dataclass_from_json(kind: Any, value: Mapping) -> Any:
    found = known((name, hint, value[name]) for name, hint in hints(kind).items() if name in value)
    try:
        return kind(**found)
    except TypeError as error:  # A field without a default is missing.
        raise WrongTypeError(str(error)) from error


def part(value: Any, name: str) -> Mapping:
    """Return value[name] where both are mappings, else an empty one."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def numbers(value: Mapping) -> dict[str, float]:
    """Return the single numbers of a mapping: what is null is NaN."""
    return known((str(name), float, number) for name, number in value.items())
