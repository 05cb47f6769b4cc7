"""What every classifier loss in the registry keeps to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from failpred_jax.losses.classification import smooth
from failpred_jax.registry import CLASSIFIER_LOSSES

UNITS = [(13,), (2, 3, 4)]


@functools.partial(jax.jit, static_argnums=0)
def evaluate(name, logits, targets):
    own = {'options': CLASSIFIER_LOSSES.options()[name]()} if name in CLASSIFIER_LOSSES.options() else {}
    return CLASSIFIER_LOSSES[name](logits, targets, **own)


@pytest.mark.parametrize('units', UNITS)
@pytest.mark.parametrize('name', CLASSIFIER_LOSSES)
def test_labels_are_shares_of_one_class(name, units, rng):
    logits = (2 * rng.normal(size=(*units, 3))).astype(np.float32)
    labels = rng.integers(0, 3, size=units).astype(np.int32)
    losses = evaluate(name, logits, labels)
    assert (losses.shape, losses.dtype) == (units, jnp.float32)
    assert (np.asarray(losses) >= 0).all()
    np.testing.assert_allclose(
        losses, evaluate(name, logits, np.eye(3, dtype=np.float32)[labels]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize('name', CLASSIFIER_LOSSES)
def test_a_sure_right_answer_costs_nothing_and_a_sure_wrong_one_much(name):
    logits = np.array([[80.0, -80.0], [80.0, -80.0]], np.float32)
    labels = np.array([0, 1], np.int32)
    one_by_one = jax.jit(jax.value_and_grad(lambda z, of: jnp.sum(evaluate(name, z, labels) * of)))
    losses, gradient = one_by_one(logits, np.array([1, 0], np.float32))
    assert float(losses) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(gradient).all()
    losses, gradient = one_by_one(logits, np.array([0, 1], np.float32))
    assert np.isfinite(gradient).all()
    assert float(losses) > 1


def test_smoothing_is_optax_s(rng):
    labels = jnp.asarray(rng.integers(0, 4, size=7), jnp.int32)
    expected = optax.smooth_labels(jax.nn.one_hot(labels, 4), 0.1)
    np.testing.assert_allclose(smooth(labels, 4, 0.1), expected, rtol=1e-6)
    np.testing.assert_allclose(smooth(expected, 4, 0.0), expected, rtol=1e-6)
