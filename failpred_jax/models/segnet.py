"""SegNet: VGG16's convolutions down, and the same way up, unpooling with the places of the maxima.

Reference: Badrinarayanan et al., PAMI 2017; dropout as in Kendall et al., Bayesian SegNet, BMVC 2017; Corbière et al.,
NeurIPS 2019, section 4.1 (CamVid), with the layer order of its code.
"""

import jax.numpy as jnp
from flax import linen

from failpred_jax.config import ModelConfig
from failpred_jax.models.heads import ConvHead
from failpred_jax.models.layers import EVAL, BatchNorm, Conv, Dropout, Mode
from failpred_jax.models.network import Architecture
from failpred_jax.models.pooling import max_pool, max_pool_places, max_unpool
from failpred_jax.registry import MODELS
from failpred_jax.types import Array, DatasetInfo, PyTree

# Widths of each block's convolutions, and the dropout after it: down after the pool, up after the last convolution.
DOWN = {1: ((64, 64), 0.0), 2: ((128, 128), 0.0), 3: ((256,) * 3, 0.5), 4: ((512,) * 3, 0.5), 5: ((512,) * 3, 0.5)}
UP = {5: ((512, 512, 512), 0.5), 4: ((512, 512, 256), 0.4), 3: ((256, 256, 128), 0.3), 2: ((128, 64), 0.0)}


class SegnetBlock(linen.Module):
    """Zero-padded 3x3 convolutions, each with BatchNorm and ReLU: [B, H, W, D] -> [B, H, W, widths[-1]].

    Attributes:
      widths: channels of each convolution.
      dtype: of the computation.
      keeps_ties: pixels with equal surroundings come out equal to the last bit, for the unpooling that follows.
      is_output: the last convolution computes in float32, as in `Dense`.
    """

    widths: tuple[int, ...]
    dtype: jnp.dtype = jnp.float32
    keeps_ties: bool = False
    is_output: bool = False

    @linen.compact
    def __call__(self, x: Array, mode: Mode = EVAL) -> Array:
        for i, width in enumerate(self.widths, start=1):
            is_output = self.is_output and i == len(self.widths)
            conv = Conv(width, 'zero', self.dtype, keeps_ties=self.keeps_ties, is_output=is_output, name=f'conv{i}')
            norm = BatchNorm(jnp.float32 if is_output else self.dtype, name=f'bn{i}')
            x = linen.relu(norm(conv(x, mode), mode))
        return x


class SegnetBackbone(linen.Module):
    """All of SegNet but its last block: [B, H, W, channels] -> [B, H, W, 64].

    Attributes:
      image_size: (H, W), to which the last unpooling returns.
      dropout: False leaves out all dropout.
      dtype: of the computation.
    """

    image_size: tuple[int, int]
    dropout: bool = True
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        for direction, blocks in (('down', DOWN), ('up', UP)):
            for level, (widths, rate) in blocks.items():
                setattr(self, f'{direction}{level}', SegnetBlock(widths, self.dtype, keeps_ties=direction == 'down'))
                setattr(self, f'drop_{direction}{level}', Dropout(rate * self.dropout))

    def prefix(self, images: Array, mode: Mode = EVAL) -> PyTree:
        if images.shape[1:3] != self.image_size:
            raise ValueError(f'segnet was made for images of {self.image_size} pixels, not {images.shape[1:3]}')
        return self._down(images, [], (1, 2, 3), mode)

    def suffix(self, hidden: PyTree, mode: Mode = EVAL) -> Array:
        x = self.drop_down3(hidden['pooled'], mode)
        below = self._down(x, hidden['places'], (4,), mode)
        below = self._down(self.drop_down4(below['pooled'], mode), below['places'], (5,), mode)
        x, places = self.drop_down5(below['pooled'], mode), below['places']
        for level in UP:
            x = max_unpool(x, places[level - 1], places[level - 2].shape[1:3])
            x = getattr(self, f'drop_up{level}')(getattr(self, f'up{level}')(x, mode), mode)
        return max_unpool(x, places[0], self.image_size)

    def __call__(self, images: Array, mode: Mode = EVAL) -> Array:
        return self.suffix(self.prefix(images, mode), mode)

    def _down(self, x: Array, places: list[Array], levels: tuple[int, ...], mode: Mode) -> PyTree:
        """Return the pooled output of the down blocks, and the places of all maxima so far."""
        for level in levels:
            x = getattr(self, f'down{level}')(x, mode)
            places = [*places, max_pool_places(x)]
            x = max_pool(x)
        return {'pooled': x, 'places': places}


@MODELS.register('segnet', task='segmentation', min_size=32)
def make_segnet(model: ModelConfig, options: None, info: DatasetInfo) -> Architecture:
    """Return SegNet for a data set of images of at least 32 x 32 pixels; its logits are 0 or greater."""
    dtype = jnp.dtype(model.dtype)
    return Architecture(
        backbone=SegnetBackbone(info.image_shape[:2], model.dropout, dtype),
        classifier=SegnetBlock((64, info.num_classes), dtype, is_output=True),
        head=ConvHead(model.head_channels, dtype),
    )
