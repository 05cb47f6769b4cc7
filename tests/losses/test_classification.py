"""Cross-entropy against optax's, which gathers instead."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from failpred_jax.losses.classification import cross_entropy


@pytest.mark.parametrize('shape', [(7,), (2, 3, 4)])
def test_values_and_gradients_are_the_log_likelihoods(shape, rng):
    logits = jnp.asarray(3 * rng.normal(size=(*shape, 5)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 5, size=shape), jnp.int32)
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    np.testing.assert_allclose(cross_entropy(logits, labels), expected, rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda z: jnp.sum(cross_entropy(z, labels)))(logits)
    np.testing.assert_allclose(gradient, jax.nn.softmax(logits) - jax.nn.one_hot(labels, 5), atol=1e-6)


def test_huge_logits_stay_finite():
    logits = jnp.array([[1e4, 0.0], [-1e4, 0.0]])
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([1, 0])), [1e4, 1e4])
