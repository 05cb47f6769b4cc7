"""Optimizers and learning-rate schedules from a stage's options. Each is a file in optimizers/ and schedules/.

An optimizer is `(stage, options, learning_rate_fn) -> optax.GradientTransformation`, a schedule is
`(stage, options, span) -> (step -> learning rate)`; `options` are those that it was registered with, or None. What
several of them read, such as `learning_rate` and `weight_decay`, are options of the stage, so that another optimizer
is one change in a config.
"""

from typing import NamedTuple

import optax

from failpred_jax.config import StageConfig
from failpred_jax.registry import OPTIMIZERS, SCHEDULES


class Span(NamedTuple):
    """What a schedule may know of the length of its stage; its own step 0 is where the warm-up ends.

    Attributes:
      num_steps: steps after the warm-up, at least 1.
      steps_per_epoch: steps that are called an epoch.
      warmup: steps of the warm-up, before the schedule begins.
    """

    num_steps: int
    steps_per_epoch: int
    warmup: int


def make_schedule(stage: StageConfig, steps_per_epoch: int) -> optax.Schedule:
    """Return step -> learning rate, in units of steps from a configuration in epochs.

    The warm-up rises linearly from 0 and comes before the schedule, whose own clock starts when it ends.
    """
    warmup = round(stage.warmup_epochs * steps_per_epoch)
    span = Span(max(stage.epochs * steps_per_epoch - warmup, 1), steps_per_epoch, warmup)
    main = SCHEDULES[stage.schedule](stage, stage.options_of(stage.schedule), span)
    if warmup == 0:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, stage.learning_rate, warmup), main], [warmup])


def make_optimizer(stage: StageConfig, learning_rate_fn: optax.Schedule) -> optax.GradientTransformation:
    """Return the optimizer of a stage."""
    return OPTIMIZERS[stage.optimizer](stage, stage.options_of(stage.optimizer), learning_rate_fn)


def with_weight_decay(stage: StageConfig, rule: optax.GradientTransformation) -> optax.GradientTransformation:
    """Return an optimizer that adds weight_decay * parameter to every gradient first, as PyTorch's SGD and Adam do.

    Biases and BatchNorm are included.
    """
    if stage.weight_decay == 0:
        return rule
    return optax.chain(optax.add_decayed_weights(stage.weight_decay), rule)
