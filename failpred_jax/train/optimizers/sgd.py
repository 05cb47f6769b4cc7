"""Stochastic gradient descent with momentum."""

from collections.abc import Iterator
from dataclasses import dataclass

import optax

from failpred_jax.config import StageConfig
from failpred_jax.options import option
from failpred_jax.registry import OPTIMIZERS
from failpred_jax.train.optimizer import with_weight_decay


@dataclass(frozen=True)
class SgdOptions:
    """Stochastic gradient descent; its momentum and weight decay are options of the stage."""

    nesterov: bool = option(False, "Nesterov's momentum: step by the momentum that the next step would have")


def _problems(stage: StageConfig, path: str) -> Iterator[str]:
    if stage.options_of('sgd').nesterov and not stage.momentum:
        yield f'{path}.sgd.nesterov is True, but {path}.momentum is 0; set a momentum, or leave nesterov out'


@OPTIMIZERS.register('sgd', options=SgdOptions, problems=_problems)
def sgd(stage: StageConfig, options: SgdOptions, learning_rate_fn: optax.Schedule) -> optax.GradientTransformation:
    """Return SGD; reads `momentum` and `weight_decay` of the stage.

    Reference: PyTorch's SGD, without dampening; Sutskever et al., ICML 2013 (nesterov).
    """
    rule = optax.sgd(learning_rate_fn, momentum=stage.momentum or None, nesterov=options.nesterov)
    return with_weight_decay(stage, rule)
