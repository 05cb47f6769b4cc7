"""Confidence put to use: certified thresholds, sets, policies, and what each of them promises.

Everything here works on arrays of calibration units: units that nothing else has read, neither the choice of a
checkpoint nor that of a score nor a fit.
"""

from failpred_jax.decide.certificate import Certificate
from failpred_jax.decide.combining import Combination, combine_components, compare_combinations
from failpred_jax.decide.costs import Costs, certify_cost, chow_threshold
from failpred_jax.decide.floors import least_rejected, threshold_for_budget, threshold_for_coverage
from failpred_jax.decide.risks import (
    certify_each,
    certify_expected,
    certify_generalized,
    certify_selective,
    certify_tiers,
)
from failpred_jax.decide.set_measures import measure_sets
from failpred_jax.decide.sets import Labeled, SetRule, fit_sets

__all__ = [
    'Certificate',
    'Combination',
    'Costs',
    'Labeled',
    'SetRule',
    'certify_cost',
    'certify_each',
    'certify_expected',
    'certify_generalized',
    'certify_selective',
    'certify_tiers',
    'chow_threshold',
    'combine_components',
    'compare_combinations',
    'fit_sets',
    'least_rejected',
    'measure_sets',
    'threshold_for_budget',
    'threshold_for_coverage',
]
