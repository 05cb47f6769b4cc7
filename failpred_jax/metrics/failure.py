"""Failure ranking: how well a confidence separates correct predictions from errors.

"Accept" means confidence >= threshold, and thresholds are the distinct confidences, so that equal confidences are
accepted together and no value depends on the order of the units.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from failpred_jax.metrics.metric import INFINITY, Metric, nan_unless, register
from failpred_jax.metrics.sorting import count_nan, sort_units
from failpred_jax.metrics.walk import STANDARD, Counts, Found, Points, float_type, walk
from failpred_jax.types import Array

NO_ERROR = 'there is no error'
NO_CORRECT = 'there is no correct prediction'


def fpr_name(tpr: float) -> str:
    """Return the name of the false positive rate at `tpr`, such as 'fpr_at_95tpr'."""
    return f'fpr_at_{100 * tpr:g}tpr'


def failure_names(points: Points) -> tuple[str, ...]:
    """Return the names of what `failure_values` returns, in the order of tables."""
    return ('accuracy', 'num_errors', 'auroc', 'aupr_success', 'aupr_error', *map(fpr_name, points.tpr))


def failure_values(found: Found, total: Counts, points: Points) -> dict[str, jax.Array]:
    """Return accuracy, num_errors, AUROC, both AUPR and FPR@TPR from a walk; [...] lanes of the default float type."""
    units, correct, errors = (x.astype(float_type()) for x in (total.units, total.correct, total.errors))
    sums = found.totals()
    any_correct, any_error = total.correct > 0, total.errors > 0
    at_least_one = functools.partial(jnp.maximum, 1)
    values = {
        'accuracy': nan_unless(total.units > 0, correct / at_least_one(units)),
        'num_errors': errors,
        'auroc': nan_unless(any_correct & any_error, sums['auroc'] / at_least_one(2 * correct * errors)),
        'aupr_success': nan_unless(any_correct, sums['aupr_success'] / at_least_one(correct)),
        'aupr_error': nan_unless(any_error, sums['aupr_error'] / at_least_one(errors)),
    }
    for tpr, errors_above in zip(points.tpr, found.at_tpr, strict=True):
        rate = errors_above.astype(float_type()) / at_least_one(errors)
        values[fpr_name(tpr)] = nan_unless(any_correct & any_error, rate)
    return values


def fpr_at_tpr(confidence: Array, correct: Array, mask: Array | None = None, tpr: float = 0.95) -> jax.Array:
    """Return the share of errors accepted at the largest threshold that accepts at least `tpr` of the correct units.

    Args:
      confidence: [N] float32, higher means more confident.
      correct: [N] bool.
      mask: [N] bool or None.
      tpr: static, in (0, 1], read to four decimals.

    Returns:
      Scalar in [0, 1]; NaN without an error or without a correct unit.

    Reference: Liang, Li & Srikant, ICLR 2018 ("FPR at 95% TPR"); Corbière et al., NeurIPS 2019, section 4.
    """
    points = Points((tpr,), (), ())
    found, total = walk(sort_units(confidence, correct, mask), points)
    rate = failure_values(found, total, points)[fpr_name(tpr)]
    return nan_unless(count_nan(confidence, mask) == 0, rate)


def _one(name: str, confidence: Array, correct: Array, mask: Array | None = None) -> jax.Array:
    found, total = walk(sort_units(confidence, correct, mask))
    value = failure_values(found, total, STANDARD)[name]
    return nan_unless(count_nan(confidence, mask) == 0, value)


def _register(name: str, **facts: Any) -> None:
    register(Metric(name=name, family='failure', inputs='ranking', fn=functools.partial(_one, name), **facts))


_register(
    'accuracy',
    label='Accuracy',
    meaning='the share of correct predictions',
    definition='Share of units that are predicted correctly. Equal for all confidence scores of one classifier.',
    reference='scikit-learn accuracy_score',
    higher_is_better=True,
    column=None,
    has_grades=True,
)
_register(
    'num_errors',
    label='Errors',
    meaning='the number of wrong predictions',
    definition='Number of wrong predictions; with few, all other figures are noise.',
    reference='a count',
    higher_is_better=None,
    undefined='never; it is 0 for no unit',
    high=INFINITY,
    is_share=False,
    column=None,
)
_register(
    'auroc',
    label='AUROC',
    meaning='how often a correct prediction is ranked above a wrong one',
    definition='Probability that a correct prediction has more confidence than an error; equal confidences count one '
    'half.',
    reference='scikit-learn roc_auc_score(correct, confidence); Hendrycks & Gimpel, ICLR 2017, section 2',
    higher_is_better=True,
    undefined=f'{NO_ERROR} or {NO_CORRECT}',
    column=3,
    is_compared=True,
)
_register(
    'aupr_success',
    label='AUPR-Success',
    meaning='how precisely high confidence points at correct predictions',
    definition='Average precision of finding correct predictions by high confidence: precision at every distinct '
    'threshold, weighted by the recall gained there.',
    reference='scikit-learn average_precision_score(correct, confidence); Hendrycks & Gimpel, ICLR 2017, section 2',
    higher_is_better=True,
    undefined=NO_CORRECT,
    column=2,
)
_register(
    'aupr_error',
    label='AUPR-Error',
    meaning='how precisely low confidence points at errors',
    definition='Average precision of finding errors by low confidence: precision at every distinct threshold, '
    'weighted by the recall gained there.',
    reference='scikit-learn average_precision_score(~correct, -confidence); Corbière et al., NeurIPS 2019, section 4',
    higher_is_better=True,
    undefined=NO_ERROR,
    column=1,
    is_compared=True,
)
_register(
    'fpr_at_95tpr',
    label='FPR@95%TPR',
    meaning='the share of errors let through when 95% of the correct predictions are accepted',
    definition='Share of errors accepted at the largest threshold that accepts at least 95% of the correct '
    'predictions.',
    reference='Liang, Li & Srikant, ICLR 2018 ("FPR at 95% TPR"); Corbière et al., NeurIPS 2019, section 4',
    higher_is_better=False,
    undefined=f'{NO_ERROR} or {NO_CORRECT}',
    column=0,
    is_compared=True,
)
