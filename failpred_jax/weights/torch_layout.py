"""PyTorch's arrays in our layout.

Its convolution kernels are [F, D, 3, 3] and ours [3, 3, D, F]; its dense kernels are [out, in] and ours [in, out]; it
flattens an image as channels, rows, columns and we as rows, columns, channels.
"""

import numpy as np

from failpred_jax.types import DatasetInfo
from failpred_jax.weights.format import Found, Place

# Our name of a leaf by PyTorch's; a 'weight' is a kernel, or BatchNorm's scale.
LEAVES = {'bias': ('bias',), 'weight': ('kernel', 'scale'), 'running_mean': ('mean',), 'running_var': ('var',)}
TORCH_LEAVES = {ours: theirs for theirs, names in LEAVES.items() for ours in names}


def convert(
    found: Found, name: str, array: np.ndarray, place: Place, shape: tuple[int, ...], flat: tuple[int, int, int] | None
) -> None:
    """Add PyTorch's array to what was found, in our layout, or a problem if its shape is wrong.

    Args:
      found: added to.
      name: the array's name, for the message.
      array: float32.
      place: where it belongs.
      shape: of our leaf there.
      flat: (H, W, D) of the image that is flattened before this dense kernel, or None.
    """
    needed = {4: lambda s: (s[3], s[2], s[0], s[1]), 2: lambda s: (s[1], s[0])}.get(len(shape), lambda s: s)(shape)
    if array.shape != needed:
        found.problems.append(f'wrong shape: {name} is {array.shape}, needed is {needed}')
        return
    if flat is not None:
        height, width, depth = flat
        array = array.reshape(-1, depth, height, width).transpose(0, 2, 3, 1).reshape(needed)
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(len(shape), (0,))
    found.leaves[place] = np.ascontiguousarray(array.transpose(axes))


def flattened(model: str, info: DatasetInfo, place: Place) -> tuple[int, int, int] | None:
    """Return (H, W, D) of what is flattened before a dense kernel, or None for all other leaves."""
    if place[0] not in ('backbone', 'encoder') or place[1:] != ('fc1', 'kernel'):
        return None
    height, width, channels = info.image_shape
    return {
        'mlp': (height, width, channels),
        'small_convnet_mnist': ((height - 4) // 2, (width - 4) // 2, 64),
        'small_convnet_svhn': (height // 8, width // 8, 128),
        'vgg16': (height // 32, width // 32, 512),
    }.get(model)
