"""Segmentation: pixel accuracy and intersection over union, from the confusion matrix of all pixels together."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from failpred_jax.metrics.classification import class_counts, marginals, share
from failpred_jax.metrics.metric import Metric, register
from failpred_jax.types import Array


def segmentation_values(confusion: Array) -> dict[str, jax.Array]:
    """Return the metrics of a segmentation from its confusion matrix.

    Args:
      confusion: [C, C] int32 over all counted pixels of all images, rows labels.

    Returns:
      {pixel_accuracy, mean_iou: scalar; iou: [C]} floats in [0, 1]. The IoU of a class that neither occurs nor is
      predicted is NaN, and the mean leaves it out.

    Reference: Long, Shelhamer & Darrell, CVPR 2015, section 5 ("pixel accuracy", "mean IU").
    """
    return overlap_values(*marginals(jnp.asarray(confusion)))


def overlap_values(right: Array, occurs: Array, chosen: Array) -> dict[str, jax.Array]:
    """Return what `segmentation_values` does, of the marginals [C] int32 alone."""
    right, occurs, chosen = (jnp.asarray(x) for x in (right, occurs, chosen))
    union = chosen + (occurs - right)
    iou = share(right, union)
    return {
        'pixel_accuracy': share(jnp.sum(right), jnp.sum(occurs)),
        'iou': iou,
        'mean_iou': share(jnp.sum(jnp.where(union > 0, iou, 0)), jnp.sum(union > 0)),
    }


def _one(name: str, predicted: Array, labels: Array, mask: Array | None = None, *, num_classes: int) -> jax.Array:
    return overlap_values(*class_counts(predicted, labels, mask, num_classes=num_classes))[name]


def _register(name: str, **facts: Any) -> None:
    register(
        Metric(
            name=name,
            family='segmentation',
            inputs='labels',
            fn=functools.partial(_one, name),
            reference='Long, Shelhamer & Darrell, CVPR 2015, section 5',
            higher_is_better=True,
            **facts,
        )
    )


_register(
    'pixel_accuracy',
    label='Pixel accuracy',
    meaning='the share of pixels that are right',
    definition='Share of pixels with a correct prediction, over all images together; void pixels left out.',
)
_register(
    'iou',
    label='IoU',
    meaning='overlap of prediction and truth',
    definition='Pixels of a class that are predicted as it, over pixels that have the class or are predicted as it; '
    'all images together.',
    undefined='this class neither occurs nor is predicted',
    per_class=True,
)
_register(
    'mean_iou',
    label='Mean IoU',
    meaning='overlap of prediction and truth, averaged over classes',
    definition='Mean IoU over the classes that occur or are predicted.',
)
