"""The learning rate falls along half a cosine."""

from typing import Any

import optax

from failpred_jax.config import StageConfig
from failpred_jax.registry import SCHEDULES
from failpred_jax.train.optimizer import Span


@SCHEDULES.register('cosine')
def cosine(stage: StageConfig, options: Any, span: Span) -> optax.Schedule:
    """Return the fall from the peak to `final_learning_rate` at the end of the stage.

    Reference: Loshchilov & Hutter, ICLR 2017, equation 5, without restarts.
    """
    peak = stage.learning_rate
    return optax.cosine_decay_schedule(peak, span.num_steps, alpha=stage.final_learning_rate / peak)
