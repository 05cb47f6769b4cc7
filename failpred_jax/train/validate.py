"""What a stage measures on the validation split between epochs."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from failpred_jax import devices
from failpred_jax.data.feeding import batches_in_order
from failpred_jax.metrics import failure_metrics
from failpred_jax.train.step import Outcomes, Units
from failpred_jax.types import Batch, Examples, PyTree

# A spread (standard deviation) of confidences below this is a constant for every practical purpose.
COLLAPSED_SPREAD = 1e-4

Found = TypeVar('Found', Outcomes, Units)


def each_batch_of_units(
    step_fn: Callable[[PyTree, PyTree, Batch], Found],
    params: PyTree,
    batch_stats: PyTree,
    examples: Examples,
    batch_size: int,
) -> Iterator[Found]:
    """Yield what a step finds of each batch on the host, flattened to [n], without padding and ignored units.

    Args:
      step_fn: from `make_validation_step` (Units) or `make_outcome_step` (Outcomes), mapped over devices.
      params, batch_stats: replicated.
      examples: to be seen, in order.
      batch_size: examples per batch.
    """
    for batch, _ in batches_in_order(examples, batch_size):
        found = devices.gather(step_fn(params, batch_stats, batch))
        keep = np.asarray(found.mask).reshape(-1)
        yield type(found)(*(np.asarray(x).reshape(-1)[keep] for x in found))


def collect_units(
    step_fn: Callable[[PyTree, PyTree, Batch], Found],
    params: PyTree,
    batch_stats: PyTree,
    examples: Examples,
    batch_size: int,
) -> Found:
    """Return the units of all examples on the host, [N]; the arguments are those of `each_batch_of_units`."""
    parts = list(each_batch_of_units(step_fn, params, batch_stats, examples, batch_size))
    return type(parts[0])(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def validation_metrics(units: Units) -> dict[str, float]:
    """Return the figures of the validation split: loss, accuracy, and how well the confidence finds errors."""
    failure = failure_metrics(units.confidence, units.correct)
    return {
        'val_loss': float(np.mean(units.loss, dtype=np.float64)),
        'val_accuracy': failure['accuracy'],
        'val_auroc': failure['auroc'],
        'val_aupr_error': failure['aupr_error'],
        'val_aurc': failure['aurc'],
        'val_confidence_spread': float(np.std(units.confidence, dtype=np.float64)),
    }
