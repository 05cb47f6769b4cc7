"""Adam, with weight decay apart from the gradient."""

import optax

from failpred_jax.config import StageConfig
from failpred_jax.registry import OPTIMIZERS
from failpred_jax.train.optimizers.adam import AdamOptions


@OPTIMIZERS.register('adamw', options=AdamOptions)
def adamw(stage: StageConfig, options: AdamOptions, learning_rate_fn: optax.Schedule) -> optax.GradientTransformation:
    """Return AdamW; reads `weight_decay` of the stage.

    Reference: Loshchilov & Hutter, ICLR 2019.
    """
    return optax.adamw(
        learning_rate_fn, b1=options.beta1, b2=options.beta2, eps=options.eps, weight_decay=stage.weight_decay
    )
