"""The backbone that the CIFAR ResNets share: stages of residual blocks, each stage but the first at half the size.

Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2, with projections as
shortcuts wherever the shape changes (option B).
"""

from typing import ClassVar

import jax.numpy as jnp
from flax import linen

from failpred_jax.models.layers import EVAL, BatchNorm, Conv, Mode, he_normal
from failpred_jax.types import Array


def residual_conv(features: int, dtype: jnp.dtype, size: int = 3, stride: int = 1) -> Conv:
    """Return a convolution as residual networks have them: zero padding, no bias, He's initialization."""
    padding = 'zero' if size == 3 else 'none'
    return Conv(features, padding, dtype, size=size, stride=stride, use_bias=False, kernel_init=he_normal)


class ResidualBlock(linen.Module):
    """Conv, BatchNorm, ReLU, conv, BatchNorm, plus the shortcut, ReLU: [B, H, W, D] -> [B, H', W', features].

    Attributes:
      features: output channels.
      stride: of the first convolution and of the shortcut; H' = ceil(H / stride).
      projects: whether the shortcut is a 1x1 convolution with BatchNorm, and not the identity.
      dtype: of the computation.
    """

    features: int
    stride: int
    projects: bool
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.conv1 = residual_conv(self.features, self.dtype, stride=self.stride)
        self.bn1 = BatchNorm(self.dtype)
        self.conv2 = residual_conv(self.features, self.dtype)
        self.bn2 = BatchNorm(self.dtype)
        if self.projects:
            self.shortcut_conv = residual_conv(self.features, self.dtype, size=1, stride=self.stride)
            self.shortcut_bn = BatchNorm(self.dtype)

    def __call__(self, x: Array, mode: Mode = EVAL) -> Array:
        y = linen.relu(self.bn1(self.conv1(x, mode), mode))
        y = self.bn2(self.conv2(y, mode), mode)
        shortcut = self.shortcut_bn(self.shortcut_conv(x, mode), mode) if self.projects else x
        return linen.relu(y + shortcut)


class ResidualBackbone(linen.Module):
    """Conv, BatchNorm, ReLU, stages of blocks, the mean over pixels: [B, H, W, channels] -> [B, widths[-1]].

    There is no dropout, so `prefix` is everything and `suffix` nothing.

    Attributes:
      widths: channels of each stage; the first convolution has those of the first stage.
      num_blocks: blocks per stage.
      dtype: of the computation.
    """

    dropout: ClassVar[bool] = False

    widths: tuple[int, ...]
    num_blocks: int
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.conv1 = residual_conv(self.widths[0], self.dtype)
        self.bn1 = BatchNorm(self.dtype)
        blocks, width = [], self.widths[0]
        for stage, features in enumerate(self.widths, start=1):
            for number in range(1, self.num_blocks + 1):
                stride = 2 if number == 1 and stage > 1 else 1
                block = ResidualBlock(features, stride, stride > 1 or features != width, self.dtype)
                setattr(self, f'stage{stage}_block{number}', block)
                blocks.append(block)
                width = features
        self._blocks = blocks

    def prefix(self, images: Array, mode: Mode = EVAL) -> Array:
        x = linen.relu(self.bn1(self.conv1(images, mode), mode))
        for block in self._blocks:
            x = block(x, mode)
        return mean_over_pixels(x)

    def suffix(self, hidden: Array, mode: Mode = EVAL) -> Array:
        return hidden

    def __call__(self, images: Array, mode: Mode = EVAL) -> Array:
        return self.suffix(self.prefix(images, mode), mode)


def mean_over_pixels(x: Array) -> Array:
    """Return the mean over rows and columns, summed in float32: [B, H, W, D] -> [B, D], of the same dtype."""
    return jnp.mean(x, axis=(1, 2), dtype=jnp.float32).astype(x.dtype)
