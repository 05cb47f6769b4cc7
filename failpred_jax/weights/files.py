"""Files of named arrays: PyTorch's, safetensors and npz, told apart by their first bytes. Nothing in them is ever run.

PyTorch's and safetensors are loaded by readers/tensors.py with `weights_only=True`, npz with `allow_pickle=False`.
"""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax import files
from failpred_jax.errors import UserError
from failpred_jax.readers.reading import HEAD_BYTES
from failpred_jax.readers.tensors import is_safetensors, load_safetensors, load_torch

# Where training scripts put the state dict inside a checkpoint.
_WRAPPERS = ('model_state_dict', 'state_dict', 'model', 'net', 'weights')
# What torch.nn.DataParallel, torch.compile and wrapping modules put before every name.
_PREFIXES = ('module.', '_orig_mod.', 'model.', 'net.')
_FLOATS = ('float16', 'bfloat16', 'float32', 'float64')
# At most this many wrong entries are named.
_MOST_NAMED = 20


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Return the arrays of a file as float32, by their names without what is before all of them.

    A counter of batches that BatchNorm keeps in PyTorch is left out.

    Args:
      path: a file of PyTorch (a state dict, or a checkpoint that holds one), safetensors or npz.

    Raises:
      UserError: it is not there or cannot be read; it holds no arrays; or some are not what weights can be (whole
        numbers, complex, sparse, quantized or empty of data, or with values that are NaN or infinite), all of them
        named.
    """
    entries = _without_prefixes(path, _reader_of(Path(path))(Path(path)))
    problems: list[str] = []
    arrays = {}
    for name, entry in entries.items():
        if not name.endswith('num_batches_tracked'):
            arrays[name] = _as_float32(name, entry, problems)
    if not arrays:
        raise UserError(f"'{path}' holds no arrays; give a file of weights")
    if problems:
        more = [f'and {len(problems) - _MOST_NAMED} more'] if len(problems) > _MOST_NAMED else []
        lines = [f'  - {line}' for line in [*problems[:_MOST_NAMED], *more]]
        raise UserError('\n'.join([f"'{path}' holds entries that cannot be weights:", *lines]))
    return arrays


def _reader_of(path: Path) -> Callable[[Path], Mapping[Any, Any]]:
    """Return what reads a file, by its first bytes."""
    try:
        with path.open('rb') as file:
            start = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise UserError(f"there is no file '{path}'; give the path of a file of weights") from None
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror or error}") from error
    if is_safetensors(path, start):
        return load_safetensors
    if start.startswith(b'PK') and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith('.npy') for name in archive.namelist()):
                return _read_npz
    return _read_torch


def _read_npz(path: Path) -> Mapping[str, np.ndarray]:
    try:
        return files.read_npz(path)
    except files.DAMAGE as error:
        raise _unreadable(path, 'npz of plain arrays', error) from error


def _read_torch(path: Path) -> Mapping[Any, Any]:
    content = load_torch(path)
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            return content[name]
    is_bare = isinstance(content, Mapping) and any(hasattr(value, 'detach') for value in content.values())
    if not is_bare:
        kind = (
            f'holds {", ".join(map(repr, list(content)[:5]))}'
            if isinstance(content, Mapping)
            else (f'is a {type(content).__name__}')
        )
        raise UserError(
            f"'{path}' {kind}; it must be a state dict, or a dict that holds one under one of: {', '.join(_WRAPPERS)}"
        )
    return content


def _unreadable(path: Path, kind: str, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(f"'{path}' cannot be read as a {kind}, and code in it is never run ({reason[:200]})")


def _without_prefixes(path: str, entries: Mapping[Any, Any]) -> dict[str, Any]:
    wrong = [key for key in entries if not isinstance(key, str)]
    if wrong:
        raise UserError(
            f"'{path}' has keys that are no names: {', '.join(map(repr, wrong[:5]))}; it must map names to arrays"
        )
    found = dict(entries)
    while found:
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in found)), None)
        if prefix is None:
            break
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _as_float32(name: str, entry: Any, problems: list[str]) -> np.ndarray:
    """Return an entry as float32; if it is not what weights can be, add to `problems` and return nothing of use."""
    nothing = np.zeros(0, np.float32)
    if isinstance(entry, np.ndarray):
        array, kind = entry, entry.dtype.name
    elif hasattr(entry, 'detach'):
        if entry.is_quantized or entry.is_meta or str(entry.layout) != 'torch.strided':
            word = 'quantized' if entry.is_quantized else 'without data (meta)' if entry.is_meta else 'sparse'
            problems.append(f'{name} is {word}; needed is a dense tensor')
            return nothing
        kind = str(entry.dtype).removeprefix('torch.')
        array = entry.detach().float().numpy() if kind == 'bfloat16' else entry.detach().numpy()
    else:
        problems.append(f'{name} is a {type(entry).__name__}; needed is an array')
        return nothing
    if kind not in _FLOATS:
        problems.append(f'{name} is of {kind}; needed is one of {", ".join(_FLOATS)}')
        return nothing
    with np.errstate(over='ignore'):
        array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
        problems.append(f'{name} has {np.count_nonzero(~np.isfinite(array))} values that are NaN or infinite')
    return array
