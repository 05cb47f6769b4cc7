"""Parameters that somebody else has trained: msgpack, orbax, safetensors or npz. Nothing unpickles."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import serialization, traverse_util

from failpred_jax.errors import UserError
from failpred_jax.files import read_npz
from failpred_jax.readers.tensors import is_safetensors, load_safetensors

_COLLECTIONS = ('params', 'batch_stats')
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Given:
    """Parameters as one object, equal to itself alone, so that a module that holds it can be compared and hashed.

    Attributes:
      params: nested dicts of arrays.
      state: what else belongs to them and is not trained, of any type.
    """

    params: Mapping[Any, Any]
    state: Any = None

    def flat(self) -> dict[str, Any]:
        """Return name -> array, names joined by '/'."""
        flat = traverse_util.flatten_dict(dict(self.params))
        return {'/'.join(map(str, path)): value for path, value in flat.items()}

    def nested(self, values: Mapping[str, Any]) -> dict[Any, Any]:
        """Return values by such names in the place of the parameters."""
        paths = list(traverse_util.flatten_dict(dict(self.params)))
        return traverse_util.unflatten_dict({path: values['/'.join(map(str, path))] for path in paths})


def read_variables(path: str) -> dict[str, Any]:
    """Return nested dicts of arrays as a file or folder holds them.

    Raises:
      UserError: it is missing, or none of the formats that are read here.
    """
    file = Path(path)
    if not file.exists():
        raise UserError(f"config.model.custom.params is '{path}', and there is no such file or folder")
    try:
        if file.is_dir():
            return _read_orbax(file)
        with file.open('rb') as opened:
            start = opened.read(4096)
        if is_safetensors(file, start):
            return _nested(load_safetensors(file))
        if start.startswith(b'PK'):
            return _nested(read_npz(file))
        found = serialization.msgpack_restore(file.read_bytes())
        if not isinstance(found, dict):
            raise ValueError(f'it holds a {type(found).__name__}')
        return found
    except UserError:
        raise
    except Exception as error:  # orbax, msgpack and zip each have errors of their own for what is not theirs
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"config.model.custom.params is '{path}', which cannot be read as msgpack (flax.serialization), an orbax "
            'folder, '
            f'safetensors or npz: {reason}'
        ) from error


def _read_orbax(folder: Path) -> dict[str, Any]:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.restore(folder.resolve())
    return jax.tree.map(np.asarray, found)


def _nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return arrays whose names are joined by '/' or '.' as nested dicts."""
    return traverse_util.unflatten_dict({tuple(name.replace('.', '/').split('/')): v for name, v in arrays.items()})


def as_variables(found: Mapping[str, Any], wanted: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return found arrays in the structure of the wanted variables, float32.

    Args:
      found: nested dicts, with the collections 'params' and 'batch_stats', or the parameters alone; those of a train
        state, which has more, will do.
      wanted: collection -> nested dicts of shapes.
      path: where they were found, for messages.

    Raises:
      UserError: parameters are missing, left over, or of another shape, all of them counted and some named.
    """
    collections = {key: found[key] for key in _COLLECTIONS if key in found} if 'params' in found else {'params': found}
    if problems := misfits(collections, wanted):
        raise UserError('\n'.join([f"config.model.custom.params: '{path}' does not fit the network:", *problems]))

    have = _places(collections)

    def filled(kind: str, tree: Any, before: tuple[str, ...] = ()) -> Any:
        if isinstance(tree, Mapping):
            return {key: filled(kind, below, (*before, str(key))) for key, below in tree.items()}
        return np.asarray(have[(kind, *before)], np.float32)

    return {kind: filled(kind, tree) for kind, tree in wanted.items()}


def misfits(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return lines on what is missing, left over or of another shape: collection -> nested dicts of arrays or shapes.

    Some are named, and all are counted; empty where everything fits.
    """
    have, need = _places(found), _places(wanted)
    problems = [f'missing: {"/".join(place)}' for place in need if place not in have]
    problems += [f'unexpected: {"/".join(place)}' for place in have if place not in need]
    problems += [
        f'wrong shape: {"/".join(place)} is {np.shape(have[place])}, needed is {tuple(need[place].shape)}'
        for place in need
        if place in have and np.shape(have[place]) != tuple(need[place].shape)
    ]
    more = [f'and {len(problems) - _NAMED} more'] if len(problems) > _NAMED else []
    return [f'  - {line}' for line in [*problems[:_NAMED], *more]]


def _places(trees: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Return (collection, place ...) -> leaf."""
    return {(kind, *place): leaf for kind, tree in trees.items() for place, leaf in _leaves(tree).items()}


def _leaves(tree: Any, before: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return place -> leaf of nested dicts, with words for keys: nnx numbers its layers."""
    if not isinstance(tree, Mapping):
        return {before: tree}
    return {place: leaf for key, below in tree.items() for place, leaf in _leaves(below, (*before, str(key))).items()}
