"""Adam, with L2 regularization in the gradient."""

from dataclasses import dataclass

import optax

from failpred_jax.config import StageConfig
from failpred_jax.options import FRACTION, POSITIVE, option
from failpred_jax.registry import OPTIMIZERS
from failpred_jax.train.optimizer import with_weight_decay


@dataclass(frozen=True)
class AdamOptions:
    """Adam's constants; the defaults are PyTorch's."""

    beta1: float = option(0.9, 'decay of the mean of the gradient', FRACTION)
    beta2: float = option(0.999, 'decay of the mean of its square', FRACTION)
    eps: float = option(1e-8, 'added to the root of that mean', POSITIVE)


@OPTIMIZERS.register('adam', options=AdamOptions)
def adam(stage: StageConfig, options: AdamOptions, learning_rate_fn: optax.Schedule) -> optax.GradientTransformation:
    """Return Adam; reads `weight_decay` of the stage.

    Reference: Kingma & Ba, ICLR 2015.
    """
    rule = optax.adam(learning_rate_fn, b1=options.beta1, b2=options.beta2, eps=options.eps)
    return with_weight_decay(stage, rule)
