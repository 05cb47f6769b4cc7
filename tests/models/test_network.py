"""What a network adds to its modules, whichever they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from failpred_jax.config import ModelConfig
from failpred_jax.models.mlp import MlpOptions
from failpred_jax.models.network import Architecture, make_network
from failpred_jax.registry import MODELS
from failpred_jax.types import DatasetInfo

INFO = DatasetInfo('made up', 'classification', (8, 9, 3), ('a', 'b', 'c'))


def mlp(seed):
    config = ModelConfig(name='mlp', owned={'mlp': MlpOptions(hidden_units=128)})
    return make_network(config, INFO).init(jax.random.key(seed))[0]


def test_sub_trees_start_from_keys_of_their_own():
    """The head of two networks with the same feature width is the same, whatever lies below it."""
    dense = mlp(0)
    conv = make_network(ModelConfig(name='small_convnet_mnist'), INFO).init(jax.random.key(0))[0]
    jax.tree.map(np.testing.assert_array_equal, dense['head'], conv['head'])
    assert float(jnp.abs(conv['head']['dense_1']['kernel'] - conv['head']['dense_2']['kernel']).max()) > 0
    other = mlp(1)
    assert float(jnp.abs(other['head']['dense_1']['kernel'] - dense['head']['dense_1']['kernel']).max()) > 0


def test_active_dropout_without_a_key_is_an_error():
    network = make_network(ModelConfig(name='mlp'), INFO)
    params, stats = network.init(jax.random.key(0))
    images = jnp.zeros((1, *network.image_shape))
    with pytest.raises(ValueError, match="dropout is on in 'backbone'"):
        network.apply(params, stats, images, dropout_in=frozenset({'backbone'}))


def test_a_backbone_that_lacks_what_the_stages_use_is_refused_before_any_training(monkeypatch):
    def make(model, options, info):
        return Architecture(linen.Dense(3), linen.Dense(3), linen.Dense(1))

    monkeypatch.setitem(MODELS._entries, 'mlp', make)
    with pytest.raises(ValueError, match="of model 'mlp' has no prefix and no suffix and no dropout; it needs"):
        make_network(ModelConfig(name='mlp'), INFO)
