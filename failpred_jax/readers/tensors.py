"""Tensors of other frameworks: .safetensors, and .pt files of plain tensors, loaded with weights_only=True.

Files of weights are loaded here too (see weights/files.py): what is in a file is nowhere run.
"""

import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.readers.reading import FORMATS, Arrays, Format

# What safetensors calls its types. Its NumPy loader knows no bfloat16, and its JAX one would cast float64 to float32.
_TYPES = {
    'F64': np.float64, 'F32': np.float32, 'F16': np.float16, 'BF16': ml_dtypes.bfloat16, 'I64': np.int64,
    'I32': np.int32, 'I16': np.int16, 'I8': np.int8, 'U64': np.uint64, 'U32': np.uint32, 'U16': np.uint16,
    'U8': np.uint8, 'BOOL': np.bool_,
}  # fmt: skip


def is_safetensors(path: Path, head: bytes) -> bool:
    """Return whether a file whose first bytes are `head` is a safetensors file."""
    # The length of a JSON header, little-endian, and the header.
    return len(head) > 9 and head[8:9] == b'{' and int.from_bytes(head[:8], 'little') < path.stat().st_size


def load_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file, in the types in which they are stored.

    Raises:
      UserError: it cannot be read, or holds a type that NumPy has no equal of.
    """
    import safetensors

    try:
        found = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise UserError(f"'{path}' cannot be read as safetensors: {error}") from error
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror or error}") from error
    arrays = {}
    for name, tensor in found:
        if tensor['dtype'] not in _TYPES:
            raise UserError(
                f"'{path}': tensor '{name}' has type {tensor['dtype']}; convert it to one of {', '.join(_TYPES)}"
            )
        flat = np.frombuffer(tensor['data'], dtype=_TYPES[tensor['dtype']])
        arrays[name] = flat.reshape(tensor['shape'])
    return arrays


def load_torch(path: Path) -> Any:
    """Return what torch.save wrote, with tensors on the CPU; anything but plain tensors and containers is refused.

    Raises:
      UserError: PyTorch is not installed, or the file cannot be read so.
    """
    try:
        import torch  # Imported late: an optional extra that takes seconds.
    except ImportError as error:
        raise UserError(
            f"'{path}' is a file of torch.save, which only PyTorch reads: pip install 'failpred_jax[torch]', or save "
            'the arrays with numpy.savez'
        ) from error
    try:
        with warnings.catch_warnings():
            # Of kinds of tensors that PyTorch will drop: callers refuse them, in words of their own.
            warnings.simplefilter('ignore')
            return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # unpickling errors, damaged zips and unknown types each have a class of their own
        first = (str(error).strip().splitlines() or [''])[0][:200]
        raise UserError(
            f"'{path}' cannot be read: {type(error).__name__}: {first}. Only plain tensors are loaded, and code in a "
            'file is never run (weights_only=True); save a dict of tensors: torch.save({"name": tensor}, FILE)'
        ) from error


def _read_torch(path: Path) -> Arrays:
    found = load_torch(path)
    if not isinstance(found, dict) or not found:
        raise UserError(
            f"'{path}' holds a {type(found).__name__} without names; save a dict of tensors: "
            "torch.save({'labels': labels, 'logits': logits}, FILE)"
        )
    return Arrays({str(name): _to_numpy(value, str(name), path) for name, value in found.items()})


def _to_numpy(value: Any, name: str, path: Path) -> np.ndarray:
    import torch

    if not isinstance(value, torch.Tensor):
        try:
            return np.asarray(value)
        except (ValueError, TypeError) as error:
            raise UserError(f"'{path}': '{name}' is a {type(value).__name__}, not a tensor") from error
    if value.is_sparse or value.is_quantized or value.layout != torch.strided:
        raise UserError(f"'{path}': tensor '{name}' is sparse or quantized; save {name}.to_dense() / .dequantize()")
    value = value.detach().cpu()
    return value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy()


FORMATS.register('safetensors')(
    Format('safetensors', ('.safetensors',), is_safetensors, lambda path: Arrays(load_safetensors(path)))
)
FORMATS.register('torch')(
    Format(
        'PyTorch file of tensors',
        ('.pt', '.pth'),
        lambda path, head: head.startswith(b'PK\x03\x04') and b'data.pkl' in head[:256],
        _read_torch,
    )
)
