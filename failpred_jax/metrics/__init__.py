"""Metrics: failure ranking, selective prediction, calibration, classification, segmentation; pure, masked, jittable.

Every function here looks at the types and shapes of its arguments first; see checking.py.
"""

import inspect

from failpred_jax.metrics.calibration import (
    classwise_ece,
    confidence_calibration,
    multiclass_brier,
    multiclass_nll,
)
from failpred_jax.metrics.calibration_sums import CalibrationSums, calibration_from_sums, calibration_sums
from failpred_jax.metrics.checking import checked
from failpred_jax.metrics.classification import confusion_matrix, confusion_values, top_k_accuracy
from failpred_jax.metrics.classifier import calibration_metrics, classifier_metrics, segmentation_metrics
from failpred_jax.metrics.clusters import ClusterCounts, bootstrap_clusters, coarse_edges, coarsen
from failpred_jax.metrics.comparisons import Comparison, compare, compare_with_reference, level_with_best
from failpred_jax.metrics.curves import (
    CURVES,
    Curve,
    ThresholdCounts,
    accuracy_rejection_curve,
    precision_recall_curve,
    risk_coverage_curve,
    roc_curve,
    thin_curve,
    threshold_counts,
)
from failpred_jax.metrics.failure import fpr_at_tpr
from failpred_jax.metrics.intervals import interval_warning, intervals, no_interval
from failpred_jax.metrics.joined import JoinedInterval, join_seeds, joined_interval, sign_p_value
from failpred_jax.metrics.measured import (
    classifier_from_confusion,
    measure_calibration,
    measure_classifier,
    measure_outcome,
    measure_score,
    undefined_of_grades,
    without_shared_pass,
)
from failpred_jax.metrics.metric import Metric, compared, main_columns
from failpred_jax.metrics.per_class import class_failure_metrics
from failpred_jax.metrics.pieces import bootstrap_pieces, drawn_pieces
from failpred_jax.metrics.ranking import (
    FAILURE_METRICS,
    failure_metrics,
    ranking_metrics,
    score_metrics,
    undefined_reasons,
)
from failpred_jax.metrics.reliability import Bins, reliability_bins
from failpred_jax.metrics.resampling import Resamples, bootstrap, resample_weights, weighted_metrics
from failpred_jax.metrics.resampling_others import is_affordable, resample_others
from failpred_jax.metrics.segmentation import segmentation_values
from failpred_jax.metrics.streaming import (
    LevelCounts,
    StreamedMetrics,
    bfloat16_levels,
    compute_streamed,
    init_counts,
    levels_from,
    merge_counts,
    probability_levels,
    streamed_values,
    update_counts,
)
from failpred_jax.metrics.walk import Points
from failpred_jax.metrics.weighted import graded_names, has_grades, is_graded, values_of_units
from failpred_jax.metrics.working_points import WorkingPoint, working_points

__all__ = [
    'CURVES',
    'FAILURE_METRICS',
    'Bins',
    'CalibrationSums',
    'ClusterCounts',
    'Comparison',
    'Curve',
    'JoinedInterval',
    'LevelCounts',
    'Metric',
    'Points',
    'Resamples',
    'StreamedMetrics',
    'ThresholdCounts',
    'WorkingPoint',
    'accuracy_rejection_curve',
    'bfloat16_levels',
    'bootstrap',
    'bootstrap_clusters',
    'bootstrap_pieces',
    'calibration_from_sums',
    'calibration_metrics',
    'calibration_sums',
    'class_failure_metrics',
    'classifier_from_confusion',
    'classifier_metrics',
    'classwise_ece',
    'coarse_edges',
    'coarsen',
    'compare',
    'compare_with_reference',
    'compared',
    'compute_streamed',
    'confidence_calibration',
    'confusion_matrix',
    'confusion_values',
    'drawn_pieces',
    'failure_metrics',
    'fpr_at_tpr',
    'graded_names',
    'has_grades',
    'init_counts',
    'interval_warning',
    'intervals',
    'is_affordable',
    'is_graded',
    'join_seeds',
    'joined_interval',
    'level_with_best',
    'levels_from',
    'main_columns',
    'measure_calibration',
    'measure_classifier',
    'measure_outcome',
    'measure_score',
    'merge_counts',
    'multiclass_brier',
    'multiclass_nll',
    'no_interval',
    'precision_recall_curve',
    'probability_levels',
    'ranking_metrics',
    'reliability_bins',
    'resample_others',
    'resample_weights',
    'risk_coverage_curve',
    'roc_curve',
    'score_metrics',
    'segmentation_metrics',
    'segmentation_values',
    'sign_p_value',
    'streamed_values',
    'thin_curve',
    'threshold_counts',
    'top_k_accuracy',
    'undefined_of_grades',
    'undefined_reasons',
    'update_counts',
    'values_of_units',
    'weighted_metrics',
    'without_shared_pass',
    'working_points',
]

for _name in __all__:
    if inspect.isfunction(globals()[_name]):
        globals()[_name] = checked(globals()[_name])
