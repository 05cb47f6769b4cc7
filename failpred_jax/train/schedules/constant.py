"""The same learning rate throughout."""

from typing import Any

import optax

from failpred_jax.config import StageConfig
from failpred_jax.registry import SCHEDULES
from failpred_jax.train.optimizer import Span


@SCHEDULES.register('constant', extends=True)
def constant(stage: StageConfig, options: Any, span: Span) -> optax.Schedule:
    """Return `learning_rate` at every step."""
    return optax.constant_schedule(stage.learning_rate)
