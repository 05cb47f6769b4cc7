"""A stage of training as data, and the state that a step changes."""

from collections.abc import Callable
from dataclasses import dataclass

import flax.struct
import optax

from failpred_jax.types import Array, Outputs, PyTree


@flax.struct.dataclass
class TrainState:
    """Everything a step changes or reads, besides data. It knows nothing of the number of devices.

    Attributes:
      step: scalar int32, steps taken in this stage; it also fixes the position in the data.
      key: the stage's PRNG key; a step uses fold_in(key, step).
      trained: parameters that get gradients and optimizer state, as {sub-tree: ...}.
      frozen: parameters that do not, likewise. Never changed by a step.
      batch_stats: BatchNorm running statistics, as {sub-tree: ...}.
      opt_state: of `trained` alone.
    """

    step: Array
    key: Array
    trained: PyTree
    frozen: PyTree
    batch_stats: PyTree
    opt_state: PyTree


@dataclass(frozen=True)
class Stage:
    """One stage of training, as data; train/loop.py runs any of them.

    Attributes:
      name: also the name of the stage's folder.
      starts_from: the stage whose best checkpoint is the starting point, or None for fresh parameters.
      trains: path predicate; `trains(('head', 'dense_0', 'kernel'))` is True if that parameter is trained.
      batch_norm_in: sub-trees whose BatchNorm uses, and updates with, batch statistics.
      dropout_in: sub-trees whose dropout is active while training.
      with_confidence: whether the confidence head is evaluated.
      fixed_in_training: fields of Cached that are the same in every step, as long as images are not changed at random.
      fixed_in_validation: fields of Cached that are the same in every validation.
      loss_fn: (outputs, label, mask of units) -> [units] float32 loss per unit.
      optimizer: an optax transformation for the trained parameters.
      batch_size: examples a step, over all devices of all processes.
      num_steps: the stage's length.
      steps_per_epoch: what one epoch of the curves means; see data/feeding.py.
      eval_every_steps: steps between validations.
      select_by: validation metric, higher is better, that picks the best checkpoint.
      learning_rate_fn: step -> learning rate, for the log.
    """

    name: str
    starts_from: str | None
    trains: Callable[[tuple[str, ...]], bool]
    batch_norm_in: frozenset[str]
    dropout_in: frozenset[str]
    with_confidence: bool
    fixed_in_training: frozenset[str]
    fixed_in_validation: frozenset[str]
    loss_fn: Callable[[Outputs, Array, Array], Array]
    optimizer: optax.GradientTransformation
    batch_size: int
    num_steps: int
    steps_per_epoch: int
    eval_every_steps: int
    select_by: str
    learning_rate_fn: Callable[[int], float]
