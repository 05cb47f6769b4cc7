"""Evaluation and validation say how exact their products are, so that no accelerator shortens the factors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from failpred_jax.config import ModelConfig
from failpred_jax.evaluate.collect import make_forward
from failpred_jax.losses.classification import cross_entropy
from failpred_jax.models import convolution, layers
from failpred_jax.models.network import make_network
from failpred_jax.train.step import make_outcome_step
from failpred_jax.types import Batch, DatasetInfo

INFO = DatasetInfo('made up', 'classification', (12, 12, 1), ('a', 'b', 'c'))
BATCH = Batch(np.zeros((2, 12, 12, 1), np.float32), np.zeros(2, np.int32), np.ones(2, bool))


def prepare(keys, images, labels):
    return images, labels


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(layers, 'conv3x3', convolution.native)
    return make_network(ModelConfig(name='small_convnet_mnist'), INFO)


def products(jaxpr):
    """Return the lines of a program that multiply matrices or convolve, as 'exact' or 'default'."""
    text = str(jaxpr)
    assert text.count('dot_general[') + text.count('conv_general_dilated[') > 3
    return {'exact'} if 'precision=None' not in text else {'default'} | ({'exact'} if 'HIGHEST' in text else set())


def test_products_of_an_evaluation_are_exact(network):
    params, stats = network.init(jax.random.key(0))
    forward = make_forward(network, prepare, frozenset({'features', 'confidence_logit', 'mc_dropout'}), 2)
    numbers, key_data = np.arange(2, dtype=np.int32), jax.random.key_data(jax.random.key(0))
    traced = jax.make_jaxpr(forward)((params, stats), None, BATCH, numbers, None, key_data)
    assert products(traced) == {'exact'}


def test_products_of_a_validation_are_exact_and_those_of_a_step_are_the_devices_own(network):
    params, stats = network.init(jax.random.key(0))
    assert products(jax.make_jaxpr(make_outcome_step(network.apply, prepare, None))(params, stats, BATCH)) == {'exact'}

    def loss(params):
        logits = network.apply(params, stats, BATCH.image)[0].logits
        return jnp.sum(cross_entropy(logits, BATCH.label))

    # But for the output layer's.
    assert products(jax.make_jaxpr(jax.grad(loss))(params)) == {'exact', 'default'}
