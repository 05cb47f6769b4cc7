"""Typed results of an evaluation, and the evaluation folder, written and read in one place."""

from failpred_jax.results.description import (
    DatasetDescription,
    MetricDescription,
    RunDescription,
    ScoreDescription,
    StageDescription,
    TargetsDescription,
)
from failpred_jax.results.evaluation import About, Evaluation, Predictions, SeedResult
from failpred_jax.results.fits import KeptFits, evaluating, read_fits
from failpred_jax.results.folder import read_evaluation, write_evaluation
from failpred_jax.results.measures import (
    CalibratedScore,
    ClassifierResult,
    Comparison,
    Confusion,
    Interval,
    Measures,
    ScoreCurves,
    ScoreResult,
    SeedComparison,
    SeedsSummary,
    Spread,
)
from failpred_jax.results.operating import ClassFailures, WorkingPoint
from failpred_jax.results.slices import Slice, SliceScore

__all__ = [
    'About',
    'CalibratedScore',
    'ClassFailures',
    'ClassifierResult',
    'Comparison',
    'Confusion',
    'DatasetDescription',
    'Evaluation',
    'Interval',
    'KeptFits',
    'Measures',
    'MetricDescription',
    'Predictions',
    'RunDescription',
    'ScoreCurves',
    'ScoreDescription',
    'ScoreResult',
    'SeedComparison',
    'SeedResult',
    'SeedsSummary',
    'Slice',
    'SliceScore',
    'Spread',
    'StageDescription',
    'TargetsDescription',
    'WorkingPoint',
    'evaluating',
    'read_evaluation',
    'read_fits',
    'write_evaluation',
]
