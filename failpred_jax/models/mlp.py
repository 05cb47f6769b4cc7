"""One hidden layer.

Reference: Corbière et al., NeurIPS 2019, section 4.1 (MNIST, MLP); dropout after the hidden layer as in its code.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import linen

from failpred_jax.config import ModelConfig
from failpred_jax.models.heads import DenseHead
from failpred_jax.models.layers import EVAL, Dense, Dropout, Mode
from failpred_jax.models.network import Architecture
from failpred_jax.options import WIDTH, option
from failpred_jax.registry import MODELS
from failpred_jax.types import Array, DatasetInfo


class MlpBackbone(linen.Module):
    """Flatten, one dense layer, ReLU | dropout: [B, H, W, channels] -> [B, hidden_units]."""

    hidden_units: int
    dropout: bool = True
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.fc1 = Dense(self.hidden_units, self.dtype)
        self.drop1 = Dropout(0.3 * self.dropout)

    def prefix(self, images: Array, mode: Mode = EVAL) -> Array:
        return linen.relu(self.fc1(images.reshape(images.shape[0], -1)))

    def suffix(self, hidden: Array, mode: Mode = EVAL) -> Array:
        return self.drop1(hidden, mode)

    def __call__(self, images: Array, mode: Mode = EVAL) -> Array:
        return self.suffix(self.prefix(images, mode), mode)


@dataclass(frozen=True)
class MlpOptions:
    """Options of this model."""

    hidden_units: int = option(1000, 'width of the hidden layer', WIDTH)


@MODELS.register('mlp', options=MlpOptions)
def make_mlp(model: ModelConfig, options: MlpOptions, info: DatasetInfo) -> Architecture:
    """Return the multi-layer perceptron for a data set."""
    dtype = jnp.dtype(model.dtype)
    return Architecture(
        backbone=MlpBackbone(options.hidden_units, model.dropout, dtype),
        classifier=Dense(info.num_classes, is_output=True),
        head=DenseHead(model.head_units, dtype),
    )
