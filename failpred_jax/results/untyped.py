"""The evaluation folder as nested dictionaries, which the report reads until it reads `Evaluation`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.files import read_json
from failpred_jax.results.folder import read_evaluation


@dataclass(frozen=True)
class Results:
    """The evaluation folder in memory: all that the report reads.

    Attributes:
      metrics: metrics.json as written: {'classifier': {metric: value}, 'scores': {score: {metric: value,
        'ci': {metric: [low, high]}}}, ...}. An undefined value is None there, with its reason in 'undefined'.
      context: context.json: data set, classes, stages, config, environment, times, warnings, definitions.
      labels: [N] int32.
      logits: [N, C] float32.
      correct: [N] bool.
      confidences: score name -> [N] float32.
      images: [N, H, W, channels] uint8, or None where they were not kept.
      history: stage -> {column: [values]}, the stages' metrics.csv.
      maps: segmentation only: name -> array for a few images; see evaluate/folder.py.
      augmented: name -> array of a few training images under random changes; None where training makes none.
    """

    metrics: Mapping[str, Any]
    context: Mapping[str, Any]
    labels: np.ndarray
    logits: np.ndarray
    correct: np.ndarray
    confidences: Mapping[str, np.ndarray]
    images: np.ndarray | None = None
    history: Mapping[str, Mapping[str, list]] = field(default_factory=dict)
    maps: Mapping[str, np.ndarray] | None = None
    augmented: Mapping[str, np.ndarray] | None = None


def read_results(folder: Path) -> Results:
    """Read an evaluation folder; see `read_evaluation`."""
    found = read_evaluation(folder)
    metrics = read_json(folder / 'metrics.json')
    if (folder / 'curves.json').exists():
        metrics['curves'] = read_json(folder / 'curves.json')
    return Results(
        metrics=metrics,
        context=read_json(folder / 'context.json'),
        labels=found.test.labels,
        logits=found.test.logits,
        correct=found.test.correct,
        confidences=found.test.confidences,
        images=found.images,
        history=found.history,
        maps=found.maps,
        augmented=found.augmented,
    )
