"""ResNet-18 in its form for 32 x 32 images: a 3x3 convolution and no pooling before the four stages.

Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1 (18 layers), with the
stem of section 4.2.
"""

import jax.numpy as jnp

from failpred_jax.config import ModelConfig
from failpred_jax.models.heads import DenseHead
from failpred_jax.models.layers import Dense
from failpred_jax.models.network import Architecture
from failpred_jax.models.residual import ResidualBackbone
from failpred_jax.registry import MODELS
from failpred_jax.types import DatasetInfo


@MODELS.register('resnet18', min_size=8)
def make_resnet18(model: ModelConfig, options: None, info: DatasetInfo) -> Architecture:
    """Return ResNet-18, which has no dropout, for a data set of images of at least 8 x 8 pixels."""
    dtype = jnp.dtype(model.dtype)
    return Architecture(
        backbone=ResidualBackbone((64, 128, 256, 512), num_blocks=2, dtype=dtype),
        classifier=Dense(info.num_classes, is_output=True),
        head=DenseHead(model.head_units, dtype),
    )
