"""The backbone that the SVHN convnet and VGG16 share: convolutions in a row, then one dense layer."""

import jax.numpy as jnp
from flax import linen

from failpred_jax.models.layers import EVAL, BatchNorm, Conv, Dense, Dropout, Mode
from failpred_jax.models.pooling import max_pool
from failpred_jax.types import Array

POOL = 'pool'


class PlainBackbone(linen.Module):
    """Layers after a plan, then flatten, dense, ReLU, dropout: [B, H, W, channels] -> [B, dense_units].

    Attributes:
      plan: in order: an int is a reflection-padded 3x3 convolution to that many channels, ReLU, BatchNorm; POOL is a
        2x2 max-pool; a float is dropout at that rate.
      dense_units: width of the dense layer.
      dense_rate: of the dropout after it.
      dropout: False leaves out all dropout.
      dtype: of the computation.
    """

    plan: tuple[int | float | str, ...]
    dense_units: int
    dense_rate: float
    dropout: bool = True
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        num_convs = 0
        for place, item in enumerate(self.plan):
            if isinstance(item, int):
                num_convs += 1
                setattr(self, f'conv{num_convs}', Conv(item, 'reflect', self.dtype))
                setattr(self, f'bn{num_convs}', BatchNorm(self.dtype))
            elif isinstance(item, float):
                setattr(self, f'drop{place}', Dropout(item * self.dropout))
        self.fc1 = Dense(self.dense_units, self.dtype)
        self.drop_fc1 = Dropout(self.dense_rate * self.dropout)

    def prefix(self, images: Array, mode: Mode = EVAL) -> Array:
        return self._layers(images, mode, 0, self._first_dropout())

    def suffix(self, hidden: Array, mode: Mode = EVAL) -> Array:
        x = self._layers(hidden, mode, self._first_dropout(), len(self.plan))
        x = linen.relu(self.fc1(x.reshape(x.shape[0], -1)))
        return self.drop_fc1(x, mode)

    def __call__(self, images: Array, mode: Mode = EVAL) -> Array:
        return self.suffix(self.prefix(images, mode), mode)

    def _first_dropout(self) -> int:
        return next(place for place, item in enumerate(self.plan) if isinstance(item, float))

    def _layers(self, x: Array, mode: Mode, start: int, end: int) -> Array:
        num_convs = sum(isinstance(item, int) for item in self.plan[:start])
        for place in range(start, end):
            item = self.plan[place]
            if isinstance(item, int):
                num_convs += 1
                x = linen.relu(getattr(self, f'conv{num_convs}')(x, mode))
                x = getattr(self, f'bn{num_convs}')(x, mode)
            elif isinstance(item, float):
                x = getattr(self, f'drop{place}')(x, mode)
            else:
                x = max_pool(x)
        return x
