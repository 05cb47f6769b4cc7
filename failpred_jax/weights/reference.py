"""The checkpoints of the paper's own code (`model_epoch_NNN.ckpt`)."""

import re
from collections.abc import Iterable

import jax
from flax import traverse_util

from failpred_jax.config import ModelConfig
from failpred_jax.errors import UserError
from failpred_jax.models.network import make_network
from failpred_jax.registry import WEIGHTS
from failpred_jax.types import DatasetInfo, PyTree
from failpred_jax.weights.files import read_arrays
from failpred_jax.weights.format import Found, Place, Source, Target, WeightsFormat
from failpred_jax.weights.torch_layout import TORCH_LEAVES, convert, flattened

MODELS_OF_REFERENCE = ('mlp', 'small_convnet_mnist', 'small_convnet_svhn', 'vgg16', 'segnet')

# A layer that the reference's fine-tuned confidence network holds but never uses: ours leaves it out.
_UNUSED = re.compile(r'uncertainty_network\.(fc2|up1)\.')


def read_torch_checkpoint(path: str, model: ModelConfig, info: DatasetInfo) -> tuple[PyTree, PyTree]:
    """Return the parameters and BatchNorm statistics of a checkpoint of the reference, or of its state dict alone.

    Args:
      path: the file.
      model: the architecture it was trained with.
      info: the data set it was trained on (image shape and number of classes).

    Returns:
      params: {'backbone', 'classifier'} of a baseline, with 'head' of a confidence model, and 'encoder' of a fine-tuned
        one; nested dicts of float32 arrays.
      batch_stats: the same for running statistics.

    Raises:
      UserError: PyTorch is not installed; the file cannot be read as plain tensors (see files.py); the reference has no
        such model; or entries are missing, unexpected or of another shape, all of them named.
    """
    if model.name not in MODELS_OF_REFERENCE:
        raise UserError(
            f"the reference has no model '{model.name}'; set config.model.name to one of: "
            f'{", ".join(MODELS_OF_REFERENCE)}, or give the file as config.baseline.init_from'
        )
    network = make_network(model, info)
    templates = jax.eval_shape(lambda key: network.with_encoder(*network.init(key)), jax.random.key(0))
    target = Target(model, info, *templates, only=frozenset(templates[0]))
    arrays = read_arrays(path)
    found = _read_trees(Source(path, arrays), target, _trees_in(arrays))
    found.raise_if_wrong(path, target.words())
    params, batch_stats = ({}, {})
    for place, array in found.leaves.items():
        (batch_stats if place[-1] in ('mean', 'var') else params)[place] = array
    return traverse_util.unflatten_dict(params), traverse_util.unflatten_dict(batch_stats)


def _trees_in(names: Iterable[str]) -> dict[str, str]:
    """Return the sub-trees that a state dict holds, each with what stands before its names."""
    names = list(names)
    if any(name.startswith(('pred_network.', 'uncertainty_network.')) for name in names):
        return {
            'backbone': 'pred_network.', 'classifier': 'pred_network.',
            'encoder': 'uncertainty_network.', 'head': 'uncertainty_network.',
        }  # fmt: skip
    has_head = any(name.startswith('uncertainty') for name in names)
    return {'backbone': '', 'classifier': ''} | ({'head': ''} if has_head else {})


def _read_trees(source: Source, target: Target, prefixes: dict[str, str]) -> Found:
    """Return the leaves of the sub-trees in `prefixes`, as far as the target wants them."""
    found = Found()
    given = {name: array for name, array in source.arrays.items() if not _UNUSED.match(name)}
    for place, shape in target.shapes().items():
        if place[0] not in prefixes:
            continue
        name = prefixes[place[0]] + _torch_name(target.model.name, place)
        if not target.wants(place):
            given.pop(name, None)
        elif name in given:
            flat = flattened(target.model.name, target.info, place)
            convert(found, name, given.pop(name), place, shape, flat)
        else:
            found.problems.append(f'missing: {name}')
    found.problems += [f'unexpected: {name}' for name in given]
    return found


def _recognizes(source: Source, target: Target) -> bool:
    if source.is_renamed or target.model.name not in MODELS_OF_REFERENCE:
        return False
    prefix = _trees_in(source.arrays)['backbone']
    expected = {prefix + _torch_name(target.model.name, place) for place in target.shapes() if place[0] == 'backbone'}
    return bool(expected & set(source.arrays))


def _read(source: Source, target: Target) -> Found:
    """Return the classifier of a checkpoint; a confidence head or a second encoder in it is left out."""
    prefixes = _trees_in(source.arrays)
    of_classifier = {tree: prefix for tree, prefix in prefixes.items() if tree in ('backbone', 'classifier')}
    theirs = {name: array for name, array in source.arrays.items() if not name.startswith('uncertainty')}
    found = _read_trees(Source(source.path, theirs), target, of_classifier)
    if len(theirs) < len(source.arrays):
        found.notes.append('its classifier alone: --mode=import_torch takes the confidence network too')
    return found


def _torch_name(model: str, place: Place) -> str:
    """Return the reference's name for our leaf, such as 'conv3.net.1.weight' for ('backbone', 'conv3', 'kernel')."""
    tree, *layers, leaf = place
    suffix = TORCH_LEAVES[leaf]
    if tree == 'head':
        number = int(layers[0].rpartition('_')[2]) + 1
        return f'uncertainty{number}.{suffix}'
    if model == 'segnet':
        block, layer = ('up1', *layers) if tree == 'classifier' else layers
        kind, number = _kind_and_number(layer)
        return f'{block}.conv{number}.cbr_unit.{0 if kind == "conv" else 1}.{suffix}'
    if tree == 'classifier':
        return f'fc2.{suffix}'
    kind, number = _kind_and_number(layers[0])
    if kind == 'bn':
        return f'conv{number}_bn.{suffix}'
    if kind == 'conv' and model != 'small_convnet_mnist':
        return f'conv{number}.net.1.{suffix}'
    return f'{kind}{number}.{suffix}'


def _kind_and_number(layer: str) -> tuple[str, str]:
    kind = layer.rstrip('0123456789')
    return kind, layer.removeprefix(kind)


WEIGHTS.register('reference')(WeightsFormat("a checkpoint of the paper's own code", _recognizes, _read))
