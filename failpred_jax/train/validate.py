"""What a stage measures on the validation split between epochs."""

from collections.abc import Callable, Iterator

import numpy as np

from failpred_jax import devices
from failpred_jax.data.feeding import batches_in_order
from failpred_jax.metrics import failure_metrics
from failpred_jax.train.step import Units
from failpred_jax.types import Batch, Examples, PyTree

# A spread (standard deviation) of confidences below this is a constant for every practical purpose.
COLLAPSED_SPREAD = 1e-4


def each_batch_of_units(
    validate_fn: Callable[[PyTree, PyTree, Batch], Units],
    params: PyTree,
    batch_stats: PyTree,
    examples: Examples,
    batch_size: int,
) -> Iterator[Units]:
    """Yield the Units of each batch on the host, flattened to [n], without padding and ignored units.

    Args:
      validate_fn: mapped over devices.
      params, batch_stats: replicated.
      examples: to be seen, in order.
      batch_size: examples a batch.
    """
    for batch, _ in batches_in_order(examples, batch_size):
        units = devices.gather(validate_fn(params, batch_stats, batch))
        keep = np.asarray(units.mask).reshape(-1)
        yield Units(*(np.asarray(x).reshape(-1)[keep] for x in units))


def collect_units(
    validate_fn: Callable[[PyTree, PyTree, Batch], Units],
    params: PyTree,
    batch_stats: PyTree,
    examples: Examples,
    batch_size: int,
) -> Units:
    """Return the Units of all examples on the host, [N]; the arguments are those of `each_batch_of_units`."""
    parts = each_batch_of_units(validate_fn, params, batch_stats, examples, batch_size)
    return Units(*(np.concatenate(column) for column in zip(*parts, strict=True)))


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
