"""What is known of a metric besides its value: for the report's definitions and for tests over the whole registry."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from failpred_jax.registry import METRICS

INFINITY = math.inf


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
      name: the key in tables and files.
      family: 'failure', 'selective', 'calibration', 'classification' or 'segmentation'.
      inputs: what `fn` takes: 'ranking' (confidence [N], correct [N] bool), 'probability' (the same, confidence in
        [0, 1]), 'classes' (probabilities [..., C], labels [...]), 'labels' (predicted [...], labels [...], both
        int32 in [0, C), and the keyword `num_classes`).
      fn: pure and jittable: `fn(*inputs, mask)`, mask None or [...] bool; a scalar, or [C] where `per_class`.
      definition: one or two sentences.
      reference: paper and equation, or the scikit-learn function it equals.
      higher_is_better: None where neither is (a count).
      low: smallest possible value.
      high: largest possible value.
      undefined: when the value is NaN, in words; '' if only for no unit at all.
      per_class: whether the value is [C].
    """

    name: str
    family: str
    inputs: str
    fn: Callable[..., jax.Array]
    definition: str
    reference: str
    higher_is_better: bool | None
    low: float = 0.0
    high: float = 1.0
    undefined: str = ''
    per_class: bool = False


def register(metric: Metric) -> Metric:
    """File a metric in `registry.METRICS` under its name and return it."""
    return METRICS.register(metric.name)(metric)


def nan_unless(defined: jax.Array, value: jax.Array) -> jax.Array:
    """Return value where defined, else NaN."""
    return jnp.where(defined, value, jnp.nan)
