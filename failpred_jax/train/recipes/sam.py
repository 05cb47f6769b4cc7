"""Sharpness-aware minimization: the gradient is taken where the loss is highest nearby."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from failpred_jax.options import NOT_NEGATIVE, option
from failpred_jax.registry import RECIPES
from failpred_jax.train.recipe import Recipe


@dataclass(frozen=True)
class SamOptions:
    """Sharpness-aware minimization."""

    rho: float = option(0.05, 'distance at which the second gradient is taken; 0 takes none', NOT_NEGATIVE)


@RECIPES.register('sam', options=SamOptions, extends=True)
class Sam(Recipe):
    """Step by the gradient at `parameters + rho * gradient / its norm`; twice the work of a step.

    The first gradient is that of the whole batch, over all devices. Both passes see the same augmentation and the same
    dropout; BatchNorm's running statistics come from the first. Weight decay belongs to the optimizer, so it plays no
    part in the first.

    Reference: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021,
    equation 2 and algorithm 1 (p = 2).
    """

    def change_optimizer(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        if self.options.rho == 0:
            return optimizer
        inner = optax.with_extra_args_support(optimizer)

        def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
            # A gradient of nothing but zeros has no direction: stay.
            scale = self.options.rho / jnp.maximum(optax.tree.norm(updates), 1e-12)
            highest = jax.tree.map(lambda p, g: p + scale * g, params, updates)
            return inner.update(extra['grad_fn'](highest), state, params, **extra)

        return optax.GradientTransformationExtraArgs(inner.init, update)
