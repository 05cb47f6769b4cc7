"""The unpadded 3x3 convolution of stride 1, in the form that is fastest where it runs.

On accelerators it is XLA's own. On a CPU that one is 20 times slower inside a compiled loop, which is where training
happens, and crawls on tiny images; there, matrix products do the work:

- from 16 channels on, Winograd's F(2x2, 3x3): 16 products a 2x2 tile of the output, instead of 36, on arrays 4 times
  the image instead of the 9 times of im2col. Its transforms only add and halve, so that rounding stays that of a
  plain sum. Forward, data gradient and weight gradient all live in the transformed domain (`_winograd_bwd`).
- with few input channels (images), im2col: 9 shifted copies side by side, and one product.
- with very few output channels (a head's last layer), one product first and 9 shifted sums after it.

Reference: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.1.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from failpred_jax.types import Array

# The transforms of an image tile, a kernel and an output tile: y = A [(G k G') * (B d B')] A'.
_B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
_A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])

# Transformed images up to this size are kept for the backward pass; larger ones are made anew.
_KEEP_BYTES = 2**28


def conv3x3(x: Array, kernel: Array) -> Array:
    """Return the unpadded 3x3 convolution of stride 1.

    Args:
      x: [B, H, W, D], H and W at least 3.
      kernel: [3, 3, D, F], of the same dtype.

    Returns:
      [B, H - 2, W - 2, F].
    """
    if jax.default_backend() != 'cpu':
        return native(x, kernel)
    inputs, outputs = kernel.shape[2:]
    if 9 * outputs <= inputs:
        return product_first(x, kernel)
    return winograd(x, kernel) if inputs >= 16 else im2col(x, kernel)


def native(x: Array, kernel: Array) -> Array:
    """Return `conv3x3` by XLA's convolution."""
    return lax.conv_general_dilated(x, kernel, (1, 1), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def im2col(x: Array, kernel: Array) -> Array:
    """Return `conv3x3` as one matrix product of 9 copies of the image side by side."""
    height, width = x.shape[1] - 2, x.shape[2] - 2
    patches = jnp.concatenate([x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=-1)
    return jnp.matmul(patches, kernel.reshape(-1, kernel.shape[-1]))


def product_first(x: Array, kernel: Array) -> Array:
    """Return `conv3x3` as one matrix product, for all 9 places of the kernel, and their shifted sum."""
    height, width = x.shape[1] - 2, x.shape[2] - 2
    inputs, outputs = kernel.shape[2:]
    y = jnp.matmul(x, kernel.transpose(2, 0, 1, 3).reshape(inputs, -1)).reshape(*x.shape[:3], 3, 3, outputs)
    return sum(y[:, i : i + height, j : j + width, i, j] for i in range(3) for j in range(3))


@jax.custom_vjp
def winograd(x: Array, kernel: Array) -> Array:
    """Return `conv3x3` by Winograd's F(2x2, 3x3)."""
    return _winograd_fwd(x, kernel)[0]


def _winograd_fwd(x: Array, kernel: Array) -> tuple[Array, tuple]:
    height, width = x.shape[1] - 2, x.shape[2] - 2
    image = _transform_image(x)
    weight = _transform_kernel(kernel)
    products = [[jnp.matmul(image[i][j], weight[i, j]) for j in range(4)] for i in range(4)]
    y = _interleave(_mix(_A, products))[:, :height, :width]
    keep = 4 * x.size * x.dtype.itemsize <= _KEEP_BYTES
    return y, (x, image if keep else None, kernel)


def _winograd_bwd(saved: tuple, dy: Array) -> tuple[Array, Array]:
    """The transposes of the forward pass's linear maps, in reverse order."""
    x, image, kernel = saved
    if image is None:
        image = _transform_image(x)
    height, width = dy.shape[1:3]
    # Made once, rather than anew in each of the 16 loops that read it.
    dy = lax.optimization_barrier(jnp.pad(dy, ((0, 0), (0, height % 2), (0, width % 2), (0, 0))))
    dproducts = _mix(_A.T, [[dy[:, i::2, j::2] for j in range(2)] for i in range(2)])
    weight = _transform_kernel(kernel)
    pixels = ((0, 1, 2), (0, 1, 2))
    dweight = jnp.stack(
        [jnp.stack([jnp.tensordot(image[i][j], dproducts[i][j], pixels) for j in range(4)]) for i in range(4)]
    )
    dkernel = jnp.einsum('ai,bj,abdf->ijdf', _G, _G, dweight.astype(jnp.float32)).astype(kernel.dtype)
    dimage = [[jnp.matmul(dproducts[i][j], weight[i, j].T) for j in range(4)] for i in range(4)]
    tiles = _mix(_B.T, dimage)

    def place(tile: Array, down: int, right: int) -> Array:
        return jnp.pad(tile, ((0, 0), (down, 1 - down), (right, 1 - right), (0, 0)))

    # Tiles are 4 wide and lie 2 apart: a pixel sums what up to four tiles say of it.
    dx = [
        [sum(place(tiles[i + 2 * m][j + 2 * n], m, n) for m in range(2) for n in range(2)) for j in range(2)]
        for i in range(2)
    ]
    return _interleave(dx)[:, : x.shape[1], : x.shape[2]], dkernel


winograd.defvjp(_winograd_fwd, _winograd_bwd)


def _transform_image(x: Array) -> list[list[Array]]:
    """Return B d B' of all overlapping 4x4 tiles d, as 4x4 arrays [B, tiles down, tiles across, D]."""
    height, width = x.shape[1:3]
    x = lax.optimization_barrier(jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0))))
    down, across = x.shape[1] - 3, x.shape[2] - 3
    return _mix(_B, [[x[:, i : i + down : 2, j : j + across : 2] for j in range(4)] for i in range(4)])


def _transform_kernel(kernel: Array) -> Array:
    """Return G k G' as [4, 4, D, F]."""
    return jnp.einsum('ai,bj,ijdf->abdf', _G, _G, kernel.astype(jnp.float32)).astype(kernel.dtype)


def _mix(matrix: np.ndarray, grid: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """Return matrix @ grid @ matrix.T for a grid of arrays and a matrix of 0, 1 and -1."""

    def combine(row: np.ndarray, arrays: Sequence[Array]) -> Array:
        terms = [(sign, a) for sign, a in zip(row, arrays, strict=True) if sign]
        total = terms[0][1] if terms[0][0] > 0 else -terms[0][1]
        for sign, a in terms[1:]:
            total = total + a if sign > 0 else total - a
        return total

    across = [[combine(row, arrays) for row in matrix] for arrays in grid]
    columns = list(zip(*across, strict=True))
    return [[combine(row, column) for column in columns] for row in matrix]


def _interleave(grid: list[list[Array]]) -> Array:
    """Return [B, 2h, 2w, D] whose pixels (2y + i, 2x + j) are those of grid[i][j], [B, h, w, D]."""
    y = jnp.stack([jnp.stack(row, axis=3) for row in grid], axis=2)
    batch, height, _, width, _, depth = y.shape
    return y.reshape(batch, 2 * height, 2 * width, depth)
