"""The confidence heads: features -> one logit per unit, whose sigmoid is the confidence."""

import jax.numpy as jnp
from flax import linen

from failpred_jax.models.layers import EVAL, Conv, Dense, Mode
from failpred_jax.types import Array


class DenseHead(linen.Module):
    """Layers of the given widths with ReLU between, then one unit: [B, D] -> [B].

    Reference: Corbière et al., NeurIPS 2019, section 2.3.
    """

    units: tuple[int, ...]
    dtype: jnp.dtype = jnp.float32

    @linen.compact
    def __call__(self, features: Array, mode: Mode = EVAL) -> Array:
        x = features
        for i, width in enumerate(self.units):
            x = linen.relu(Dense(width, self.dtype, name=f'dense_{i}')(x))
        return Dense(1, is_output=True, name=f'dense_{len(self.units)}')(x)[..., 0]


class ConvHead(linen.Module):
    """3x3 convolutions of the given widths with ReLU between, then one channel: [B, H, W, D] -> [B, H, W].

    Reference: Corbière et al., NeurIPS 2019, section 4.1 (CamVid).
    """

    channels: tuple[int, ...]
    dtype: jnp.dtype = jnp.float32

    @linen.compact
    def __call__(self, features: Array, mode: Mode = EVAL) -> Array:
        x = features
        for i, width in enumerate(self.channels):
            x = linen.relu(Conv(width, 'zero', self.dtype, name=f'conv_{i}')(x))
        return Conv(1, 'zero', is_output=True, name=f'conv_{len(self.channels)}')(x)[..., 0]
