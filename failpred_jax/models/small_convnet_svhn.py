"""Six convolutions in three blocks and one dense layer.

Reference: Corbière et al., NeurIPS 2019, section 4.1 (SVHN, small convnet), with the layer order of its code.
"""

import jax.numpy as jnp

from failpred_jax.config import ModelConfig
from failpred_jax.models.heads import DenseHead
from failpred_jax.models.layers import Dense
from failpred_jax.models.network import Architecture
from failpred_jax.models.plain import POOL, PlainBackbone
from failpred_jax.registry import MODELS
from failpred_jax.types import DatasetInfo

PLAN = (32, 32, POOL, 0.3, 64, 64, POOL, 0.3, 128, 128, POOL, 0.3)


@MODELS.register('small_convnet_svhn', min_size=8)
def make_small_convnet_svhn(model: ModelConfig, options: None, info: DatasetInfo) -> Architecture:
    """Return the SVHN convnet for a data set of images of at least 8 x 8 pixels."""
    dtype = jnp.dtype(model.dtype)
    return Architecture(
        backbone=PlainBackbone(PLAN, dense_units=512, dense_rate=0.3, dropout=model.dropout, dtype=dtype),
        classifier=Dense(info.num_classes, is_output=True),
        head=DenseHead(model.head_units, dtype),
    )
