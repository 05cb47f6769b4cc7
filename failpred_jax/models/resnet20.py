"""ResNet-20 for CIFAR: three stages of three narrow blocks.

Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2 (n = 3), with
projection shortcuts where the paper's CIFAR networks pad with zeros.
"""

import jax.numpy as jnp

from failpred_jax.config import ModelConfig
from failpred_jax.models.heads import DenseHead
from failpred_jax.models.layers import Dense
from failpred_jax.models.network import Architecture
from failpred_jax.models.residual import ResidualBackbone
from failpred_jax.registry import MODELS
from failpred_jax.types import DatasetInfo


@MODELS.register('resnet20', min_size=8)
def make_resnet20(model: ModelConfig, options: None, info: DatasetInfo) -> Architecture:
    """Return ResNet-20, which has no dropout, for a data set of images of at least 8 x 8 pixels."""
    dtype = jnp.dtype(model.dtype)
    return Architecture(
        backbone=ResidualBackbone((16, 32, 64), num_blocks=3, dtype=dtype),
        classifier=Dense(info.num_classes, is_output=True),
        head=DenseHead(model.head_units, dtype),
    )
