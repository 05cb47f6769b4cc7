"""VGG16 in its form for 32 x 32 images: thirteen convolutions with BatchNorm after ReLU, one dense layer.

Reference: Simonyan and Zisserman, ICLR 2015, configuration D; Corbière et al., NeurIPS 2019, section 4.1 (CIFAR), with
the layer order and dropout of its code.
"""

import jax.numpy as jnp

from failpred_jax.config import ModelConfig
from failpred_jax.models.heads import DenseHead
from failpred_jax.models.layers import Dense
from failpred_jax.models.network import Architecture
from failpred_jax.models.plain import POOL, PlainBackbone
from failpred_jax.registry import MODELS
from failpred_jax.types import DatasetInfo

# Dropout after convolutions 1, 3, 5, 6, 8, 9, 11, 12 and after the last pool.
PLAN = (
    *(64, 0.3, 64, POOL),
    *(128, 0.4, 128, POOL),
    *(256, 0.4, 256, 0.4, 256, POOL),
    *(512, 0.4, 512, 0.4, 512, POOL),
    *(512, 0.4, 512, 0.4, 512, POOL, 0.5),
)


@MODELS.register('vgg16', min_size=32)
def make_vgg16(model: ModelConfig, options: None, info: DatasetInfo) -> Architecture:
    """Return VGG16 for a data set of images of at least 32 x 32 pixels."""
    dtype = jnp.dtype(model.dtype)
    return Architecture(
        backbone=PlainBackbone(PLAN, dense_units=512, dense_rate=0.5, dropout=model.dropout, dtype=dtype),
        classifier=Dense(info.num_classes, is_output=True),
        head=DenseHead(model.head_units, dtype),
    )
