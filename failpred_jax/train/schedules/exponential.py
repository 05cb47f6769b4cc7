"""The learning rate falls by a factor after every epoch."""

from typing import Any

import optax

from failpred_jax.config import StageConfig
from failpred_jax.registry import SCHEDULES
from failpred_jax.train.optimizer import Span


@SCHEDULES.register('exponential', extends=True)
def exponential(stage: StageConfig, options: Any, span: Span) -> optax.Schedule:
    """Return the peak times `decay` for each epoch that has passed.

    Reference: PyTorch's ExponentialLR, stepped once per epoch.
    """
    return optax.exponential_decay(stage.learning_rate, span.steps_per_epoch, stage.decay, staircase=True)
