"""The unpadded 3x3 convolution, in the form that is fastest where it runs.

On accelerators it is XLA's own. On a CPU there are four forms for stride 1, by the numbers of channels:

- XLA's own (`direct`), but with gradients that are written as plain convolutions too. Those that autodiff writes miss
  Eigen's kernel inside a compiled loop, which is where training happens, and are up to 100 times slower there.
- with many channels, Winograd's F(4x4, 3x3): 36 products a 4x4 tile of the output, instead of 144. The transforms
  before and after them are matrix products too, with constants: quick to compile, and free to take the constants that
  round best. They take as long for few channels as for many, for which they pay. Forward, data gradient and weight
  gradient all live in the transformed domain (`_winograd_bwd`).
- with few input channels (images), im2col: 9 shifted copies side by side, and one product.
- with very few output channels (a head's last layer), one product first and 9 shifted sums after it.

Other strides are im2col. Where unpooling follows, equal pixels must stay equal: `conv3x3_keeping_ties`.

Reference: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.1.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from failpred_jax.types import Array


def _transforms(points: Sequence[float], outputs: int, taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the matrices of Toom and Cook's algorithm by polynomials at the points and at infinity.

    They are A [outputs, n], G [n, taps] and B [n, n], n = outputs + taps - 1, with which A [(G k) * (B x)] is the
    correlation of n inputs x with a kernel k.
    """
    last = np.zeros(len(points) + 1)
    last[-1] = 1
    scales = [np.prod([p - q for q in points if q != p]) for p in points]
    rest = [np.append(np.poly([q for q in points if q != p])[::-1], 0) for p in points]
    a = np.stack([np.append([p**i for p in points], float(i == outputs - 1)) for i in range(outputs)])
    g = np.array([[p**i / scale for i in range(taps)] for p, scale in zip(points, scales, strict=True)])
    return a, np.vstack([g, last[-taps:]]), np.array([*rest, np.poly(points)[::-1]])


# By the side of the output tile: A, G and B for both directions at once. Of six sets of points tried for 4, these
# round best, with relative errors of 2e-6 instead of the 7e-6 of 0, 1, -1, 2, -2; a product with a matrix takes any
# numbers at the same cost.
_TRANSFORMS = {
    side: tuple(np.kron(m, m).astype(np.float32) for m in _transforms(points, side, 3))
    for side, points in {2: (0, 1, -1), 4: (0, 0.75, -0.75, 1.5, -1.5)}.items()
}

# Transformed images up to this size are kept for the backward pass; larger ones are made anew.
_KEEP_BYTES = 2**28


def conv3x3(x: Array, kernel: Array) -> Array:
    """Return the unpadded 3x3 convolution of stride 1, in the fastest form.

    Args:
      x: [B, H, W, D], H and W at least 3.
      kernel: [3, 3, D, F], of the same dtype.

    Returns:
      [B, H - 2, W - 2, F].
    """
    if jax.default_backend() != 'cpu':
        return native(x, kernel)
    (_, height, width, _), (*_, inputs, outputs) = x.shape, kernel.shape
    if 9 * outputs <= inputs:
        return product_first(x, kernel)
    if inputs < 16:
        return im2col(x, kernel)
    # Shorter numbers than float32 have no digits to lose in the transforms.
    pays = x.dtype == jnp.float32 and _winograd_pays(height, width, inputs, outputs)
    return winograd(x, kernel) if pays else direct(x, kernel)


def _winograd_pays(height: int, width: int, inputs: int, outputs: int) -> bool:
    """Return whether `winograd` beats `direct`; for any batch, so that what is cached in one fits another."""
    # 1.6 times as fast at 128 x 128 channels and twice at 256 x 256, see docs/performance.md. On small images it pays
    # for fewer channels, since the transformed ones stay in the processor's cache.
    is_small = height * width * max(inputs, outputs) <= 2**16
    return inputs * outputs >= (32 * 64 if is_small else 64 * 128)


def strided3x3(x: Array, kernel: Array, stride: int) -> Array:
    """Return every `stride`-th row and column of `conv3x3`, from the first on.

    Args:
      x: [B, H, W, D], H and W at least 3.
      kernel: [3, 3, D, F], of the same dtype.
      stride: 1 or greater.

    Returns:
      [B, ceil((H - 2) / stride), ceil((W - 2) / stride), F].
    """
    if stride == 1:
        return conv3x3(x, kernel)
    return im2col(x, kernel, stride) if jax.default_backend() == 'cpu' else native(x, kernel, stride)


@jax.custom_vjp
def conv3x3_keeping_ties(x: Array, kernel: Array) -> Array:
    """Return `conv3x3` such that pixels with equal surroundings come out equal to the last bit, wherever they lie.

    Winograd's form rounds by a pixel's place in its tile. So in a flat part of an image (a sky), the four pixels of a
    pooling window would differ in their last bits, and unpooling would put each value at a place that rounding chose,
    where PyTorch puts it at the first. Gradients have no such ties, and come from the fastest form.

    The arguments and the result are those of `conv3x3`.
    """
    if jax.default_backend() == 'gpu':
        # cuDNN may choose Winograd's form by itself.
        return shifted_products(x, kernel)
    is_image = jax.default_backend() == 'cpu' and kernel.shape[2] < 16
    return im2col(x, kernel) if is_image else native(x, kernel)


conv3x3_keeping_ties.defvjp(
    lambda x, kernel: (conv3x3_keeping_ties(x, kernel), (x, kernel)),
    # The forward pass of the fastest form is not used here, so the compiler drops it.
    lambda saved, dy: jax.vjp(conv3x3, *saved)[1](dy),
)


def native(x: Array, kernel: Array, stride: int = 1) -> Array:
    """Return `strided3x3` by XLA's convolution."""
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    return lax.conv_general_dilated(x, kernel, (stride, stride), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def shifted_products(x: Array, kernel: Array) -> Array:
    """Return `conv3x3` as the sum of 9 matrix products, one of the image shifted to each place of the kernel."""
    height, width = x.shape[1] - 2, x.shape[2] - 2
    shifts = [(i, j) for i in range(3) for j in range(3)]
    return functools.reduce(jnp.add, (jnp.matmul(x[:, i : i + height, j : j + width], kernel[i, j]) for i, j in shifts))


@jax.custom_vjp
def direct(x: Array, kernel: Array) -> Array:
    """Return `conv3x3` by XLA's convolution, and its gradients by two more that need no flag or order of their own."""
    return native(x, kernel)


def _direct_bwd(saved: tuple, dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    # Padded beforehand: on images of 2 x 2 pixels XLA takes 50 times as long if it is left to pad.
    dx = native(jnp.pad(dy, ((0, 0), (2, 2), (2, 2), (0, 0))), kernel[::-1, ::-1].swapaxes(2, 3))
    # The sum over images and pixels: channels stand where images stood, and the gradient is the kernel.
    dkernel = native(_transposed_apart(x, (3, 1, 2, 0)), _transposed_apart(dy, (1, 2, 0, 3)))
    return dx, dkernel.transpose(1, 2, 0, 3)


direct.defvjp(lambda x, kernel: (native(x, kernel), (x, kernel)), _direct_bwd)


def _transposed_apart(x: Array, axes: tuple[int, ...]) -> Array:
    """Return `x` transposed, in a pass over memory that does nothing else.

    XLA on a CPU fuses a transpose with whatever made `x`, and then computes that anew in an order in which nothing
    vectorizes, up to 4 times slower than both apart. It does not fuse across a branch, so there is one, whose rarer
    side gives the same.
    """

    def slowly(x: Array) -> Array:
        return jnp.flip(jnp.flip(x, axes[0]).transpose(axes), 0)

    return lax.cond(jnp.isinf(x[(0,) * x.ndim]), slowly, lambda x: x.transpose(axes), x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def im2col(x: Array, kernel: Array, stride: int = 1) -> Array:
    """Return `strided3x3` as one matrix product of 9 copies of the image side by side."""
    return _im2col(x, kernel, stride)


def _im2col(x: Array, kernel: Array, stride: int) -> Array:
    return _product(_patches(x, stride), kernel.reshape(-1, kernel.shape[-1]))


def _patches(x: Array, stride: int) -> Array:
    """Return the 9 copies of the image, of every `stride`-th row and column: [B, H', W', 9 D]."""
    height, width = x.shape[1] - 2, x.shape[2] - 2
    places = [(i, j) for i in range(3) for j in range(3)]
    return jnp.concatenate([x[:, i : i + height : stride, j : j + width : stride] for i, j in places], axis=-1)


def _im2col_bwd(stride: int, saved: tuple, dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    dx = jax.vjp(lambda x: _im2col(x, kernel, stride), x)[1](dy)[0]
    return dx, _outer_product(_patches(x, stride), dy).reshape(kernel.shape)


im2col.defvjp(lambda x, kernel, stride: (_im2col(x, kernel, stride), (x, kernel)), _im2col_bwd)


def product_first(x: Array, kernel: Array) -> Array:
    """Return `conv3x3` as one matrix product, for all 9 places of the kernel, and their shifted sum."""
    height, width = x.shape[1] - 2, x.shape[2] - 2
    inputs, outputs = kernel.shape[2:]
    y = jnp.matmul(x, kernel.transpose(2, 0, 1, 3).reshape(inputs, -1)).reshape(*x.shape[:3], 3, 3, outputs)
    shifts = [(i, j) for i in range(3) for j in range(3)]
    return functools.reduce(jnp.add, (y[:, i : i + height, j : j + width, i, j] for i, j in shifts))


@jax.custom_vjp
def winograd(x: Array, kernel: Array) -> Array:
    """Return `conv3x3` by Winograd's F(4x4, 3x3), or F(2x2, 3x3) for an output of 2 x 2."""
    return _winograd_output(x, kernel)[0]


def _winograd_output(x: Array, kernel: Array) -> tuple[Array, Array]:
    """Return y and the transformed image.

    y = A [(G k G') * (B x B')] A' for every tile x of the image, both sides of a transform as one matrix.
    """
    batch, height, width = x.shape[0], x.shape[1] - 2, x.shape[2] - 2
    side, down, across = _tiles(height, width)
    a, g, _ = _TRANSFORMS[side]
    image, weight = _transform_image(x), _transform(g, kernel.reshape(9, *kernel.shape[2:]))
    products = lax.dot_general(image, weight, (((2,), (1,)), ((0,), (0,))))
    y = _transform(a, products).reshape(side, side, batch, down, across, -1)
    y = y.transpose(2, 3, 0, 4, 1, 5).reshape(batch, side * down, side * across, -1)[:, :height, :width]
    return y, image


def _winograd_fwd(x: Array, kernel: Array) -> tuple[Array, tuple]:
    y, image = _winograd_output(x, kernel)
    if image.size * image.dtype.itemsize > _KEEP_BYTES:
        return y, (x, None, kernel)
    # An empty slice carries the size of the image, as saved values must be arrays.
    return y, (x[:0], image, kernel)


def _winograd_bwd(saved: tuple, dy: Array) -> tuple[Array, Array]:
    """The transposes of the forward pass's linear maps, in reverse order."""
    x, image, kernel = saved
    if image is None:
        image = _transform_image(x)
    (batch, height, width, outputs), inputs = dy.shape, kernel.shape[2]
    side, down, across = _tiles(height, width)
    a, g, b = _TRANSFORMS[side]
    dy = _fill(dy, side * down, side * across).reshape(batch, down, side, across, side, outputs)
    dproducts = _transform(a.T, dy.transpose(2, 4, 0, 1, 3, 5).reshape(side**2, -1, outputs))
    weight = _transform(g, kernel.reshape(9, inputs, outputs))
    dweight = lax.dot_general(image, dproducts, (((1,), (1,)), ((0,), (0,))))
    dimage = lax.dot_general(dproducts, weight, (((2,), (2,)), ((0,), (0,))))
    dtiles = _transform(b.T, dimage).reshape(side + 2, side + 2, batch, down, across, inputs)

    def overlap(x: Array, axis: int, tiles_axis: int) -> Array:
        """Return a tile's first pixels along an axis; its last two are added to the first two of the next tile."""
        own, after = ([(0, 0)] * x.ndim for _ in range(2))
        own[tiles_axis], after[tiles_axis], after[axis] = (0, 1), (1, 0), (0, side - 2)
        first, last = lax.split(x, (side, 2), axis=axis)
        return jnp.pad(first, own) + jnp.pad(last, after)

    dx = overlap(overlap(dtiles, axis=0, tiles_axis=3), axis=1, tiles_axis=4)
    dx = dx.transpose(2, 3, 0, 4, 1, 5).reshape(batch, side * (down + 1), side * (across + 1), inputs)
    return dx[:, : x.shape[1], : x.shape[2]], _transform(g.T, dweight).reshape(kernel.shape)


winograd.defvjp(_winograd_fwd, _winograd_bwd)


def _tiles(height: int, width: int) -> tuple[int, int, int]:
    """Return the side of the output tiles, and how many there are down and across."""
    side = 2 if max(height, width) <= 2 else 4
    return side, -(-height // side), -(-width // side)


def _transform_image(x: Array) -> Array:
    """Return B x B' of all overlapping tiles x of the image: [(side + 2)^2, tiles, D]."""
    side, down, across = _tiles(x.shape[1] - 2, x.shape[2] - 2)
    x = _fill(x, side * down + 2, side * across + 2)

    def pixels(start: int, tiles: int) -> slice:
        return slice(start, start + side * (tiles - 1) + 1, side)

    # Stacked one direction after the other, which XLA copies twice as fast as all at once.
    places = range(side + 2)
    tiles = jnp.stack([jnp.stack([x[:, pixels(i, down), pixels(j, across)] for j in places]) for i in places])
    return _transform(_TRANSFORMS[side][2], tiles.reshape(len(places) ** 2, -1, x.shape[-1]))


def _transform(matrix: np.ndarray, x: Array) -> Array:
    """Return the matrix times the first axis: [m, n] and [n, ...] -> [m, ...]."""
    # As a product of two matrices: with more axes XLA would not call its fast kernel, and take four times as long.
    return jnp.matmul(matrix.astype(x.dtype), x.reshape(x.shape[0], -1)).reshape(-1, *x.shape[1:])


def _fill(x: Array, height: int, width: int) -> Array:
    return jnp.pad(x, ((0, 0), (0, height - x.shape[1]), (0, width - x.shape[2]), (0, 0)))


def _product(x: Array, weight: Array) -> Array:
    return jnp.matmul(x.reshape(-1, x.shape[-1]), weight).reshape(*x.shape[:-1], -1)


def _outer_product(x: Array, dy: Array) -> Array:
    """Return the sum over pixels of x' dy: [..., D] and [..., F] -> [D, F]."""
    inputs, outputs = x.shape[-1], dy.shape[-1]
    x, dy = x.reshape(-1, inputs), dy.reshape(-1, outputs)
    # A small result is computed by one thread; cut into parts, by all of them, and from data that stay in cache.
    most = 64 if min(inputs, outputs) < 128 else 1
    parts = max(n for n in range(1, most + 1) if x.shape[0] % n == 0 and (n == 1 or x.shape[0] // n >= 64))
    x, dy = x.reshape(parts, -1, inputs), dy.reshape(parts, -1, outputs)
    return jnp.sum(lax.dot_general(x, dy, (((1,), (1,)), ((0,), (0,)))), axis=0)
