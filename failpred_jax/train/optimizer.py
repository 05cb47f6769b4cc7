"""Optimizers and learning-rate schedules from a stage's options."""

import optax

from failpred_jax.config import StageConfig


def make_schedule(stage: StageConfig, steps_per_epoch: int) -> optax.Schedule:
    """Return step -> learning rate, in units of steps from a configuration in epochs.

    The warm-up rises linearly from 0 and comes before the schedule, whose own clock starts when it ends; milestones
    and the last step count from the beginning of the stage. `exponential` multiplies at the end of each epoch, as
    PyTorch's ExponentialLR does when it is stepped once per epoch.
    """
    peak = stage.learning_rate
    warmup = round(stage.warmup_epochs * steps_per_epoch)
    rest = max(stage.epochs * steps_per_epoch - warmup, 1)
    if stage.schedule == 'multi_step':
        factors = {milestone * steps_per_epoch - warmup: stage.decay for milestone in stage.milestones}
        main = optax.piecewise_constant_schedule(peak, factors)
    elif stage.schedule == 'cosine':
        main = optax.cosine_decay_schedule(peak, rest, alpha=stage.final_learning_rate / peak)
    elif stage.schedule == 'exponential':
        main = optax.exponential_decay(peak, steps_per_epoch, stage.decay, staircase=True)
    elif stage.schedule == 'polynomial':
        main = optax.polynomial_schedule(peak, stage.final_learning_rate, stage.power, rest)
    else:
        main = optax.constant_schedule(peak)
    if warmup == 0:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup])


def make_optimizer(stage: StageConfig, learning_rate_fn: optax.Schedule) -> optax.GradientTransformation:
    """Return the optimizer of a stage.

    SGD and Adam add weight_decay * parameter to the gradient of every parameter, biases and BatchNorm included, as
    PyTorch's do; AdamW decouples it from the gradient. Adam's constants are PyTorch's, which are also optax's.
    """
    if stage.optimizer == 'adamw':
        return optax.adamw(learning_rate_fn, weight_decay=stage.weight_decay)
    if stage.optimizer == 'adam':
        rule = optax.adam(learning_rate_fn)
    else:
        rule = optax.sgd(learning_rate_fn, momentum=stage.momentum or None)
    if stage.weight_decay == 0:
        return rule
    return optax.chain(optax.add_decayed_weights(stage.weight_decay), rule)
