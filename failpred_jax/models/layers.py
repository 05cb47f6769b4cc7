"""The layers that the architectures are built of.

PyTorch's conventions, so that its weights mean the same here: its default initialization, BatchNorm whose running
variance is the unbiased one, and max-pooling ties that go to the first.
"""

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen
from jax import lax

from failpred_jax import compiler
from failpred_jax.models.convolution import conv3x3, conv3x3_keeping_ties, strided3x3
from failpred_jax.types import Array

BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.9

# (key, shape) -> array
Initializer = Callable[..., Array]
# Of the convolutions of residual networks. Reference: He et al., "Delving Deep into Rectifiers", ICCV 2015, section 2.2
# (by the backward pass, as their authors' code has it).
he_normal: Initializer = linen.initializers.variance_scaling(2.0, 'fan_out', 'normal')


class Mode(NamedTuple):
    """How a pass through layers is run.

    Attributes:
      dropout: whether dropout is active.
      batch_norm: whether BatchNorm uses (and updates its running statistics with) those of the batch.
      mask: [B] bool of the images that count in batch statistics, or None for all.
      axis_name: the mapped axis over which batch statistics are taken, or None.
    """

    dropout: bool = False
    batch_norm: bool = False
    mask: Array | None = None
    axis_name: str | None = None


EVAL = Mode()


class Dense(linen.Module):
    """A matrix product and a bias over the last axis: [..., D] -> [..., features].

    Attributes:
      features: width of the output.
      dtype: of the computation.
      is_output: the layer whose output leaves the network. It computes in float32 whatever `dtype` is, without the
        shorter products (TF32, bfloat16) that accelerators use by default: in bfloat16, thousands of confidences would
        share some sixty values.
    """

    features: int
    dtype: jnp.dtype = jnp.float32
    is_output: bool = False

    @linen.compact
    def __call__(self, x: Array, mode: Mode = EVAL) -> Array:
        init = _uniform_by(x.shape[-1])
        kernel = self.param('kernel', init, (x.shape[-1], self.features))
        bias = self.param('bias', init, (self.features,))
        dtype = jnp.float32 if self.is_output else self.dtype
        with _output_precision(self.is_output):
            y = jnp.matmul(x.astype(dtype), kernel.astype(dtype))
        return _add_last(y, bias.astype(dtype))


class Conv(linen.Module):
    """A 3x3 or 1x1 convolution: [B, H, W, D] -> [B, H', W', features].

    Attributes:
      features: output channels.
      padding: before a 3x3 kernel: 'none', 'zero' or 'reflect' (needs at least 2 x 2 pixels). H' is
        ceil(H / stride), or ceil((H - 2) / stride) with 'none'. A 1x1 kernel takes 'none', which loses nothing.
      dtype: of the computation.
      size: of the kernel, 3 or 1.
      stride: every how many rows and columns are kept, from the first on.
      use_bias: whether a bias is added.
      kernel_init: initializer of the kernel; None for PyTorch's default, U(+-1/sqrt(fan-in)).
      keeps_ties: pixels with equal surroundings come out equal to the last bit; see `conv3x3_keeping_ties`. For a 3x3
        kernel of stride 1.
      is_output: as in Dense.
    """

    features: int
    padding: str
    dtype: jnp.dtype = jnp.float32
    size: int = 3
    stride: int = 1
    use_bias: bool = True
    kernel_init: Initializer | None = None
    keeps_ties: bool = False
    is_output: bool = False

    @linen.compact
    def __call__(self, x: Array, mode: Mode = EVAL) -> Array:
        default_init = _uniform_by(self.size**2 * x.shape[-1])
        shape = (self.size, self.size, x.shape[-1], self.features)
        dtype = jnp.float32 if self.is_output else self.dtype
        kernel = self.param('kernel', self.kernel_init or default_init, shape).astype(dtype)
        padded = _PADDINGS[self.padding](x.astype(dtype))
        with _output_precision(self.is_output):
            y = self._convolve(padded, kernel)
        if not self.use_bias:
            return y
        return _add_last(y, self.param('bias', default_init, (self.features,)).astype(dtype))

    def _convolve(self, x: Array, kernel: Array) -> Array:
        if self.size == 1:
            return jnp.matmul(x[:, :: self.stride, :: self.stride], kernel[0, 0])
        if self.keeps_ties:
            return conv3x3_keeping_ties(x, kernel)
        return conv3x3(x, kernel) if self.stride == 1 else strided3x3(x, kernel, self.stride)


class BatchNorm(linen.Module):
    """Normalize each channel over the batch and its pixels, in float32: [B, ..., D] -> the same.

    Reference: Ioffe and Szegedy, ICML 2015, algorithm 1; the running variance is the unbiased one, as in PyTorch.
    """

    dtype: jnp.dtype = jnp.float32

    @linen.compact
    def __call__(self, x: Array, mode: Mode = EVAL) -> Array:
        width = (x.shape[-1],)
        scale = self.param('scale', linen.initializers.ones, width)
        bias = self.param('bias', linen.initializers.zeros, width)
        running_mean = self.variable('batch_stats', 'mean', jnp.zeros, width)
        running_var = self.variable('batch_stats', 'var', jnp.ones, width)
        x = x.astype(jnp.float32)
        if mode.batch_norm:
            # `custom_vjp` hides from a type checker what it returns.
            normalized: Any = _normalize(x, scale, bias, mode.mask, mode.axis_name)
            y, mean, var, count = normalized
            unbiased = var * (count / jnp.maximum(count - 1, 1))
            running_mean.value += (1 - BATCH_NORM_MOMENTUM) * (lax.stop_gradient(mean) - running_mean.value)
            running_var.value += (1 - BATCH_NORM_MOMENTUM) * (lax.stop_gradient(unbiased) - running_var.value)
        else:
            y = _scale_and_shift(x, running_mean.value, _inverse_deviation(running_var.value), scale, bias)
        return y.astype(self.dtype)


class Dropout(linen.Module):
    """Zero each unit with probability `rate` and scale the others so that the mean stays: [...] -> [...]."""

    rate: float

    @linen.compact
    def __call__(self, x: Array, mode: Mode = EVAL) -> Array:
        if not (mode.dropout and self.rate):
            return x
        kept = keep_mask(self.make_rng('dropout'), self.rate, x.shape)
        return jnp.where(kept, x * jnp.asarray(1 / (1 - self.rate), x.dtype), jnp.zeros((), x.dtype))


def keep_mask(key: Array, rate: float, shape: tuple[int, ...]) -> Array:
    """Return a mask that is False with probability `rate`, from as few random bits as the rate needs.

    Rates such as 1/2 or 1/4 take 1 or 2 bits a unit and are exact; others take 16 bits and are within 2^-17.

    Args:
      key: PRNG key.
      rate: in [0, 1).
      shape: of the result.

    Returns:
      `shape` bool.
    """
    bits = next((b for b in (1, 2, 4, 8) if (rate * 2**b).is_integer()), 16)
    count = math.prod(shape)
    drawn = _random_words(key, -(-count * bits // 32))
    # Words along the last axis, so that a processor takes many at a time.
    shifts = jnp.arange(0, 32, bits, dtype=jnp.uint32)
    values = ((drawn[None, :] >> shifts[:, None]) & (2**bits - 1)).reshape(-1)
    return (values[:count] >= round(rate * 2**bits)).reshape(shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _normalize(
    x: Array, scale: Array, bias: Array, mask: Array | None, axis_name: str | None
) -> tuple[Array, Array, Array, Array]:
    """Return `x` normalized by the batch, and mean [D], biased variance [D] and count behind it, over the axis.

    Only the first of the four has a gradient.
    """
    return _normalize_fwd(x, scale, bias, mask, axis_name)[0]


def _normalize_fwd(x: Array, scale: Array, bias: Array, mask: Array | None, axis_name: str | None) -> tuple:
    axes = tuple(range(x.ndim - 1))
    values_an_image = math.prod(x.shape[1:-1])
    counts = None if mask is None else mask.reshape(-1, *(1 for _ in x.shape[1:]))

    def total(v: Array) -> Array:
        return _total(jnp.sum(v if counts is None else jnp.where(counts, v, 0), axes), axis_name)

    num_images = jnp.float32(x.shape[0]) if mask is None else jnp.sum(mask, dtype=jnp.float32)
    count = jnp.maximum(_total(num_images * values_an_image, axis_name), 1)
    mean = total(x) / count
    var = total(jnp.square(_add_last(x, -mean))) / count
    inverse = _inverse_deviation(var)
    y = _scale_and_shift(x, mean, inverse, scale, bias)
    return (y, mean, var, count), (x, scale, counts, mean, inverse, count)


def _normalize_bwd(axis_name: str | None, saved: tuple, cotangents: tuple) -> tuple:
    # Written out, it takes two sums over the batch; what autodiff makes of the mean and the variance takes three, and
    # an array more to take them from.
    x, scale, counts, mean, inverse, count = saved
    dy = cotangents[0]
    axes = tuple(range(x.ndim - 1))
    dbias = jnp.sum(dy, axes)
    dscale = jnp.sum(dy * _add_last(x, -mean), axes) * inverse
    # Every value that counts moves the mean and the variance, on all devices.
    by_mean = _total(dbias, axis_name) / count
    by_deviation = _total(dscale, axis_name) * inverse / count
    moved = _add_last(_as_last(by_deviation, x) * _add_last(x, -mean), by_mean)
    dx = _as_last(scale * inverse, x) * (dy - (moved if counts is None else jnp.where(counts, moved, 0)))
    return dx, dscale, dbias, None


_normalize.defvjp(_normalize_fwd, _normalize_bwd)


def _total(v: Array, axis_name: str | None) -> Array:
    return v if axis_name is None else lax.psum(v, axis_name)


def _inverse_deviation(var: Array) -> Array:
    return lax.rsqrt(var + BATCH_NORM_EPSILON)


def _scale_and_shift(x: Array, mean: Array, inverse: Array, scale: Array, bias: Array) -> Array:
    return _add_last(_as_last(scale * inverse, x) * _add_last(x, -mean), bias)


def _output_precision(is_output: bool) -> contextlib.AbstractContextManager:
    return compiler.full_precision() if is_output else contextlib.nullcontext()


def _uniform_by(fan_in: int) -> Initializer:
    """Return an initializer U(+-1/sqrt(fan_in)), PyTorch's default for weights and biases."""
    return lambda key, shape: _uniform(key, shape, 1 / math.sqrt(fan_in))


@functools.partial(jax.jit, static_argnums=1)
def _uniform(key: Array, shape: tuple[int, ...], bound: float) -> Array:
    # 24 of the 32 bits are what a float32 can hold.
    words = _random_words(key, math.prod(shape)) >> 8
    return (words.astype(jnp.float32) * 2.0**-23 - 1).reshape(shape) * bound


def _random_words(key: Array, count: int) -> Array:
    """Return `count` uint32 that depend on the key alone, the same on every backend."""
    # XLA's own Threefry yields two words a round of 64 bits, where jax.random.bits uses one of them: 4 times faster
    # to run, and faster to compile.
    seed = jax.random.key_data(key)
    state = jnp.concatenate([seed, jnp.zeros(4 - seed.size, jnp.uint32)])

    def draw(state: Array) -> Array:
        return lax.rng_bit_generator(state, (count,), jnp.uint32, algorithm=lax.RandomAlgorithm.RNG_THREE_FRY)[1]

    # Under vmap, lax.rng_bit_generator would draw for all keys from the first of them.
    @jax.custom_batching.sequential_vmap
    def draw_once(state: Array) -> Array:
        is_rare = state[0] == state[1]
        if jax.default_backend() != 'cpu':
            return draw(jnp.where(is_rare, state[::-1], state))
        # On a CPU, XLA fuses the generator into whatever reads the words, and draws a word anew for each of the up to
        # 32 units that take their bits from it: 40 times slower for rate 1/4. It does not fuse across a branch, so
        # there is one, whose rarer side is as random as the other.
        return lax.cond(is_rare, lambda: draw(state[::-1]), lambda: draw(state))

    return draw_once(state)


def _pad_with_zeros(x: Array) -> Array:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


@jax.custom_vjp
def _pad_by_reflection(x: Array) -> Array:
    x = jnp.concatenate([x[:, 1:2], x, x[:, -2:-1]], axis=1)
    return jnp.concatenate([x[:, :, 1:2], x, x[:, :, -2:-1]], axis=2)


def _pad_by_reflection_bwd(_: tuple, dy: Array) -> tuple[Array]:
    # One pass over the gradient, where autodiff writes and adds up a padded copy for each border.
    for axis in (1, 2):
        size = dy.shape[axis] - 2
        border, inside, other_border = lax.split(dy, (1, size, 1), axis=axis)
        place = lax.broadcasted_iota(jnp.int32, inside.shape, axis)
        dy = inside + jnp.where(place == 1, border, 0) + jnp.where(place == size - 2, other_border, 0)
    return (dy,)


_pad_by_reflection.defvjp(lambda x: (_pad_by_reflection(x), ()), _pad_by_reflection_bwd)


_PADDINGS = {'none': lambda x: x, 'zero': _pad_with_zeros, 'reflect': _pad_by_reflection}


def _as_last(vector: Array, like: Array) -> Array:
    return vector.reshape((1,) * (like.ndim - 1) + (-1,))


def _add_last(x: Array, vector: Array) -> Array:
    return x + _as_last(vector, x)
