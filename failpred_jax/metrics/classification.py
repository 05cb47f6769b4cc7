"""Classification: confusion matrix and what follows from it, and top-k accuracy."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from failpred_jax.metrics.metric import Metric, nan_unless, register
from failpred_jax.metrics.on_host import mean_of_units
from failpred_jax.metrics.sums import masked_mean
from failpred_jax.metrics.walk import float_type
from failpred_jax.types import Array


def confusion_matrix(predicted: Array, labels: Array, mask: Array | None = None, *, num_classes: int) -> jax.Array:
    """Count predictions by label.

    Args:
      predicted: [...] int, in [0, C).
      labels: [...] int, in [0, C).
      mask: [...] bool or None. A unit whose label or prediction is outside [0, C) is counted nowhere.
      num_classes: C, static.

    Returns:
      [C, C] int32; row: label, column: prediction. Matrices of parts of the data add up to that of the whole.

    Reference: scikit-learn confusion_matrix.
    """
    predicted, labels, good = _countable(predicted, labels, mask, num_classes)
    cells = num_classes * num_classes
    cell = jnp.where(good, labels * num_classes + predicted, cells)
    counts = jnp.zeros(cells, jnp.int32).at[cell].add(1, mode='drop')
    return counts.reshape(num_classes, num_classes)


def confusion_values(confusion: Array) -> dict[str, jax.Array]:
    """Return the metrics that follow from a confusion matrix.

    Args:
      confusion: [C, C] int32, rows labels.

    Returns:
      {accuracy, balanced_accuracy: scalar; recall, precision, f1: [C]} floats in [0, 1]. NaN where the denominator is
      0: recall of a class that does not occur, precision of one that is never predicted, F1 of one that is neither.

    Reference: scikit-learn accuracy_score, balanced_accuracy_score, precision_recall_fscore_support.
    """
    return class_values(*marginals(jnp.asarray(confusion)))


def marginals(confusion: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return, of a confusion matrix [C, C], the units of each class that are right, occur and are predicted: [C]."""
    return jnp.diagonal(confusion), jnp.sum(confusion, axis=1), jnp.sum(confusion, axis=0)


def class_counts(
    predicted: Array, labels: Array, mask: Array | None = None, *, num_classes: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the `marginals` of a `confusion_matrix` without making it: of 20,000 classes it would take 1.6 GB."""
    predicted, labels, good = _countable(predicted, labels, mask, num_classes)

    def counts(classes: jax.Array, chosen: jax.Array) -> jax.Array:
        return jnp.zeros(num_classes, jnp.int32).at[jnp.where(chosen, classes, num_classes)].add(1, mode='drop')

    return counts(labels, good & (labels == predicted)), counts(labels, good), counts(predicted, good)


def _countable(
    predicted: Array, labels: Array, mask: Array | None, num_classes: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return predicted classes and labels as int32, and which units count: [N] each."""
    predicted, labels = (jnp.ravel(jnp.asarray(x)).astype(jnp.int32) for x in (predicted, labels))
    good = (labels >= 0) & (labels < num_classes) & (predicted >= 0) & (predicted < num_classes)
    return predicted, labels, good if mask is None else good & jnp.ravel(jnp.asarray(mask))


def class_values(right: Array, occurs: Array, chosen: Array) -> dict[str, jax.Array]:
    """Return what `confusion_values` does, of the marginals [C] int32 alone."""
    right, occurs, chosen = (jnp.asarray(x) for x in (right, occurs, chosen))
    recall = share(right, occurs)
    # Halves, so that the sum of two counts stays within int32.
    both = occurs.astype(float_type()) / 2 + chosen.astype(float_type()) / 2
    return {
        'accuracy': share(jnp.sum(right), jnp.sum(occurs)),
        'balanced_accuracy': share(jnp.sum(jnp.where(occurs > 0, recall, 0)), jnp.sum(occurs > 0)),
        'recall': recall,
        'precision': share(right, chosen),
        'f1': share(right, both),
    }


def share(part: jax.Array, whole: jax.Array) -> jax.Array:
    """Return part / whole as floats, NaN where whole is 0."""
    safe = jnp.where(whole > 0, whole, 1).astype(float_type())
    return nan_unless(whole > 0, part.astype(float_type()) / safe)


def top_k_accuracy(probs: Array, labels: Array, mask: Array | None = None, *, k: int) -> jax.Array:
    """Return the share of units whose label is among the k classes of highest probability.

    Args:
      probs: [..., C] float: probabilities or logits.
      labels: [...] int32 in [0, C).
      mask: [...] bool or None.
      k: static; with k >= C the value is 1.

    Returns:
      Scalar in [0, 1]; NaN for no unit. Of equally probable classes the lower index comes first, as in argmax, so that
      k = 1 is the accuracy.

    Reference: scikit-learn top_k_accuracy_score.
    """
    hit = _is_among(probs, labels, k)
    return masked_mean(jnp.ravel(hit).astype(float_type()), None if mask is None else jnp.ravel(jnp.asarray(mask)))


def _is_among(probs: Array, labels: Array, k: int) -> jax.Array:
    """Return whether the label of each unit is among its k classes of highest probability: [...] bool."""
    probs, labels = jnp.asarray(probs), jnp.asarray(labels).astype(jnp.int32)[..., None]
    of_label = jnp.take_along_axis(probs, jnp.clip(labels, 0, probs.shape[-1] - 1), axis=-1)
    classes = jax.lax.broadcasted_iota(jnp.int32, probs.shape, probs.ndim - 1)
    ahead = (probs > of_label) | ((probs == of_label) & (classes < labels))
    return jnp.sum(ahead, axis=-1, dtype=jnp.int32) < k


def _one(name: str, predicted: Array, labels: Array, mask: Array | None = None, *, num_classes: int) -> jax.Array:
    return class_values(*class_counts(predicted, labels, mask, num_classes=num_classes))[name]


def _register(name: str, **facts: Any) -> None:
    fn = functools.partial(_one, name)
    register(Metric(name=name, family='classification', inputs='labels', fn=fn, higher_is_better=True, **facts))


_register(
    'balanced_accuracy',
    label='Balanced accuracy',
    meaning='accuracy averaged over classes',
    definition='Mean recall over the classes that occur.',
    reference='scikit-learn balanced_accuracy_score',
)
_register(
    'recall',
    label='Recall',
    meaning='the share of a class that is found',
    definition='Of the units of a class, the share predicted as that class.',
    reference='scikit-learn recall_score',
    undefined='no unit has this class',
    per_class=True,
)
_register(
    'precision',
    label='Precision',
    meaning='the share of the predictions of a class that are right',
    definition='Of the units predicted as a class, the share that has that class.',
    reference='scikit-learn precision_score',
    undefined='this class is never predicted',
    per_class=True,
)
_register(
    'f1',
    label='F1',
    meaning='recall and precision of a class in one number',
    definition='Harmonic mean of precision and recall of a class.',
    reference='scikit-learn f1_score',
    undefined='this class neither occurs nor is predicted',
    per_class=True,
)
register(
    Metric(
        name='top_5_accuracy',
        family='classification',
        inputs='classes',
        fn=functools.partial(top_k_accuracy, k=5),
        on_host=mean_of_units(lambda probs, labels: _is_among(probs, labels, 5).astype(float_type())),
        label='Top-5 accuracy',
        meaning='the share of units whose label is among the five most probable classes',
        definition='Share of units whose label is among the five most probable classes.',
        reference='scikit-learn top_k_accuracy_score',
        higher_is_better=True,
        min_classes=6,
    )
)
