"""Metrics of class probabilities of many units and classes, measured some units at a time.

A thousand classes make 200 MB of the logits of 50,000 units; neither their softmax nor a float64 copy is ever held.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.blocks import blocks_of, in_blocks
from failpred_jax.metrics.reliability import NUM_BINS
from failpred_jax.metrics.sums import compensated_sum
from failpred_jax.metrics.walk import float_type
from failpred_jax.types import Array

OnHost = Callable[..., float]
# Compiled whole: operation by operation it is sixty programs, a megabyte of memory each.
_sum = jax.jit(compensated_sum)


def mean_of_units(of_units: Callable[[Array, Array], jax.Array], from_logits: bool = False) -> OnHost:
    """Return `(rows [N, C], labels [N], are_probs=False) -> mean` of a value that each unit has.

    Rows are logits, or with `are_probs` probabilities, which are taken as they are.

    Args:
      of_units: (probabilities [B, C], labels [B]) -> [B], NaN for a unit of which it is undefined; jittable.
      from_logits: whether it takes logits in the place of probabilities.
    """
    jitted = jax.jit(of_units)

    def of_block(block: tuple[Array, Array], as_is: bool) -> jax.Array:
        rows, labels = block
        return jitted(rows if as_is else jax.nn.softmax(jnp.asarray(rows)), labels)

    def measure(rows: np.ndarray, labels: np.ndarray, are_probs: bool = False) -> float:
        values = in_blocks(of_block, (rows, labels), from_logits or are_probs)
        return float(_sum(values) / jnp.asarray(values.size, float_type()))

    return measure


def classwise_ece(rows: np.ndarray, labels: np.ndarray, are_probs: bool = False, num_bins: int = NUM_BINS) -> float:
    """Return `calibration.classwise_ece` of probabilities [N, C], or of the softmax of logits; sums are float64.

    Most probabilities of many classes lie in the first bin, whose sums need no place for each of them.
    """
    num_units, num_classes = rows.shape
    if not num_units:
        return float('nan')
    edges = (np.arange(1, num_bins) / num_bins).astype(np.float32)
    sure = np.zeros((num_classes, num_bins))
    right = np.zeros_like(sure)
    is_probability = True
    for taken, new in blocks_of(rows):
        block = rows[taken] if are_probs else np.asarray(jax.nn.softmax(jnp.asarray(rows[taken])))
        probs = block[new - taken.start :]
        of_label = labels[new : taken.stop]
        is_probability &= bool(np.isfinite(probs).all())
        is_high = probs > edges[0]
        sure[:, 0] += np.where(is_high, 0, probs).sum(axis=0, dtype=np.float64)
        unit, of_class = np.nonzero(is_high)
        high = probs[unit, of_class]
        cell = of_class * num_bins + np.searchsorted(edges, high, side='left')
        size = sure.size
        sure += np.bincount(cell, high.astype(np.float64), size).reshape(sure.shape)
        own = np.searchsorted(edges, probs[np.arange(len(probs)), of_label], side='left')
        right += np.bincount(of_label * num_bins + own, minlength=size).reshape(sure.shape)
    # The gap of a bin times its share of units is the difference of its sums over all units.
    if not is_probability:
        return float('nan')
    return float((np.abs(sure - right).sum(axis=1) / num_units).mean())
