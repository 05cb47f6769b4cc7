"""What is said of an evaluation besides its figures: the typed content of context.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class DatasetDescription:
    """The data. Class names come from data: escape them before they reach a page.

    Attributes:
      name: as the user knows it.
      task: 'classification' or 'segmentation'.
      num_classes: C.
      class_names: C names, in label order.
      image_shape: (H, W, channels), or () where there are no images.
      ignore_label: the label whose units count nowhere, or None.
      num_train, num_val, num_test: examples.
      num_calibration: those that certificates alone read.
      unit: what is evaluated, in the singular, where it is neither an image nor a pixel; '' where it is one of these.
    """

    name: str = ''
    task: str = 'classification'
    num_classes: int = 0
    class_names: tuple[str, ...] = ()
    image_shape: tuple[int, ...] = ()
    ignore_label: int | None = None
    num_train: int = 0
    num_val: int = 0
    num_test: int = 0
    num_calibration: int = 0
    unit: str = ''


@dataclass(frozen=True)
class StageDescription:
    """A training stage.

    Attributes:
      name: 'baseline', 'confidence' or 'finetune'.
      select_by: the validation metric that chose the checkpoint.
      num_steps: steps trained.
      step: the checkpoint that was evaluated.
      best_step: the one that validation chose.
      best_value: the metric there; NaN where it was undefined at every validation.
      seconds: time spent training, validating and saving.
    """

    name: str
    select_by: str = ''
    num_steps: int = 0
    step: int = 0
    best_step: int = 0
    best_value: float = np.nan
    seconds: float = np.nan


@dataclass(frozen=True)
class TargetsDescription:
    """What the confidence head learned from.

    Attributes:
      source: config.confidence.targets.
      num_units: units it was shown.
      num_errors: errors among them.
      edges: [K + 1] float64, of the histogram of true class probabilities.
      correct: [K] int64, its counts of correct units.
      wrong: [K] int64, its counts of wrong ones.
      warnings: sentences.
    """

    source: str = 'train'
    num_units: int = 0
    num_errors: int = 0
    edges: tuple[float, ...] = ()
    correct: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricDescription:
    """What a metric is and how it is shown.

    Attributes:
      label: its short name, such as 'AUPR-Error'.
      meaning: what it says, in plain words.
      definition: one or two exact sentences.
      reference: paper and equation, or the scikit-learn function it equals.
      family: 'failure', 'selective', 'calibration', 'classification' or 'segmentation'.
      higher_is_better: None where neither is.
      undefined: when the value is undefined, in words; '' if only for no unit at all.
      is_share: whether it is a share in [0, 1], shown in percent.
      scale: what the table multiplies it by: 100 for percent, 1000 for per mille, 1 for neither.
      column: its place among the columns of the main table, or None if it is none of them.
      is_compared: whether scores are compared in pairs by it.
    """

    label: str = ''
    meaning: str = ''
    definition: str = ''
    reference: str = ''
    family: str = ''
    higher_is_better: bool | None = None
    undefined: str = ''
    is_share: bool = True
    scale: float = 100.0
    column: int | None = None
    is_compared: bool = False


@dataclass(frozen=True)
class ScoreDescription:
    """What a score is.

    Attributes:
      description: one line.
      reference: paper and equation.
      role: as in `ScoreResult`.
      is_probability: whether it is meant as P(correct).
      estimates: what it was trained to predict where that is not P(correct); else ''.
    """

    description: str = ''
    reference: str = ''
    role: str = ''
    is_probability: bool = False
    estimates: str = ''


@dataclass(frozen=True)
class RunDescription:
    """Where an evaluation comes from.

    Attributes:
      mode: 'run', or 'score' where somebody's predictions were evaluated.
      created: date and time, ISO 8601.
      dataset: the data.
      model: options of the model, 'name' among them; empty for predictions.
      stages: in the order in which they ran.
      warnings: sentences.
      config: every option of the run; empty for predictions.
      environment: versions and devices.
      train_targets: what the confidence head learned from, or None without one.
      metrics: metric -> what it is, of every metric that was measured.
      scores: score -> what it is.
      interval: probability that the intervals are to cover.
      fingerprint: digest of all that decides the result, or ''.
      seconds: what was done besides training -> seconds of wall clock, which differ from one time to the next.
    """

    mode: str = 'run'
    created: str = ''
    dataset: DatasetDescription = field(default_factory=DatasetDescription)
    model: Mapping[str, Any] = field(default_factory=dict)
    stages: tuple[StageDescription, ...] = ()
    warnings: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    train_targets: TargetsDescription | None = None
    metrics: Mapping[str, MetricDescription] = field(default_factory=dict)
    scores: Mapping[str, ScoreDescription] = field(default_factory=dict)
    interval: float = 0.95
    fingerprint: str = ''
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_segmentation(self) -> bool:
        """Whether the units are pixels."""
        return self.dataset.task == 'segmentation'

    @property
    def unit(self) -> str:
        """What is evaluated: 'image', 'pixel', or what the data say."""
        return self.dataset.unit or ('pixel' if self.is_segmentation else 'image')
