"""The learning rate falls by a factor at given epochs."""

from collections.abc import Iterator
from typing import Any

import optax

from failpred_jax.config import StageConfig
from failpred_jax.registry import SCHEDULES
from failpred_jax.train.optimizer import Span


def _problems(stage: StageConfig, path: str) -> Iterator[str]:
    if not stage.milestones:
        yield f"{path}.milestones is (); schedule 'multi_step' needs the epochs of its steps"


@SCHEDULES.register('multi_step', problems=_problems, extends=True)
def multi_step(stage: StageConfig, options: Any, span: Span) -> optax.Schedule:
    """Return the peak times `decay` for each of `milestones` that has passed; they count from the stage's first epoch.

    Reference: PyTorch's MultiStepLR.
    """
    factors = {milestone * span.steps_per_epoch - span.warmup: stage.decay for milestone in stage.milestones}
    return optax.piecewise_constant_schedule(stage.learning_rate, factors)
