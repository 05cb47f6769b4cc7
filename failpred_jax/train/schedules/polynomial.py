"""The learning rate falls as a power of what is left of the stage."""

from typing import Any

import optax

from failpred_jax.config import StageConfig
from failpred_jax.registry import SCHEDULES
from failpred_jax.train.optimizer import Span


@SCHEDULES.register('polynomial')
def polynomial(stage: StageConfig, options: Any, span: Span) -> optax.Schedule:
    """Return the fall from the peak to `final_learning_rate`, with the exponent `power`."""
    return optax.polynomial_schedule(stage.learning_rate, stage.final_learning_rate, stage.power, span.num_steps)
