"""What every confidence loss in the registry keeps to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from failpred_jax.registry import LOSSES
from failpred_jax.types import Outputs

# The mask keeps thirteen units of either.
UNITS, NUM_KEPT = [(24,), (2, 3, 4)], 13


def batch(units, rng):
    logits = (2 * rng.normal(size=(*units, 3))).astype(np.float32)
    labels = rng.integers(0, 3, size=units).astype(np.int32)
    # Half of the predictions are right.
    labels = np.where(rng.random(units) < 0.4, logits.argmax(-1), labels).astype(np.int32)
    outputs = Outputs(logits, np.zeros((*units, 2), np.float32), rng.normal(size=units).astype(np.float32))
    mask = np.arange(24) < NUM_KEPT
    return outputs, labels, rng.permutation(mask).reshape(units)


@functools.partial(jax.jit, static_argnames=('name', 'error_weight', 'temperature'))
def evaluate(name, outputs, labels, mask, error_weight=1.5, temperature=1.0):
    """Return the loss with its own options, if it owns any, at their defaults."""
    own = {'options': LOSSES.options()[name]()} if name in LOSSES.options() else {}
    return LOSSES[name](outputs, labels, mask, error_weight=error_weight, temperature=temperature, **own)


def masked_mean(losses, mask):
    return float(np.asarray(losses)[mask].mean())


@pytest.mark.parametrize('units', UNITS)
@pytest.mark.parametrize('name', LOSSES)
def test_one_value_a_unit(name, units, rng):
    losses = evaluate(name, *batch(units, rng))
    assert losses.shape == units
    assert losses.dtype == jnp.float32
    assert (np.asarray(losses) >= 0).all()
    assert np.isfinite(losses).all()


@pytest.mark.parametrize('name', LOSSES)
def test_only_the_confidence_learns(name, rng):
    outputs, labels, mask = batch((24,), rng)

    def loss(outputs):
        return jnp.sum(jnp.where(mask, evaluate(name, outputs, labels, mask), 0))

    gradient = jax.device_get(jax.jit(jax.grad(loss))(outputs))
    assert not gradient.logits.any()
    assert not gradient.features.any()
    assert np.abs(gradient.confidence_logit).max() > 0
    assert not gradient.confidence_logit[~mask].any()


@pytest.mark.parametrize('name', LOSSES)
def test_a_mask_is_a_subset(name, rng):
    outputs, labels, mask = batch((24,), rng)
    part = Outputs(*(x[mask] for x in outputs))
    whole = np.ones(NUM_KEPT, bool)
    losses, subset = (np.asarray(evaluate(name, *of)) for of in ((outputs, labels, mask), (part, labels[mask], whole)))
    np.testing.assert_allclose(losses[mask], subset, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(masked_mean(losses, mask), masked_mean(subset, whole), rtol=1e-5)


@pytest.mark.parametrize('name', LOSSES)
def test_the_order_of_units_does_not_matter(name, rng):
    outputs, labels, mask = batch((24,), rng)
    order = rng.permutation(24)
    permuted = evaluate(name, Outputs(*(x[order] for x in outputs)), labels[order], mask[order])
    np.testing.assert_allclose(permuted, np.asarray(evaluate(name, outputs, labels, mask))[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', [n for n in LOSSES if LOSSES.fact(n, 'is_per_unit')])
def test_shape_is_only_shape(name, rng):
    outputs, labels, mask = batch((2, 3, 4), rng)
    flat = evaluate(
        name, Outputs(*(x.reshape(24, *x.shape[3:]) for x in outputs)), labels.reshape(-1), mask.reshape(-1)
    )
    np.testing.assert_allclose(np.ravel(evaluate(name, outputs, labels, mask)), flat, rtol=1e-6)


@pytest.mark.parametrize('name', LOSSES)
def test_errors_weigh_as_asked_if_the_loss_reads_their_weight(name, rng):
    outputs, labels, mask = batch((24,), rng)
    plain, weighted = (np.asarray(evaluate(name, outputs, labels, mask, error_weight=w)) for w in (1.0, 3.0))
    wrong = outputs.logits.argmax(-1) != labels
    assert 0 < int(wrong.sum()) < 24
    factor = 3 if 'error_weight' in LOSSES.fact(name, 'reads') else 1
    np.testing.assert_allclose(weighted, np.where(wrong, factor * plain, plain), rtol=1e-6)


@pytest.mark.parametrize('name', LOSSES)
def test_the_temperature_counts_exactly_if_the_loss_reads_it(name, rng):
    outputs, labels, mask = batch((24,), rng)
    plain, softened = (np.asarray(evaluate(name, outputs, labels, mask, temperature=t)) for t in (1.0, 3.0))
    assert bool((plain != softened).any()) == ('temperature' in LOSSES.fact(name, 'reads'))
