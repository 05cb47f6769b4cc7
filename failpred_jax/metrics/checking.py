"""What every function for callers with data looks at before it computes: that arrays are arrays, and fit together.

Arguments are known by their names, which mean the same in every function. Types and shapes are looked at, no values, so
that it works on traced arrays as well; what needs values (NaN, labels out of range) is the business of the function.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.indexes import difference, index_of

F = TypeVar('F', bound=Callable[..., Any])

# One value per unit: all of one shape. Those of validation units are a set of their own.
UNITS = ('confidence', 'correct', 'mask', 'labels', 'predicted', 'classes')
HELD_OUT = ('val_confidence', 'val_correct')
# One row per unit, with the classes along the last axis.
ROWS = ('probs', 'logits')
# Whole numbers, with the smallest that means anything.
WHOLE = {'num_bins': 1, 'num_resamples': 1, 'num_classes': 1}


def checked(fn: F) -> F:
    """Return a function that raises a UserError for arguments that are no arrays of real numbers, or do not fit."""
    signature = inspect.signature(fn)

    @functools.wraps(fn)
    def looked_at(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            # A wrong number of arguments is for Python to say, with a name that it does not have.
            return fn(*args, **kwargs)
        arguments = bound.arguments
        _check_indexes(arguments)
        for names in (UNITS, HELD_OUT):
            _check_units(arguments, names, signature)
        if 'confidences' in arguments:
            _check_confidences(arguments)
        for name, smallest in WHOLE.items():
            if name in arguments and not _is_whole(arguments[name], smallest):
                raise UserError(f'{name} is {arguments[name]!r}; it must be a whole number of at least {smallest}')
        return fn(*bound.args, **bound.kwargs)

    return cast(F, looked_at)


def _check_indexes(arguments: dict[str, Any]) -> None:
    """Refuse pandas objects whose rows are named differently; of one length, they would be read by position."""
    confidences = arguments.get('confidences')
    given = dict(confidences) if isinstance(confidences, Mapping) else {}
    for names, others in (((*ROWS, *UNITS), given), (HELD_OUT, {})):
        indexed = {name: arguments[name] for name in names if name in arguments} | others
        indexed = {name: value for name, value in indexed.items() if index_of(value) is not None}
        first = next(iter(indexed), '')
        for name, value in indexed.items():
            if told := difference(name, value, first, indexed[first]):
                raise UserError(told)


def _check_units(arguments: dict[str, Any], names: tuple[str, ...], signature: inspect.Signature) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    for name in (*names, *(ROWS if names is UNITS else ())):
        if name not in arguments or (arguments[name] is None and signature.parameters[name].default is None):
            continue
        array = arguments[name] = _as_array(arguments[name], name)
        if name == 'mask' and array.dtype != bool:
            raise UserError(f'mask has type {array.dtype}; give bool, True for units that count')
        if not array.ndim or (name in ROWS and array.ndim < 2):
            form = '(N, C), a row per unit' if name in ROWS else '(N,), a value per unit'
            raise UserError(f'{name} has shape {array.shape}; it must be {form}')
        shapes[name] = array.shape[:-1] if name in ROWS else array.shape
    rows = next((name for name in ROWS if name in shapes), None)
    first = rows or next(iter(shapes), None)
    for name, shape in shapes.items():
        if rows and shape != shapes[rows]:
            raise UserError(
                f'{name} has shape {shape}, but the predictions ask for {shapes[rows]}; give one value per unit'
            )
        if first and shape != shapes[first]:
            raise UserError(
                f'{name} has shape {np.shape(arguments[name])} but {first} has {np.shape(arguments[first])}; give one '
                'value per unit'
            )


def _check_confidences(arguments: dict[str, Any]) -> None:
    given = arguments['confidences']
    if not isinstance(given, Mapping) or not given:
        raise UserError(f"confidences is {_described(given)}; give a dict of names and arrays, such as {{'mine': x}}")
    arguments['confidences'] = {name: _as_array(array, f"the confidence '{name}'") for name, array in given.items()}
    for name, array in arguments['confidences'].items():
        if not array.ndim:
            raise UserError(f"the confidence '{name}' has shape (); it must be (N,), a value per unit")
        if 'correct' in arguments and array.shape != np.shape(arguments['correct']):
            raise UserError(
                f"the confidence '{name}' has shape {array.shape} but correct has {np.shape(arguments['correct'])}; "
                'give one value per unit'
            )


def _as_array(value: Any, name: str) -> Any:
    if isinstance(value, jax.Array):
        array = value
    else:
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f'{name} cannot be made an array: {error}') from error
    is_real = array.dtype.kind in 'biuf' or jnp.issubdtype(array.dtype, jnp.floating)
    if not is_real and array.dtype.kind == 'V':
        raise UserError(
            f'{name} has type {array.dtype}: raw bytes, as numpy.savez leaves of bfloat16; save it as float32'
        )
    if not is_real:
        what = f'is {_described(value)}' if array.ndim == 0 else f'has type {array.dtype}'
        raise UserError(f'{name} {what}; give real numbers')
    return array


def _is_whole(value: Any, smallest: int) -> bool:
    is_number = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_number and int(value) >= smallest


def _described(value: Any) -> str:
    return repr(value)[:60] if isinstance(value, str | int | float | None) else f'a {type(value).__name__}'
