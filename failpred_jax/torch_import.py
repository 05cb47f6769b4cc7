"""Weights from the reference's PyTorch checkpoints, and torchvision's VGG16 as a start.

Files are read with `torch.load(weights_only=True)`, which never runs code from them.

Where the layouts differ: PyTorch's convolution kernels are [F, D, 3, 3] and ours [3, 3, D, F]; its dense kernels are
[out, in] and ours [in, out]; it flattens an image as channels, rows, columns and we as rows, columns, channels.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from failpred_jax.config import ModelConfig
from failpred_jax.errors import UserError
from failpred_jax.models.network import make_network
from failpred_jax.types import DatasetInfo, PyTree

# Places of the convolutions in torchvision's `vgg16().features`.
_TORCHVISION_CONVS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)

# A layer that the reference's fine-tuned confidence network holds but never uses: ours leaves it out.
_UNUSED = re.compile(r'uncertainty_network\.(fc2|up1)\.')


def read_torch_checkpoint(path: str, model: ModelConfig, info: DatasetInfo) -> tuple[PyTree, PyTree]:
    """Return the parameters and BatchNorm statistics of a reference checkpoint (`model_epoch_NNN.ckpt`).

    Args:
      path: the file.
      model: the architecture it was trained with.
      info: the data set it was trained on (image shape and number of classes).

    Returns:
      params: {'backbone', 'classifier'} of a baseline, with 'head' of a confidence model, and 'encoder' of a fine-tuned
        one; nested dicts of float32 arrays.
      batch_stats: the same for running statistics.

    Raises:
      UserError: PyTorch is not installed; the file cannot be read as plain tensors; it is not laid out as a reference
        checkpoint; or entries are missing, unexpected or of another shape, all of them named.
    """
    content = _load(path)
    state = content.get('model_state_dict') if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise UserError(f"'{path}' is no checkpoint of the reference: it holds no 'model_state_dict'")
    state = _strip_data_parallel(state)
    given = {k: v for k, v in state.items() if not k.endswith('.num_batches_tracked') and not _UNUSED.match(k)}
    network = make_network(model, info)
    templates = jax.eval_shape(network.init, jax.random.key(0))
    if any(k.startswith(('pred_network.', 'uncertainty_network.')) for k in given):
        templates = jax.eval_shape(network.with_encoder, *templates)
        prefixes = {'backbone': 'pred_network.', 'classifier': 'pred_network.'}
        prefixes |= {'encoder': 'uncertainty_network.', 'head': 'uncertainty_network.'}
    else:
        prefixes = {'backbone': '', 'classifier': ''}
        if any(k.startswith('uncertainty') for k in given):
            prefixes['head'] = ''
    taken: set[str] = set()
    problems: list[str] = []

    def fill(template: PyTree) -> PyTree:
        def leaf(path: tuple[Any, ...], like: jax.ShapeDtypeStruct) -> np.ndarray:
            keys = tuple(part.key for part in path)
            name = prefixes[keys[0]] + _torch_name(model.name, keys)
            taken.add(name)
            if name not in given:
                problems.append(f'missing: {name}')
                return np.zeros(like.shape, np.float32)
            return _convert(name, given[name], like.shape, _flattened(model.name, info, keys), problems)

        return jax.tree_util.tree_map_with_path(leaf, {k: v for k, v in template.items() if k in prefixes})

    params, batch_stats = (fill(template) for template in templates)
    problems += [f'unexpected: {name}' for name in given if name not in taken]
    _raise_if(problems, path, f"model '{model.name}' with {info.num_classes} classes and images {info.image_shape}")
    return params, batch_stats


def start_from_vgg16(path: str, model: ModelConfig, params: PyTree) -> PyTree:
    """Return params whose backbone has the convolutions of a torchvision VGG16 state dict (.pth).

    Args:
      path: the file, as torchvision publishes it (`vgg16-*.pth`, without BatchNorm).
      model: of architecture 'vgg16', or 'segnet' whose way down has the same convolutions.
      params: as `Network.init` gives them.

    Raises:
      UserError: as `read_torch_checkpoint`; or the architecture has no such encoder.
    """
    if model.name == 'vgg16':
        places = [(f'conv{i}',) for i in range(1, 14)]
    elif model.name == 'segnet':
        places = [(f'down{b}', f'conv{i + 1}') for b, n in enumerate((2, 2, 3, 3, 3), start=1) for i in range(n)]
    else:
        raise UserError(
            f"config.baseline.init_from is '{path}', but model '{model.name}' has no VGG16 encoder; "
            "leave it '' or set config.model.name to 'vgg16' or 'segnet'"
        )
    state = _load(path)
    if not isinstance(state, Mapping):
        raise UserError(f"'{path}' is no state dict of torchvision's VGG16, but {type(state).__name__}")
    problems: list[str] = []
    backbone = jax.tree.map(lambda x: x, params['backbone'])
    taken = set()
    for number, place in zip(_TORCHVISION_CONVS, places, strict=True):
        layer = backbone
        for key in place:
            layer = layer[key]
        for ours, theirs in (('kernel', 'weight'), ('bias', 'bias')):
            name = f'features.{number}.{theirs}'
            taken.add(name)
            if name in state:
                layer[ours] = _convert(name, state[name], layer[ours].shape, None, problems)
            else:
                problems.append(f'missing: {name}')
    # Its classifier is for another image size: expected, and not used.
    problems += [f'unexpected: {k}' for k in state if k not in taken and not str(k).startswith('classifier.')]
    _raise_if(problems, path, f"the VGG16 encoder of model '{model.name}'")
    return {**params, 'backbone': backbone}


def _load(path: str) -> Any:
    try:
        import torch  # Imported late: an optional extra that takes seconds.
    except ImportError:
        raise UserError(
            f"reading '{path}' needs PyTorch, which is not installed; run: pip install 'failpred_jax[torch]'"
        ) from None
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError:
        raise UserError(f"there is no file '{path}'; give the path of a PyTorch checkpoint") from None
    except Exception as error:  # torch raises many kinds: pickle, zip, runtime, end of file.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"'{path}' cannot be read as a PyTorch file of plain tensors, and code in it is never run ({reason[:200]})"
        ) from None


def _strip_data_parallel(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the entries without the prefix that torch.nn.DataParallel gives them all."""
    if state and all(k.startswith('module.') for k in state):
        return {k.removeprefix('module.'): v for k, v in state.items()}
    return state


def _torch_name(model: str, keys: tuple[str, ...]) -> str:
    """Return the reference's name for our leaf, such as 'conv3.net.1.weight' for ('backbone', 'conv3', 'kernel')."""
    tree, *layers, leaf = keys
    suffix = {'kernel': 'weight', 'scale': 'weight', 'bias': 'bias', 'mean': 'running_mean', 'var': 'running_var'}[leaf]
    if tree == 'head':
        number = int(layers[0].rpartition('_')[2]) + 1
        return f'uncertainty{number}.{suffix}'
    if model == 'segnet':
        block, layer = ('up1', *layers) if tree == 'classifier' else layers
        kind, number = re.fullmatch(r'(conv|bn)(\d+)', layer).groups()
        return f'{block}.conv{number}.cbr_unit.{0 if kind == "conv" else 1}.{suffix}'
    if tree == 'classifier':
        return f'fc2.{suffix}'
    kind, number = re.fullmatch(r'(conv|bn|fc)(\d+)', layers[0]).groups()
    if kind == 'bn':
        return f'conv{number}_bn.{suffix}'
    if kind == 'conv' and model != 'small_convnet_mnist':
        return f'conv{number}.net.1.{suffix}'
    return f'{kind}{number}.{suffix}'


def _flattened(model: str, info: DatasetInfo, keys: tuple[str, ...]) -> tuple[int, int, int] | None:
    """Return (H, W, D) of what is flattened before a dense kernel, or None for all other leaves."""
    if keys[0] not in ('backbone', 'encoder') or keys[1:] != ('fc1', 'kernel'):
        return None
    height, width, channels = info.image_shape
    return {
        'mlp': (height, width, channels),
        'small_convnet_mnist': ((height - 4) // 2, (width - 4) // 2, 64),
        'small_convnet_svhn': (height // 8, width // 8, 128),
        'vgg16': (height // 32, width // 32, 512),
    }[model]


def _convert(
    name: str, tensor: Any, shape: tuple[int, ...], flattened: tuple[int, int, int] | None, problems: list[str]
) -> np.ndarray:
    """Return a tensor in our layout; if its shape is wrong, add to `problems` and return zeros."""
    expected = {4: lambda s: (s[3], s[2], s[0], s[1]), 2: lambda s: (s[1], s[0])}.get(len(shape), lambda s: s)(shape)
    found = tuple(getattr(tensor, 'shape', ()))
    if found != expected:
        problems.append(f'wrong shape: {name} is {found}, needed is {expected}')
        return np.zeros(shape, np.float32)
    array = tensor.detach().float().numpy()
    if flattened is not None:
        height, width, depth = flattened
        array = array.reshape(-1, depth, height, width).transpose(0, 2, 3, 1).reshape(expected)
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(len(shape), (0,))
    return np.ascontiguousarray(array.transpose(axes))


def _raise_if(problems: list[str], path: str, wanted: str) -> None:
    if problems:
        raise UserError('\n'.join([f"'{path}' does not fit {wanted}:", *(f'  - {p}' for p in problems)]))
