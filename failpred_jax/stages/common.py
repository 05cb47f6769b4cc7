"""What the three stages share: lengths in steps, and the optimizer."""

import zlib
from typing import Any

import jax

from failpred_jax.config import StageConfig
from failpred_jax.train.optimizer import make_optimizer, make_schedule
from failpred_jax.types import Array


def steps_per_epoch(num_train: int, batch_size: int) -> int:
    """Return how many steps are called an epoch: enough to see every example once (see data/feeding.py)."""
    return -(-num_train // batch_size)


def timing(config: StageConfig, num_train: int) -> dict[str, Any]:
    """Return the fields of a Stage that follow from its length and optimizer."""
    per_epoch = steps_per_epoch(num_train, config.batch_size)
    learning_rate_fn = make_schedule(config, per_epoch)
    return {
        'optimizer': make_optimizer(config, learning_rate_fn),
        'learning_rate_fn': learning_rate_fn,
        'batch_size': config.batch_size,
        'steps_per_epoch': per_epoch,
        'num_steps': config.epochs * per_epoch,
        'eval_every_steps': config.eval_every_epochs * per_epoch,
    }


def stage_key(seed: int, name: str) -> Array:
    """Return the PRNG key of a stage; a checksum of the name keeps the stages' random numbers apart."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
