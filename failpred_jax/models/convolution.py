"""The unpadded 3x3 convolution of stride 1, in the form that is fastest where it runs.

On accelerators it is XLA's own. On a CPU there are four forms, by the numbers of channels:

- XLA's own (`direct`), but with gradients that are written as plain convolutions too. Those that autodiff writes miss
  Eigen's kernel inside a compiled loop, which is where training happens, and are up to 100 times slower there.
- with many channels, Winograd's F(2x2, 3x3): 16 products a 2x2 tile of the output, instead of 36. Its transforms only
  add and halve, so that rounding stays that of a plain sum; they take as long for few channels as for many, for which
  they pay. Forward, data gradient and weight gradient all live in the transformed domain (`_winograd_bwd`), on arrays
  of the order [H, W, B, D] (`_pixels_first`), in which a pixel of all images is one block of memory: strided slices
  of pixels then vectorise, and a sum over pixels is a matrix product without a transposed copy.
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
    if inputs < 16:
        return im2col(x, kernel)
    # Level at 64 x 64 and 64 x 128 channels, 1.5 times as fast at 128 x 128 and twice at 256 x 256; see
    # docs/performance.md.
    return winograd(x, kernel) if inputs * outputs >= 64 * 128 else direct(x, kernel)


def native(x: Array, kernel: Array, padding: Sequence[tuple[int, int]] = ((0, 0), (0, 0))) -> Array:
    """Return `conv3x3` by XLA's convolution."""
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


@jax.custom_vjp
def direct(x: Array, kernel: Array) -> Array:
    """Return `conv3x3` by XLA's convolution, and its gradients by two more that need no flag or order of their own."""
    return native(x, kernel)


def _direct_bwd(saved: tuple, dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    dx = native(dy, kernel[::-1, ::-1].swapaxes(2, 3), padding=((2, 2), (2, 2)))
    # The sum over images and pixels: channels stand where images stood, and the gradient is the kernel.
    dkernel = native(x.transpose(3, 1, 2, 0), _pixels_first(dy))
    return dx, dkernel.transpose(1, 2, 0, 3)


direct.defvjp(lambda x, kernel: (native(x, kernel), (x, kernel)), _direct_bwd)


@jax.custom_vjp
def im2col(x: Array, kernel: Array) -> Array:
    """Return `conv3x3` as one matrix product of 9 copies of the image side by side."""
    return _im2col(x, kernel)


def _im2col(x: Array, kernel: Array) -> Array:
    return _product(_patches(x), kernel.reshape(-1, kernel.shape[-1]))


def _patches(x: Array) -> Array:
    height, width = x.shape[1] - 2, x.shape[2] - 2
    return jnp.concatenate([x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=-1)


def _im2col_bwd(saved: tuple, dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    dx = jax.vjp(lambda x: _im2col(x, kernel), x)[1](dy)[0]
    return dx, _outer_product(_patches(x), dy).reshape(kernel.shape)


im2col.defvjp(lambda x, kernel: (_im2col(x, kernel), (x, kernel)), _im2col_bwd)


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
    image = _transform_image(_pixels_first(x))
    weight = _transform_kernel(kernel)
    products = [[_product(image[i][j], weight[i, j]) for j in range(4)] for i in range(4)]
    y = _interleave(_mix(_A, products))[:height, :width]
    keep = 4 * x.size * x.dtype.itemsize <= _KEEP_BYTES
    return _batch_first(y), (x, image if keep else None, kernel)


def _winograd_bwd(saved: tuple, dy: Array) -> tuple[Array, Array]:
    """The transposes of the forward pass's linear maps, in reverse order."""
    x, image, kernel = saved
    if image is None:
        image = _transform_image(_pixels_first(x))
    height, width = dy.shape[1:3]
    dy = jnp.pad(_pixels_first(dy), ((0, height % 2), (0, width % 2), (0, 0), (0, 0)))
    dproducts = _mix(_A.T, [[dy[i::2, j::2] for j in range(2)] for i in range(2)])
    weight = _transform_kernel(kernel)
    dweight = jnp.stack([jnp.stack([_outer_product(image[i][j], dproducts[i][j]) for j in range(4)]) for i in range(4)])
    dkernel = jnp.einsum('ai,bj,abdf->ijdf', _G, _G, dweight.astype(jnp.float32)).astype(kernel.dtype)
    dimage = [[_product(dproducts[i][j], weight[i, j].T) for j in range(4)] for i in range(4)]

    def overlap(arrays: Sequence[Array], axis: int) -> list[Array]:
        """Return B' of the arrays as even and odd pixels: tiles are 4 wide, 2 apart, and add where they overlap."""
        before, after = ([(0, 0)] * 4 for _ in range(2))
        before[axis], after[axis] = (1, 0), (0, 1)
        parts = [_combine(row, arrays) for row in _B.T]
        return [jnp.pad(parts[i], after) + jnp.pad(parts[i + 2], before) for i in range(2)]

    # One direction after the other: half the additions of both at once.
    columns = [overlap([dimage[i][j] for i in range(4)], axis=0) for j in range(4)]
    dx = [overlap([columns[j][i] for j in range(4)], axis=1) for i in range(2)]
    return _batch_first(_interleave(dx)[: x.shape[1], : x.shape[2]]), dkernel


winograd.defvjp(_winograd_fwd, _winograd_bwd)


def _pixels_first(x: Array) -> Array:
    """Return [B, H, W, D] as [H, W, B, D]: pixels are then whole blocks of memory, quick to slice and to shift.

    Between layers XLA is free to keep that order in memory, and then nothing is moved.
    """
    return x.transpose(1, 2, 0, 3)


def _batch_first(x: Array) -> Array:
    """Undo `_pixels_first`."""
    return x.transpose(2, 0, 1, 3)


def _interleave(grid: Sequence[Sequence[Array]]) -> Array:
    """Return [2h, 2w, B, D] whose pixels (2y + i, 2x + j) are those of grid[i][j], [h, w, B, D]."""
    height, width, batch, depth = grid[0][0].shape
    # Blocks of B D values, as one axis, are copied three times as fast.
    rows = [jnp.concatenate([a.reshape(height, width, 1, -1) for a in row], axis=2) for row in grid]
    y = jnp.concatenate([row.reshape(height, 1, 2 * width, -1) for row in rows], axis=1)
    return y.reshape(2 * height, 2 * width, batch, depth)


def _product(x: Array, weight: Array) -> Array:
    return jnp.matmul(x.reshape(-1, x.shape[-1]), weight).reshape(*x.shape[:-1], -1)


def _outer_product(x: Array, dy: Array) -> Array:
    """Return the sum over pixels of x' dy: [h, w, B, D] and [h, w, B, F] -> [D, F]."""
    inputs, outputs = x.shape[-1], dy.shape[-1]
    x, dy = x.reshape(-1, inputs), dy.reshape(-1, outputs)
    # A small result is computed by one thread; cut into parts, by all of them, and from data that stay in cache.
    most = 64 if min(inputs, outputs) < 128 else 1
    parts = max(n for n in range(1, most + 1) if x.shape[0] % n == 0 and (n == 1 or x.shape[0] // n >= 64))
    x, dy = x.reshape(parts, -1, inputs), dy.reshape(parts, -1, outputs)
    return jnp.sum(lax.dot_general(x, dy, (((1,), (1,)), ((0,), (0,)))), axis=0)


def _transform_image(x: Array) -> list[list[Array]]:
    """Return B d B' of all overlapping 4x4 tiles d, as 4x4 arrays [tiles down, tiles across, B, D]."""
    x = jnp.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0), (0, 0)))
    down, across = x.shape[0] - 3, x.shape[1] - 3
    return _mix(_B, [[x[i : i + down : 2, j : j + across : 2] for j in range(4)] for i in range(4)])


def _transform_kernel(kernel: Array) -> Array:
    """Return G k G' as [4, 4, D, F]."""
    return jnp.einsum('ai,bj,ijdf->abdf', _G, _G, kernel.astype(jnp.float32)).astype(kernel.dtype)


def _mix(matrix: np.ndarray, grid: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """Return matrix @ grid @ matrix.T for a grid of arrays and a matrix of 0, 1 and -1."""
    across = [[_combine(row, arrays) for row in matrix] for arrays in grid]
    columns = list(zip(*across, strict=True))
    return [[_combine(row, column) for column in columns] for row in matrix]


def _combine(row: np.ndarray, arrays: Sequence[Array]) -> Array:
    """Return the sum of the arrays, each times its 0, 1 or -1 of the row."""
    terms = [(sign, a) for sign, a in zip(row, arrays, strict=True) if sign]
    total = terms[0][1] if terms[0][0] > 0 else -terms[0][1]
    for sign, a in terms[1:]:
        total = total + a if sign > 0 else total - a
    return total
