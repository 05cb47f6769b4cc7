"""Recipes that a config file offers by name: --config=configs/cifar10.py:fast."""

from collections.abc import Callable, Mapping

import ml_collections

from failpred_jax.errors import UserError, nearest


def with_recipe(
    config: ml_collections.ConfigDict, name: str, recipes: Mapping[str, Callable[[ml_collections.ConfigDict], None]]
) -> ml_collections.ConfigDict:
    """Return the config, changed by the recipe of this name.

    Args:
      config: what all recipes share; it is changed.
      name: what stands after the colon of --config=FILE:NAME.
      recipes: name -> what changes the config.

    Raises:
      UserError: there is no such recipe.
    """
    if name not in recipes:
        raise UserError(f"there is no recipe '{name}'{nearest(name, recipes)} (it has: {', '.join(recipes)})")
    recipes[name](config)
    return config
