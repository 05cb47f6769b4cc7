"""Everything known about a metric besides its value; no other file lists metrics or names one."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from failpred_jax.registry import METRICS
from failpred_jax.results import MetricDescription

INFINITY = math.inf
# Behind the columns that have a place of their own.
LAST_COLUMN = 100


@dataclass(frozen=True)
class Metric:
    """One metric: measured, tabulated, compared and described as it says here.

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
      label: its short name for people, such as 'AUPR-Error'; by default the name without underscores.
      meaning: what it says, in plain words.
      is_share: whether it is a share, in [0, 1] or a difference of shares, which people read in percent.
      scale: what tables multiply it by; by default 100 for a share, else 1.
      column: its place among the columns of the main table (ties in the order of registration), None for no column;
        only for metrics of a 'ranking'.
      is_compared: whether scores are compared in pairs by it; only for metrics of a 'ranking'.
      infinite: when the value is infinite, in words; '' if never.
      from_logits: for 'classes', where probabilities would lose digits: the same function of logits [..., C].
      on_host: for 'classes': the same of logits [N, C] and labels [N] of NumPy, some units at a time, where the
        probabilities of all would take much memory or time; with `are_probs=True` of probabilities in their place.
      min_classes: for 'classes': fewest classes with which the value says anything.
      has_grades: whether it has a meaning where units are right by a share: grades in [0, 1] in the place of right
        and wrong.
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
    label: str = ''
    meaning: str = ''
    is_share: bool = True
    scale: float = 0.0
    column: int | None = LAST_COLUMN
    is_compared: bool = False
    infinite: str = ''
    from_logits: Callable[..., jax.Array] | None = None
    on_host: Callable[..., float] | None = None
    min_classes: int = 2
    has_grades: bool = False

    def __post_init__(self):
        # Frozen, so that no caller changes what all others read.
        object.__setattr__(self, 'label', self.label or self.name.replace('_', ' '))
        object.__setattr__(self, 'scale', self.scale or (100.0 if self.is_share else 1.0))
        if self.inputs != 'ranking':
            object.__setattr__(self, 'column', None)

    @property
    def heading(self) -> str:
        """The label with the factor that tables multiply the value by, where it is no percentage."""
        return f'{self.label} x{self.scale:g}' if self.scale not in (1, 100) else self.label

    def reason(self, value: float) -> str:
        """Return why a value is not finite, in a sentence."""
        if math.isnan(value):
            return f'undefined: {self.undefined or "there is no unit"}'
        return f'infinite: {self.infinite or "a unit has an infinite value"}'

    def describe(self) -> MetricDescription:
        """Return what an evaluation keeps of this metric."""
        fields = dataclasses.fields(MetricDescription)
        return MetricDescription(**{field.name: getattr(self, field.name) for field in fields})


def register(metric: Metric) -> Metric:
    """File a metric in `registry.METRICS` under its name and return it."""
    return METRICS.register(metric.name)(metric)


def of_inputs(inputs: str) -> list[Metric]:
    """Return the metrics that take these inputs, in the order of registration."""
    return [METRICS[name] for name in METRICS if METRICS[name].inputs == inputs]


def main_columns() -> list[Metric]:
    """Return the metrics that are columns of the main table, in their order."""
    shown = [(metric.column, metric) for metric in of_inputs('ranking') if metric.column is not None]
    return [metric for _, metric in sorted(shown, key=lambda pair: pair[0])]


def compared() -> list[Metric]:
    """Return the metrics by which scores are compared in pairs."""
    return [metric for metric in of_inputs('ranking') if metric.is_compared]


def nan_unless(defined: jax.Array, value: jax.Array) -> jax.Array:
    """Return value where defined, else NaN."""
    return jnp.where(defined, value, jnp.nan)
