"""What an evaluation fitted, to and from plain arrays and JSON: nothing is pickled, so nothing is unpickled.

A fit is a tree of arrays, numbers and words in tuples, dicts, named tuples and frozen dataclasses. The last two are
named by their module, which has to be loaded already: reading a file never imports one. What several fits share, such
as the bank of training units, is kept once.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.calibrate.confidence import Calibrator
from failpred_jax.errors import UserError
from failpred_jax.registry import SCORES
from failpred_jax.results import KeptFits
from failpred_jax.types import PyTree


@dataclass(frozen=True)
class Fits:
    """What an evaluation fitted.

    Attributes:
      scores: names of all that were computed, in the order of the table.
      values: score -> its fit, of those that have one.
      unavailable: score -> why it was not computed, or why its fit cannot be kept.
      calibrators: score -> its map to P(correct), of those that have one.
      probe: a few test images with the network's outputs, where its code is not of this package; see probe.py.
    """

    scores: tuple[str, ...] = ()
    values: Mapping[str, PyTree] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    calibrators: Mapping[str, Calibrator] = field(default_factory=dict)
    probe: Mapping[str, np.ndarray] = field(default_factory=dict)


class _NotPlainError(Exception):
    """A fit holds something that no plain file can hold."""


def keep_fits(fits: Fits, run: Mapping[str, Any]) -> KeptFits:
    """Return fits as a file holds them; of a fit that it cannot hold, the reason.

    Args:
      fits: the fits.
      run: what else the file says of the run: of what JSON can hold.
    """
    kept = _Kept({}, [], {})
    values, unavailable = {}, dict(fits.unavailable)
    for name, value in fits.values.items():
        try:
            values[name] = _encode(value, kept)
        except _NotPlainError as error:
            unavailable[name] = f'its fit could not be kept: {error}'
    meta = {
        'run': dict(run),
        'scores': [name for name in fits.scores if name not in unavailable],
        'fits': values,
        'unavailable': unavailable,
        'calibrators': {name: _encode(found, kept) for name, found in fits.calibrators.items()},
        'probe': _encode(fits.probe, kept),
        'shared': kept.shared,
    }
    return KeptFits(meta, kept.arrays)


def kept_fits(kept: KeptFits) -> Fits:
    """Return what a file holds as fits; undoes `keep_fits`.

    Raises:
      UserError: a fit is of a kind that is not loaded, as of a score that nobody registered here.
    """
    meta = kept.meta
    # A file of an earlier version shares nothing.
    source = _Source(kept.arrays, meta.get('shared', []), {})
    return Fits(
        scores=tuple(meta['scores']),
        values={
            name: _decode(node, source, name)
            for name, node in meta['fits'].items()
            if name in SCORES and name in meta['scores']
        },
        unavailable=dict(meta['unavailable']),
        calibrators={name: _decode(node, source, name) for name, node in meta['calibrators'].items()},
        # A file of an earlier version has none.
        probe=_decode(meta.get('probe', {'dict': {}}), source, ''),
    )


class _Kept(NamedTuple):
    """What has been encoded: arrays by name, trees that are shared, and the place of each of these by its identity."""

    arrays: dict[str, np.ndarray]
    shared: list[Any]
    places: dict[int, int]


class _Source(NamedTuple):
    """What is decoded: arrays by name, trees that are shared, and those of them that were met already."""

    arrays: Mapping[str, np.ndarray]
    shared: list[Any]
    met: dict[int, Any]


def _encode(value: Any, kept: _Kept) -> Any:
    """Return a tree as JSON can hold it, its arrays added to those kept under names of their own."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and not isinstance(value, np.generic):
        return value if math.isfinite(value) else {'float': repr(value)}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _encode_array(value, kept.arrays)
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        fields = {name: getattr(value, name) for name in getattr(value, '_fields')}  # noqa: B009
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    elif isinstance(value, tuple | list):
        return {'tuple' if isinstance(value, tuple) else 'list': [_encode(inner, kept) for inner in value]}
    elif isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {'dict': {key: _encode(inner, kept) for key, inner in value.items()}}
    else:
        raise _NotPlainError(f'a {type(value).__name__} is neither an array nor made of arrays')
    kind = type(value)
    if _loaded(f'{kind.__module__}:{kind.__qualname__}') is not kind:
        raise _NotPlainError(f"the class '{kind.__qualname__}' of {kind.__module__} cannot be found by its name")
    if id(value) in kept.places:
        return {'same': kept.places[id(value)]}
    encoded = {name: _encode(inner, kept) for name, inner in fields.items()}
    node = {'type': f'{kind.__module__}:{kind.__qualname__}', 'fields': encoded}
    if kind.__eq__ is not object.__eq__:
        return node
    # Compared by identity, as what is shared is; others are values.
    kept.places[id(value)] = len(kept.shared)
    kept.shared.append(node)
    return {'same': kept.places[id(value)]}


def _encode_array(value: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        raise _NotPlainError('it holds a random key')
    array = np.asarray(value)
    if array.dtype.kind not in 'biufcUS':
        raise _NotPlainError(f'it holds an array of type {array.dtype}')
    name = f'a{len(arrays)}'
    arrays[name] = array
    return {'array': name, 'on_device': isinstance(value, jax.Array)}


def _decode(node: Any, source: _Source, score: str) -> Any:
    if not isinstance(node, Mapping):
        return node
    if 'array' in node:
        array = source.arrays[node['array']]
        return jnp.asarray(array) if node['on_device'] else array
    if 'same' in node:
        place = node['same']
        if place not in source.met:
            source.met[place] = _decode(source.shared[place], source, score)
        return source.met[place]
    if 'float' in node:
        return float(node['float'])
    if 'dict' in node:
        return {key: _decode(inner, source, score) for key, inner in node['dict'].items()}
    for name, kind in (('tuple', tuple), ('list', list)):
        if name in node:
            return kind(_decode(inner, source, score) for inner in node[name])
    kind = _loaded(node['type'])
    if kind is None:
        raise UserError(
            f"the fit of score '{score}' is a '{node['type']}', which is not loaded; import the module that registers "
            'the score first'
        )
    return kind(**{name: _decode(inner, source, score) for name, inner in node['fields'].items()})


def _loaded(name: str) -> Any:
    """Return the named tuple or dataclass 'module:Name' of a module that is loaded; None for anything else."""
    module, _, qualname = name.partition(':')
    found: Any = sys.modules.get(module)
    for part in qualname.split('.'):
        found = getattr(found, part, None)
    is_tuple = isinstance(found, type) and issubclass(found, tuple) and hasattr(found, '_fields')
    return found if is_tuple or (isinstance(found, type) and dataclasses.is_dataclass(found)) else None
