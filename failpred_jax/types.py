"""The values that rooms hand one another. No logic lives here.

Shape letters, used in every docstring: B batch, H W pixels, C classes, D features, T stochastic passes, N units
evaluated (images, or pixels of a segmentation), K bins. `...` stands for any leading axes: a classifier's unit is
an image, a segmenter's unit is a pixel, and a function written over the last axis serves both.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.struct
import jax
import numpy as np
import optax

Array = jax.Array | np.ndarray
PyTree = Any


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before training.

    Attributes:
      name: as the user knows it, such as 'mnist'.
      task: 'classification' (one label an image) or 'segmentation' (one label a pixel).
      image_shape: (H, W, channels) as the network sees it.
      class_names: C names, in label order. They come from data: escape them before they reach a page.
      ignore_label: the label whose units count nowhere (CamVid's void class), or None.
    """

    name: str
    task: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    ignore_label: int | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


class Known(NamedTuple):
    """What is known of examples beforehand, so that no pass computes it; None where a pass does.

    Attributes:
      hidden: pytree of [N, ...], what the trunk's prefix makes of the images.
      features: [N, ..., D], the trunk's output.
      logits: [N, ..., C] float32, the classifier's, or others that a loss shall read in their place.
    """

    hidden: PyTree | None = None
    features: Array | None = None
    logits: Array | None = None


class Batch(NamedTuple):
    """Examples on their way through a step.

    Attributes:
      image: [B, H, W, channels]; uint8 as stored, float32 once normalised; None where what is known replaces it.
      label: [B] or [B, H, W] int32, in [0, C).
      mask: [B] bool; False marks padding, which counts nowhere.
      known: what need not be computed of them.
    """

    image: Array | None
    label: Array
    mask: Array
    known: Known = Known()


class Examples(NamedTuple):
    """A part of a data set, in host memory.

    Attributes:
      images: [N, H, W, channels] uint8; None where what is known replaces them.
      labels: [N] int32, or [N, H, W] uint8 (int32 where a label exceeds 255).
      known: what need not be computed of them.
    """

    images: np.ndarray | None
    labels: np.ndarray
    known: Known = Known()


class Outputs(NamedTuple):
    """What a network says of a batch, always float32.

    Attributes:
      logits: [..., C], of the (frozen) classifier.
      features: [..., D], the penultimate activations that the head and the distance scores read.
      confidence_logit: [...]; the confidence is its sigmoid. None before the confidence stage.
    """

    logits: Array
    features: Array
    confidence_logit: Array | None = None


@flax.struct.dataclass
class TrainState:
    """Everything a step changes or reads, besides data. It knows nothing of the number of devices.

    Attributes:
      step: scalar int32, steps taken in this stage; it also fixes the position in the data.
      key: the stage's PRNG key; a step uses fold_in(key, step).
      trained: parameters that get gradients and optimiser state, as {sub-tree: ...}.
      frozen: parameters that do not, likewise. Never changed by a step.
      batch_stats: BatchNorm running statistics, as {sub-tree: ...}.
      opt_state: of `trained` alone.
    """

    step: Array
    key: Array
    trained: PyTree
    frozen: PyTree
    batch_stats: PyTree
    opt_state: PyTree


@dataclass(frozen=True)
class Stage:
    """One stage of training, as data; train/loop.py runs any of them.

    Attributes:
      name: also the name of the stage's folder.
      starts_from: the stage whose best checkpoint is the starting point, or None for fresh parameters.
      trains: path predicate; `trains(('head', 'dense_0', 'kernel'))` is True if that parameter is trained.
      batch_norm_in: sub-trees whose BatchNorm uses, and updates with, batch statistics.
      dropout_in: sub-trees whose dropout is active while training.
      with_confidence: whether the confidence head is evaluated.
      fixed_in_training: fields of Known that are the same in every step, as long as images are not changed at random.
      fixed_in_validation: fields of Known that are the same in every validation.
      loss_fn: (outputs, label, mask of units) -> [units] float32 loss per unit.
      optimiser: an optax transformation for the trained parameters.
      batch_size: examples a step, over all devices of all processes.
      num_steps: the stage's length.
      steps_per_epoch: what one epoch of the curves means; see data/feeding.py.
      eval_every_steps: steps between validations.
      select_by: validation metric, higher is better, that picks the best checkpoint.
      learning_rate_fn: step -> learning rate, for the log.
    """

    name: str
    starts_from: str | None
    trains: Callable[[tuple[str, ...]], bool]
    batch_norm_in: frozenset[str]
    dropout_in: frozenset[str]
    with_confidence: bool
    fixed_in_training: frozenset[str]
    fixed_in_validation: frozenset[str]
    loss_fn: Callable[[Outputs, Array, Array], Array]
    optimiser: optax.GradientTransformation
    batch_size: int
    num_steps: int
    steps_per_epoch: int
    eval_every_steps: int
    select_by: str
    learning_rate_fn: Callable[[int], float]


class SampleSummary(NamedTuple):
    """What several predictive distributions of the same units (dropout passes, ensemble members) leave behind.

    T distributions are summed as they come, so memory does not grow with T.

    Attributes:
      mean_probs: [..., C] float32, mean over T of the class probabilities.
      mean_entropy: [...] float32, mean over T of the entropy in nats.
      variance: [...] float32, variance over T of the probability of each class, averaged over classes.
    """

    mean_probs: Array
    mean_entropy: Array
    variance: Array


class ScoreInputs(NamedTuple):
    """What scores may read of the evaluated units. A score declares the fields it needs; the others may be None.

    Attributes:
      logits: [N, C] float32.
      features: [N, D] float32.
      confidence_logit: [N] float32 of the head trained on the frozen encoder.
      finetuned_logit: [N] float32 of the head with its own fine-tuned encoder.
      mc_dropout: SampleSummary over dropout passes.
      ensemble: SampleSummary over the classifiers of several seeds.
      labels: [N] int32. Only for scores that are marked as reading the label.
    """

    logits: Array
    features: Array | None = None
    confidence_logit: Array | None = None
    finetuned_logit: Array | None = None
    mc_dropout: SampleSummary | None = None
    ensemble: SampleSummary | None = None
    labels: Array | None = None


class FitInputs(NamedTuple):
    """What a score may be fitted on: never the test set.

    Attributes:
      val: the validation units, and their labels [N] int32 in `val_labels`.
      train: the training units (evaluation mode, no augmentation), and `train_labels`. Only `logits` and
        `features` are filled. None where the run cannot offer them.
      key: PRNG key for whatever is random in a fit.
      aurc_fn: (confidence [N], correct [N] bool) -> scalar AURC, for scores that choose a constant by it.
      temperature_fn: (logits [N, C], labels [N]) -> (scalar temperature, notes), for scores that rescale the logits.
      fits: score name -> what its fit left, as far as it is done, for scores that combine others.
    """

    val: ScoreInputs
    val_labels: Array
    train: ScoreInputs | None
    train_labels: Array | None
    key: Array
    aurc_fn: Callable[[Array, Array], Array]
    temperature_fn: Callable[[Array, Array], tuple[Array, tuple[str, ...]]]
    fits: Mapping[str, PyTree] = MappingProxyType({})


@dataclass(frozen=True)
class Score:
    """One confidence score.

    Attributes:
      name: the key in tables and files.
      fn: `fn(inputs) -> [N] float32`, or `fn(inputs, fitted) -> [N]` where `fit` is given. Higher is surer.
      needs: fields of ScoreInputs that `fn` (and `fit`, of the validation units) reads.
      fit: `fit(FitInputs) -> (fitted, notes)`: a pytree of arrays, and sentences for the reader of the table
        (a chosen constant, a fallback). Raises ScoreUnavailableError, with the reason, where there is none.
      fits_on_train: whether `fit` reads the training units too.
      combines: whether `fit` reads the fits of the other scores, and so comes after them.
      description: one line for the report.
      reference: paper and equation.
      reads_label: an upper bound, marked as such wherever it is shown.
      is_probability: whether the value is meant as P(correct), so that its calibration can be judged.
      per_pixel: whether it makes sense for segmentation.
    """

    name: str
    fn: Callable[..., Array]
    needs: frozenset[str]
    description: str
    reference: str
    fit: Callable[[FitInputs], tuple[PyTree, tuple[str, ...]]] | None = None
    fits_on_train: bool = False
    combines: bool = False
    reads_label: bool = False
    is_probability: bool = False
    per_pixel: bool = True


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
