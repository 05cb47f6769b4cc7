"""What the three stages share: lengths in steps, optimizer and recipes."""

import zlib
from typing import Any

import jax

from failpred_jax.config import StageConfig
from failpred_jax.train.optimizer import make_optimizer, make_schedule
from failpred_jax.train.recipe import Setting, make_recipes
from failpred_jax.types import Array


def steps_per_epoch(num_train: int, batch_size: int) -> int:
    """Return how many steps are called an epoch: enough to see every example once (see data/feeding.py)."""
    return -(-num_train // batch_size)


def training(name: str, config: StageConfig, num_train: int) -> dict[str, Any]:
    """Return the fields of a Stage that follow from its length, optimizer and recipes."""
    per_epoch = steps_per_epoch(num_train, config.batch_size)
    num_steps = config.epochs * per_epoch
    recipes = make_recipes(
        ((recipe, config.options_of(recipe)) for recipe in config.recipes),
        Setting(name, num_train, config.batch_size, per_epoch, num_steps),
    )
    learning_rate_fn = make_schedule(config, per_epoch)
    for recipe in recipes.values():
        learning_rate_fn = recipe.change_schedule(learning_rate_fn)
    optimizer = make_optimizer(config, learning_rate_fn)
    for recipe in recipes.values():
        optimizer = recipe.change_optimizer(optimizer)
    return {
        'optimizer': optimizer,
        'learning_rate_fn': learning_rate_fn,
        'batch_size': config.batch_size,
        'steps_per_epoch': per_epoch,
        'num_steps': num_steps,
        'eval_every_steps': config.eval_every_epochs * per_epoch,
        'recipes': recipes,
    }


def stage_key(seed: int, name: str) -> Array:
    """Return the PRNG key of a stage; a checksum of the name keeps the stages' random numbers apart."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
