"""Layers against PyTorch's, and dropout against what it promises."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from failpred_jax.models.layers import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Mode,
    _normalize,
    _pad_by_reflection,
    keep_mask,
)
from failpred_jax.models.pooling import max_pool, max_pool_places, max_unpool


def tied(shape, rng):
    """Return values of which many in a window are equal."""
    return jnp.asarray(rng.integers(0, 3, size=shape), jnp.float32)


@pytest.mark.parametrize('size', [(6, 8), (7, 9), (45, 4)])
def test_pooling_and_unpooling_are_pytorchs_even_in_ties(size, rng):
    torch = pytest.importorskip('torch')
    x = tied((2, *size, 3), rng)
    dy = jnp.asarray(rng.normal(size=(2, size[0] // 2, size[1] // 2, 3)), jnp.float32)
    theirs = torch.tensor(np.asarray(x).transpose(0, 3, 1, 2), requires_grad=True)
    y, places = torch.nn.functional.max_pool2d(theirs, 2, return_indices=True)
    torch_dy = torch.tensor(np.asarray(dy).transpose(0, 3, 1, 2))
    y.backward(torch_dy)
    unpooled = torch.nn.functional.max_unpool2d(torch_dy, places, 2, output_size=size)

    ours, vjp = jax.vjp(max_pool, x)
    np.testing.assert_array_equal(ours, y.detach().numpy().transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(vjp(dy)[0], theirs.grad.numpy().transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(max_unpool(dy, max_pool_places(x), size), unpooled.numpy().transpose(0, 2, 3, 1))
    assert max_pool_places(x).dtype == jnp.uint8


def test_unpooling_is_the_transpose_of_picking(rng):
    x = tied((2, 7, 6, 3), rng)
    places = max_pool_places(x)
    y = jnp.asarray(rng.normal(size=places.shape), jnp.float32)
    dx = jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    out, vjp = jax.vjp(lambda y: max_unpool(y, places, (7, 6)), y)
    np.testing.assert_allclose(jnp.sum(out * dx), jnp.sum(y * vjp(dx)[0]), rtol=1e-5)


@pytest.mark.parametrize(('padding', 'mode'), [('zero', 'constant'), ('reflect', 'reflect')])
def test_padding_before_a_convolution(padding, mode, rng):
    x = jnp.asarray(rng.normal(size=(2, 5, 6, 3)), jnp.float32)
    layer = Conv(4, padding)
    variables = layer.init(jax.random.key(0), x)
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=mode)
    np.testing.assert_allclose(
        layer.apply(variables, x), Conv(4, 'none').apply(variables, padded), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize('size', [(6, 8), (7, 9)])
@pytest.mark.parametrize(
    ('kernel', 'stride', 'padding'), [(3, 1, 'zero'), (3, 2, 'zero'), (1, 1, 'none'), (1, 2, 'none')]
)
def test_convolutions_of_residual_networks_are_pytorchs(kernel, stride, padding, size, rng):
    torch = pytest.importorskip('torch')
    x = jnp.asarray(rng.normal(size=(2, *size, 5)), jnp.float32)
    layer = Conv(4, padding, size=kernel, stride=stride, use_bias=False)
    variables = layer.init(jax.random.key(0), x)
    assert set(variables['params']) == {'kernel'}
    weight = torch.tensor(np.asarray(variables['params']['kernel']).transpose(3, 2, 0, 1))
    theirs = torch.nn.functional.conv2d(
        torch.tensor(np.asarray(x).transpose(0, 3, 1, 2)), weight, stride=stride, padding=kernel // 2
    )
    np.testing.assert_allclose(layer.apply(variables, x), theirs.numpy().transpose(0, 2, 3, 1), atol=1e-5)


@pytest.mark.parametrize(
    'layer', [Dense(6, jnp.bfloat16, is_output=True), Conv(6, 'zero', jnp.bfloat16, is_output=True)]
)
def test_output_layers_compute_in_float32_whatever_the_rest_does(layer, rng):
    x = jnp.asarray(rng.normal(size=(2, 5, 5, 7)), jnp.bfloat16)
    variables = layer.init(jax.random.key(0), x)
    exact = layer.clone(dtype=jnp.float32).apply(variables, x.astype(jnp.float32))
    y = layer.apply(variables, x)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, exact, atol=1e-6)
    # The products, too, on accelerators that would shorten them.
    assert 'HIGHEST' in str(jax.make_jaxpr(lambda x: layer.apply(variables, x))(x))


@pytest.mark.parametrize('size', [(2, 2), (3, 2), (4, 5), (7, 3)])
def test_reflection_gives_its_gradient_back_to_where_values_came_from(size, rng):
    x = jnp.asarray(rng.normal(size=(2, *size, 3)), jnp.float32)
    padded, vjp = jax.vjp(_pad_by_reflection, x)
    expected, expected_vjp = jax.vjp(lambda x: jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode='reflect'), x)
    np.testing.assert_array_equal(padded, expected)
    dy = jnp.asarray(rng.normal(size=padded.shape), jnp.float32)
    np.testing.assert_allclose(vjp(dy)[0], expected_vjp(dy)[0], atol=1e-6)


@pytest.mark.parametrize(('layer', 'fan_in'), [(Dense(200), 50), (Conv(60, 'zero'), 450)])
def test_initial_weights_are_uniform_within_pytorchs_bound(layer, fan_in):
    params = layer.init(jax.random.key(0), jnp.zeros((1, 2, 2, 50)))['params']
    bound = 1 / math.sqrt(fan_in)
    for leaf in (params['kernel'], params['bias']):
        assert float(jnp.abs(leaf).max()) <= bound
        assert float(jnp.abs(leaf).max()) > 0.9 * bound
        np.testing.assert_allclose(float(leaf.std()), bound / math.sqrt(3), rtol=0.15)
    assert abs(float(params['kernel'].mean())) < 0.05 * bound


def batch_norm(x, mode=Mode(batch_norm=True), seed=0):  # noqa: B008
    rng = np.random.default_rng(seed)
    width = x.shape[-1]
    params = {k: jnp.asarray(rng.uniform(0.5, 1.5, width), jnp.float32) for k in ('scale', 'bias')}
    stats = {k: jnp.asarray(rng.uniform(0.5, 1.5, width), jnp.float32) for k in ('mean', 'var')}
    variables = {'params': params, 'batch_stats': stats}
    return variables, lambda x: BatchNorm().apply(variables, x, mode, mutable=['batch_stats'])


def test_batch_norm_is_pytorchs_gradient_and_running_statistics_too(rng):
    torch = pytest.importorskip('torch')
    x = jnp.asarray(2 * rng.normal(size=(3, 4, 5, 6)) + 1, jnp.float32)
    dy = jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    variables, apply = batch_norm(x)
    theirs = torch.nn.BatchNorm2d(6)
    for tensor, tree, name in (
        (theirs.weight, 'params', 'scale'),
        (theirs.bias, 'params', 'bias'),
        (theirs.running_mean, 'batch_stats', 'mean'),
        (theirs.running_var, 'batch_stats', 'var'),
    ):
        tensor.data = torch.tensor(np.asarray(variables[tree][name]))
    inputs = torch.tensor(np.asarray(x).transpose(0, 3, 1, 2), requires_grad=True)
    y = theirs(inputs)
    y.backward(torch.tensor(np.asarray(dy).transpose(0, 3, 1, 2)))

    ours, vjp, updated = jax.vjp(lambda x: apply(x), x, has_aux=True)
    np.testing.assert_allclose(ours, y.detach().numpy().transpose(0, 2, 3, 1), atol=1e-5)
    np.testing.assert_allclose(vjp(dy)[0], inputs.grad.numpy().transpose(0, 2, 3, 1), atol=1e-5)
    np.testing.assert_allclose(updated['batch_stats']['mean'], theirs.running_mean.numpy(), rtol=1e-5)
    np.testing.assert_allclose(updated['batch_stats']['var'], theirs.running_var.numpy(), rtol=1e-5)


def test_batch_norm_counts_the_mask_only(rng):
    x = jnp.asarray(rng.normal(size=(5, 2, 3, 4)), jnp.float32)
    mask = jnp.array([True, False, True, True, False])
    _, apply = batch_norm(x, Mode(batch_norm=True, mask=mask))
    _, apply_to_part = batch_norm(x)
    (y, updated), (part, part_updated) = apply(x), apply_to_part(x[mask])
    np.testing.assert_allclose(y[mask], part, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updated, part_updated)


@pytest.mark.parametrize('masked', [False, True])
def test_batch_norms_gradient_is_autodiffs(masked, rng):
    x, dy = (jnp.asarray(rng.normal(size=(5, 2, 3, 4)), jnp.float32) for _ in range(2))
    scale, bias = (jnp.asarray(rng.normal(size=4), jnp.float32) for _ in range(2))
    mask = jnp.array([True, False, True, True, False]) if masked else None

    def plainly(x, scale, bias):
        counted = x if mask is None else x[mask]
        mean, var = (f(counted, (0, 1, 2), keepdims=True) for f in (jnp.mean, jnp.var))
        return (x - mean) / jnp.sqrt(var + 1e-5) * scale[None, None, None] + bias[None, None, None]

    ours = jax.vjp(lambda *args: _normalize(*args, mask, None)[0], x, scale, bias)[1](dy)
    for a, b in zip(ours, jax.vjp(plainly, x, scale, bias)[1](dy), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_batch_norms_gradient_over_devices_is_that_of_the_whole_batch(rng):
    x, dy = (jnp.asarray(rng.normal(size=(8, 2, 3, 4)), jnp.float32) for _ in range(2))
    mask = jnp.arange(8) % 3 > 0
    _, whole = batch_norm(x, Mode(batch_norm=True, mask=mask))

    def part(x, mask):
        return batch_norm(x, Mode(batch_norm=True, mask=mask, axis_name='data'))[1](x)[0]

    def on_all(x):
        return jax.vmap(part, axis_name='data')(x.reshape(4, 2, 2, 3, 4), mask.reshape(4, 2)).reshape(x.shape)

    expected = jax.vjp(lambda x: whole(x)[0], x)[1](dy)[0]
    np.testing.assert_allclose(jax.vjp(on_all, x)[1](dy)[0], expected, atol=1e-5)


def test_batch_norm_over_devices_is_that_of_the_whole_batch(rng):
    x = jnp.asarray(rng.normal(size=(8, 2, 3, 4)), jnp.float32)
    _, whole = batch_norm(x)
    _, part = batch_norm(x, Mode(batch_norm=True, axis_name='data'))
    y, updated = jax.vmap(part, axis_name='data')(x.reshape(4, 2, 2, 3, 4))
    expected, expected_updated = whole(x)
    np.testing.assert_allclose(y.reshape(x.shape), expected, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-5), updated, expected_updated)


@pytest.mark.parametrize('rate', [0.25, 0.3, 0.4, 0.5])
def test_dropout_zeroes_at_its_rate_and_keeps_the_mean(rate):
    x = jnp.ones((200, 501))
    y = np.asarray(Dropout(rate).apply({}, x, Mode(dropout=True), rngs={'dropout': jax.random.key(1)}))
    deviation = math.sqrt(rate * (1 - rate) / x.size)
    assert abs((y == 0).mean() - rate) < 4 * deviation
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)
    # No pattern along either axis.
    assert np.abs(np.corrcoef((y == 0)[:, :-1].ravel(), (y == 0)[:, 1:].ravel())[0, 1]) < 4 / math.sqrt(x.size)
    assert np.abs(np.corrcoef((y == 0)[:-1].ravel(), (y == 0)[1:].ravel())[0, 1]) < 4 / math.sqrt(x.size)
    np.testing.assert_array_equal(Dropout(rate).apply({}, x, Mode()), x)


@pytest.mark.parametrize(('rate', 'bits'), [(0.5, 1), (0.25, 2), (0.3, 16)])
def test_dropout_draws_no_more_bits_than_it_needs(rate, bits):
    jaxpr = str(jax.make_jaxpr(lambda key: keep_mask(key, rate, (64, 100)))(jax.random.key(0)))
    assert f'u32[{64 * 100 * bits // 32}] = rng_bit_generator' in jaxpr


def test_masks_of_several_keys_are_those_of_each_key():
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.vmap(lambda key: keep_mask(key, 0.3, (50,)))(keys)
    for mask, key in zip(together, keys, strict=True):
        np.testing.assert_array_equal(mask, keep_mask(key, 0.3, (50,)))
    assert bool((together[0] != together[1]).any())


def test_dropout_gradient_is_its_mask():
    x = jnp.arange(1.0, 41.0)
    drop = lambda x: Dropout(0.3).apply({}, x, Mode(dropout=True), rngs={'dropout': jax.random.key(0)})  # noqa: E731
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(drop(x))))(x)
    np.testing.assert_allclose(gradient, drop(x) / x, rtol=1e-6)
