"""Wide residual networks, WRN-28-10 unless asked for another.

Reference: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016: table 1, and section 2.4 for the dropout
between the convolutions of a block.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import linen

from failpred_jax.config import ModelConfig
from failpred_jax.models.heads import DenseHead
from failpred_jax.models.layers import EVAL, BatchNorm, Dense, Dropout, Mode
from failpred_jax.models.network import Architecture
from failpred_jax.models.residual import mean_over_pixels, residual_conv
from failpred_jax.options import FRACTION, POSITIVE, option, rule
from failpred_jax.registry import MODELS
from failpred_jax.types import Array, DatasetInfo, PyTree

WIDTHS = (16, 32, 64)


@dataclass(frozen=True)
class WideResnetOptions:
    """How deep and wide, and the dropout inside each block."""

    depth: int = option(28, 'layers, 6 n + 4', rule('10, 16, 22, 28, ...', lambda v: v >= 10 and v % 6 == 4))
    widen_factor: int = option(10, 'multiple of the channels of a ResNet for CIFAR', POSITIVE)
    dropout_rate: float = option(0.3, 'dropout between the convolutions of a block', FRACTION)


class WideBlock(linen.Module):
    """BatchNorm and ReLU before each of two convolutions, dropout between: [B, H, W, D] -> [B, H', W', features].

    Attributes:
      features: output channels.
      stride: of the first convolution and of the shortcut; H' = ceil(H / stride).
      projects: whether the shortcut is a 1x1 convolution of the activated input, and not the input itself.
      rate: of the dropout before the second convolution.
      dtype: of the computation.
    """

    features: int
    stride: int
    projects: bool
    rate: float
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.bn1 = BatchNorm(self.dtype)
        self.conv1 = residual_conv(self.features, self.dtype, stride=self.stride)
        self.bn2 = BatchNorm(self.dtype)
        self.drop = Dropout(self.rate)
        self.conv2 = residual_conv(self.features, self.dtype)
        if self.projects:
            self.shortcut_conv = residual_conv(self.features, self.dtype, size=1, stride=self.stride)

    def before_dropout(self, x: Array, mode: Mode = EVAL) -> PyTree:
        activated = linen.relu(self.bn1(x, mode))
        y = linen.relu(self.bn2(self.conv1(activated, mode), mode))
        return {'inside': y, 'shortcut': self.shortcut_conv(activated, mode) if self.projects else x}

    def after_dropout(self, hidden: PyTree, mode: Mode = EVAL) -> Array:
        return hidden['shortcut'] + self.conv2(self.drop(hidden['inside'], mode), mode)

    def __call__(self, x: Array, mode: Mode = EVAL) -> Array:
        return self.after_dropout(self.before_dropout(x, mode), mode)


class WideBackbone(linen.Module):
    """A convolution, three stages of blocks, BatchNorm, ReLU, the mean over pixels: [B, H, W, channels] -> [B, D].

    D is 64 times `widen_factor`. `prefix` ends inside the first block, before its dropout.

    Attributes:
      depth: 6 n + 4, for n blocks per stage.
      widen_factor: multiplies the channels of all stages.
      dropout_rate: inside each block; 0 for none.
      dtype: of the computation.
    """

    depth: int
    widen_factor: int
    dropout_rate: float
    dtype: jnp.dtype = jnp.float32

    @property
    def dropout(self) -> bool:
        return self.dropout_rate > 0

    def setup(self):
        self.conv1 = residual_conv(WIDTHS[0], self.dtype)
        blocks, width = [], WIDTHS[0]
        for stage, base in enumerate(WIDTHS, start=1):
            features = base * self.widen_factor
            for number in range(1, (self.depth - 4) // 6 + 1):
                stride = 2 if number == 1 and stage > 1 else 1
                projects = stride > 1 or features != width
                block = WideBlock(features, stride, projects, self.dropout_rate, self.dtype)
                setattr(self, f'stage{stage}_block{number}', block)
                blocks.append(block)
                width = features
        self._blocks = blocks
        self.bn = BatchNorm(self.dtype)

    def prefix(self, images: Array, mode: Mode = EVAL) -> PyTree:
        return self._blocks[0].before_dropout(self.conv1(images, mode), mode)

    def suffix(self, hidden: PyTree, mode: Mode = EVAL) -> Array:
        x = self._blocks[0].after_dropout(hidden, mode)
        for block in self._blocks[1:]:
            x = block(x, mode)
        return mean_over_pixels(linen.relu(self.bn(x, mode)))

    def __call__(self, images: Array, mode: Mode = EVAL) -> Array:
        return self.suffix(self.prefix(images, mode), mode)


@MODELS.register('wide_resnet', options=WideResnetOptions, min_size=8)
def make_wide_resnet(model: ModelConfig, options: WideResnetOptions, info: DatasetInfo) -> Architecture:
    """Return a wide ResNet for a data set of images of at least 8 x 8 pixels."""
    dtype = jnp.dtype(model.dtype)
    rate = options.dropout_rate * model.dropout
    return Architecture(
        backbone=WideBackbone(options.depth, options.widen_factor, rate, dtype),
        classifier=Dense(info.num_classes, is_output=True),
        head=DenseHead(model.head_units, dtype),
    )
