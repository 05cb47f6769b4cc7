"""Two convolutions and one dense layer.

Reference: Corbière et al., NeurIPS 2019, section 4.1 (MNIST, small convnet), with the layer order of its code.
"""

import jax.numpy as jnp
from flax import linen

from failpred_jax.config import ModelConfig
from failpred_jax.models.heads import DenseHead
from failpred_jax.models.layers import EVAL, Conv, Dense, Dropout, Mode
from failpred_jax.models.network import Architecture
from failpred_jax.models.pooling import max_pool
from failpred_jax.registry import MODELS
from failpred_jax.types import Array, DatasetInfo


class SmallConvnetMnistBackbone(linen.Module):
    """Two unpadded 3x3 convolutions, pool | dropout, dense 128, dropout: [B, H, W, channels] -> [B, 128]."""

    dropout: bool = True
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.conv1 = Conv(32, 'none', self.dtype)
        self.conv2 = Conv(64, 'none', self.dtype)
        self.fc1 = Dense(128, self.dtype)
        self.drop1 = Dropout(0.25 * self.dropout)
        self.drop2 = Dropout(0.5 * self.dropout)

    def prefix(self, images: Array, mode: Mode = EVAL) -> Array:
        x = linen.relu(self.conv1(images))
        # ReLU and maximum commute: pooling first leaves a quarter of the work.
        return linen.relu(max_pool(self.conv2(x)))

    def suffix(self, hidden: Array, mode: Mode = EVAL) -> Array:
        x = self.drop1(hidden, mode)
        x = linen.relu(self.fc1(x.reshape(x.shape[0], -1)))
        return self.drop2(x, mode)

    def __call__(self, images: Array, mode: Mode = EVAL) -> Array:
        return self.suffix(self.prefix(images, mode), mode)


@MODELS.register('small_convnet_mnist', min_size=6)
def make_small_convnet_mnist(model: ModelConfig, options: None, info: DatasetInfo) -> Architecture:
    """Return the MNIST convnet for a data set of images of at least 6 x 6 pixels."""
    dtype = jnp.dtype(model.dtype)
    return Architecture(
        backbone=SmallConvnetMnistBackbone(model.dropout, dtype),
        classifier=Dense(info.num_classes, is_output=True),
        head=DenseHead(model.head_units, dtype),
    )
