"""Every form of the convolution against XLA's own, values and both gradients, for the shapes the models use."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import as_for_users

from failpred_jax.models import convolution
from failpred_jax.models.convolution import (
    conv3x3,
    conv3x3_keeping_ties,
    direct,
    im2col,
    native,
    product_first,
    shifted_products,
    strided3x3,
    winograd,
)

# (H, W) after padding, D, F: small convnets, VGG16 and SegNet, at few images and, for the large ones, fewer pixels.
SHAPES = [
    (28, 28, 1, 32),
    (26, 26, 32, 64),
    (34, 34, 3, 32),
    (18, 18, 64, 64),
    (10, 10, 128, 256),
    (4, 4, 512, 512),
    (3, 3, 512, 512),
    (24, 17, 64, 12),
    (13, 32, 64, 1),
    (9, 11, 400, 120),
]


@functools.partial(jax.jit, static_argnums=0)
def both_ways(conv, x, kernel, dy):
    y, vjp = jax.vjp(conv, x, kernel)
    return (y, *vjp(dy))


def inputs(shape, batch=2, dtype=jnp.float32):
    height, width, depth, features = shape
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (batch, height, width, depth), dtype)
    kernel = jax.random.normal(keys[1], (3, 3, depth, features), dtype) / (3 * depth**0.5)
    return x, kernel.astype(dtype), jax.random.normal(keys[2], (batch, height - 2, width - 2, features), dtype)


def assert_close(ours, expected, tolerance=2e-5):
    for a, b in zip(ours, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        scale = float(jnp.abs(b).max())
        np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(b, np.float32), atol=tolerance * scale)


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_what_runs_equals_the_native_form(shape):
    args = inputs(shape)
    expected = both_ways(native, *args)
    for conv in (conv3x3, conv3x3_keeping_ties):
        assert_close(both_ways(conv, *args), expected)


# Channels that take each form of conv3x3, and sides that leave Winograd's tiles and a processor's vectors unfilled.
@pytest.mark.parametrize('shape', [(11, 18, 3, 64), (9, 14, 64, 128), (12, 7, 256, 256), (4, 5, 512, 16)], ids=str)
@pytest.mark.parametrize('conv', [conv3x3_keeping_ties, shifted_products])
def test_equal_surroundings_give_equal_pixels(conv, shape):
    """Half of the image is flat, and the rest is noise."""
    x, kernel, _ = inputs(shape)
    flat = x.at[:, :, : shape[1] - 3].set(x[:1, :1, :1])
    options = as_for_users()
    looped = jax.jit(lambda x, kernel: jax.lax.map(lambda x: conv(x, kernel), x[None])[0], compiler_options=options)
    for y in (looped(flat, kernel), jax.jit(conv, compiler_options=options)(flat, kernel)):
        part = np.asarray(y)[:, :, : shape[1] - 5]
        np.testing.assert_array_equal(part, np.broadcast_to(part[:1, :1, :1], part.shape))


@pytest.mark.parametrize('shape', [(10, 9, 3, 8), (11, 12, 32, 24)], ids=str)
@pytest.mark.parametrize('stride', [1, 2, 3])
def test_strides_keep_every_so_many_rows_and_columns(shape, stride):
    x, kernel, dy = inputs(shape)
    dy = dy[:, ::stride, ::stride]
    ours = both_ways(lambda x, kernel: strided3x3(x, kernel, stride), x, kernel, dy)
    assert_close(ours, both_ways(lambda x, kernel: native(x, kernel, stride), x, kernel, dy))
    assert_close(ours, both_ways(lambda x, kernel: native(x, kernel)[:, ::stride, ::stride], x, kernel, dy))


@pytest.mark.parametrize('conv', [direct, im2col, product_first, shifted_products, winograd])
def test_every_form_fits_every_small_shape(conv):
    for shape in [(3, 3, 2, 1), (4, 5, 3, 2)]:
        args = inputs(shape)
        assert_close(both_ways(conv, *args), both_ways(native, *args))


def test_winograd_without_a_kept_transform(monkeypatch):
    args = inputs((7, 8, 16, 4))
    kept = both_ways(winograd, *args)
    monkeypatch.setattr(convolution, '_KEEP_BYTES', 0)
    anew = both_ways(lambda x, kernel: winograd(x, kernel), *args)
    assert_close(anew, kept, tolerance=1e-6)


@pytest.mark.parametrize('side', [2, 4])
def test_winograds_matrices_give_the_correlation(side, rng):
    x, kernel = rng.normal(size=(side + 2, side + 2)), rng.normal(size=(3, 3))
    a, g, b = (m.astype(np.float64) for m in convolution._TRANSFORMS[side])
    y = a @ ((g @ kernel.ravel()) * (b @ x.ravel()))
    expected = [np.sum(x[i : i + 3, j : j + 3] * kernel) for i in range(side) for j in range(side)]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_winograd_rounds_little_more_than_a_plain_sum():
    x, kernel, dy = (np.maximum(inputs((10, 10, 256, 64))[0], 0), *inputs((10, 10, 256, 64))[1:])
    with jax.enable_x64(True):
        exact = both_ways(native, *(jnp.asarray(v, jnp.float64) for v in (x, kernel, dy)))
        exact = [np.asarray(v) for v in exact]
    for ours, expected in zip(both_ways(winograd, x, kernel, dy), exact, strict=True):
        assert np.abs(ours - expected).max() < 4e-6 * np.abs(expected).max()


def test_transposing_apart_changes_no_value():
    x = jnp.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    for first in (0.0, np.inf):  # each takes another branch
        x = x.at[0, 0, 0, 0].set(first)
        for axes in ((3, 1, 2, 0), (1, 2, 0, 3)):
            np.testing.assert_array_equal(convolution._transposed_apart(x, axes), x.transpose(axes))


def test_inside_a_loop_and_over_several_networks():
    x, kernel, dy = inputs((6, 7, 16, 4))
    looped = jax.jit(lambda x, kernel, dys: jax.lax.map(lambda dy: both_ways(conv3x3, x, kernel, dy)[1], dys))
    np.testing.assert_allclose(looped(x, kernel, dy[None])[0], both_ways(native, x, kernel, dy)[1], atol=1e-5)
    kernels = jnp.stack([kernel, 2 * kernel])
    y = jax.jit(jax.vmap(conv3x3, in_axes=(None, 0)))(x, kernels)
    np.testing.assert_allclose(y[1], native(x, kernels[1]), atol=1e-5)


def test_bfloat16_keeps_its_type():
    args = inputs((6, 8, 32, 16), dtype=jnp.bfloat16)
    assert_close(both_ways(conv3x3, *args), both_ways(native, *args), tolerance=0.03)


def test_accelerators_get_the_native_form(monkeypatch):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    for conv in (conv3x3, lambda x, kernel: strided3x3(x, kernel, 2)):
        jaxpr = jax.make_jaxpr(conv)(*inputs((6, 8, 32, 16))[:2])
        assert [eqn.primitive.name for eqn in jaxpr.eqns] == ['conv_general_dilated']
    # But where ties matter: cuDNN may choose Winograd's form.
    assert 'conv_general_dilated' not in str(jax.make_jaxpr(conv3x3_keeping_ties)(*inputs((6, 8, 32, 16))[:2]))


def test_it_is_traced_for_every_batch_size_at_once(rng):
    """As --mode=export does: no form asks how large the batch is, unless a gradient is wanted."""
    kernel = rng.normal(size=(3, 3, 64, 64)).astype(np.float32)
    (batch,) = jax.export.symbolic_shape('b')
    shape = jax.ShapeDtypeStruct((batch, 8, 8, 64), np.float32)
    exported = jax.export.export(jax.jit(lambda x: winograd(x, kernel)))(shape)
    images = rng.normal(size=(3, 8, 8, 64)).astype(np.float32)
    for count in (1, 3):
        expected = winograd(images[:count], kernel)
        np.testing.assert_allclose(exported.call(images[:count]), expected, rtol=1e-4, atol=1e-3)
