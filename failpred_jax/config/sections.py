"""Every option of an experiment that no registered thing owns, with its default and what it may be.

The defaults have one owner, the dataclasses below. Sections that name registered things hold the options of those
too (owners.py): `config.data.tfds.name`, `config.model.mlp.hidden_units`.
"""

import dataclasses
import re
from dataclasses import InitVar, dataclass
from typing import ClassVar

from failpred_jax.config.decisions import DecideConfig
from failpred_jax.config.owners import OwnerSection
from failpred_jax.options import (
    ALL_NOT_NEGATIVE,
    ALL_POSITIVE,
    DTYPES,
    EPOCHS,
    FRACTION,
    NOT_NEGATIVE,
    OPEN_UNIT,
    POSITIVE,
    SHARE,
    WIDTHS,
    Rule,
    one_of,
    option,
    registered,
    rule,
    section,
    some_of,
)
from failpred_jax.registry import (
    CLASSIFIER_LOSSES,
    CORRUPTIONS,
    LOSSES,
    MODELS,
    OPTIMIZERS,
    RECIPES,
    SCHEDULES,
    SCORES,
    SHIFTS,
    SOURCES,
)


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training images, in this order. Zero strength leaves an image untouched."""

    flip: bool = option(False, 'mirror left and right with probability one half')
    rotate_degrees: float = option(0.0, 'rotate by up to this angle either way', NOT_NEGATIVE)
    crop_padding: int = option(0, 'pad by this many pixels, then crop to size at a random place', NOT_NEGATIVE)
    brightness: float = option(0.0, 'scale brightness by up to this fraction either way', FRACTION)
    contrast: float = option(0.0, 'scale contrast by up to this fraction either way', FRACTION)
    saturation: float = option(0.0, 'scale saturation by up to this fraction either way', FRACTION)

    @property
    def is_random(self) -> bool:
        """Whether any of the changes is active."""
        return any(getattr(self, f.name) for f in dataclasses.fields(self))


@dataclass(frozen=True)
class DataConfig(OwnerSection):
    """Where images come from and how they are prepared."""

    NAMED_BY: ClassVar = {'source': SOURCES}

    source: str = option('tfds', 'kind of data source', registered(SOURCES))
    validation_fraction: float = option(0.1, 'part of the training split kept for validation', OPEN_UNIT)
    calibration_fraction: float = option(
        0.0, 'part of the training split kept for certificates, which nothing else reads; 0 keeps none', SHARE
    )
    exclude_classes: tuple[str, ...] = option(
        (), 'names of classes that are left out, and of whose test images the scores are measured as strangers'
    )
    test_fraction: float = option(0.5, 'part kept for testing by a source without a test split (digits)', OPEN_UNIT)
    split_seed: int = option(42, 'seed of every random split', NOT_NEGATIVE)
    num_train: int = option(0, 'keep only this many training examples after the split; 0 keeps all', NOT_NEGATIVE)
    image_size: tuple[int, ...] = option((), '(height, width) to resize to; () keeps the stored size', ALL_POSITIVE)
    mean: tuple[float, ...] = option((0.0,), 'subtracted from images in [0, 1]; one value, or one per channel')
    std: tuple[float, ...] = option((1.0,), 'images are divided by it; one value, or one per channel', ALL_POSITIVE)
    device_budget_mb: int = option(
        2048,
        'a training set (or what a frozen network makes of it) up to this size lives on each device, else is streamed',
        NOT_NEGATIVE,
        changes_training=False,
    )
    host_budget_mb: int = option(
        4096,
        'what a frozen network makes of a data set is kept on the host up to this size, else computed in every step',
        NOT_NEGATIVE,
        changes_training=False,
    )
    cache_mb: int = option(
        4096,
        "a decoded data set up to this size is kept in the user's cache folder for the next start; 0 keeps none",
        NOT_NEGATIVE,
        changes_training=False,
    )
    memory_mb: int = option(
        8192,
        'a data set whose images and label maps take more stays in its files, which are read as they are needed',
        NOT_NEGATIVE,
        changes_training=False,
    )
    augment: AugmentConfig = section(AugmentConfig)
    # From Python, as on the command line: what the chosen source reads.
    path: InitVar[str] = ''
    name: InitVar[str] = ''
    tfds_data_dir: InitVar[str] = ''

    def __post_init__(self, path: str, name: str, tfds_data_dir: str) -> None:
        changed = {key: v for key, v in (('path', path), ('name', name), ('data_dir', tfds_data_dir)) if v}
        if changed:
            options = dataclasses.replace(self.options_of(self.source), **changed)
            object.__setattr__(self, 'owned', {**self.owned, self.source: options})

    def is_beyond_memory(self, num_bytes: int) -> bool:
        """Whether images of so many bytes stay in their files."""
        return num_bytes > self.memory_mb * 2**20

    @property
    def new_size(self) -> tuple[int, int] | None:
        """(H, W) to which images are resized; None where they keep the size they have."""
        return (self.image_size[0], self.image_size[1]) if self.image_size else None


@dataclass(frozen=True)
class ModelConfig(OwnerSection):
    """The classifier or segmenter, and its confidence head."""

    NAMED_BY: ClassVar = {'name': MODELS}

    name: str = option('mlp', 'architecture', registered(MODELS))
    dropout: bool = option(True, "the architecture's own dropout; False builds the network without")
    head_units: tuple[int, ...] = option((400, 400, 400, 400), 'widths of the confidence head', WIDTHS)
    head_channels: tuple[int, ...] = option((400, 120, 64, 64), 'the same for segmentation', WIDTHS)
    dtype: str = option('float32', 'type of the computation; parameters and losses stay float32', DTYPES)


@dataclass(frozen=True)
class StageConfig(OwnerSection):
    """What every stage of training has."""

    NAMED_BY: ClassVar = {'recipes': RECIPES, 'optimizer': OPTIMIZERS, 'schedule': SCHEDULES}

    epochs: int = option(1, 'passes over the training data; 0 skips the stage', EPOCHS)
    batch_size: int = option(128, 'examples per step, over all devices', POSITIVE)
    eval_every_epochs: int = option(1, 'epochs between validations, each of which saves a checkpoint', POSITIVE)
    optimizer: str = option('sgd', 'kind of optimizer', registered(OPTIMIZERS))
    learning_rate: float = option(1e-3, 'highest learning rate of the schedule', POSITIVE)
    momentum: float = option(0.9, 'momentum (sgd)', FRACTION)
    weight_decay: float = option(0.0, 'L2 added to the gradient (sgd, adam) or decoupled (adamw)', NOT_NEGATIVE)
    schedule: str = option('constant', 'course of the learning rate', registered(SCHEDULES))
    warmup_epochs: float = option(0.0, 'linear rise of the learning rate from 0', NOT_NEGATIVE)
    milestones: tuple[int, ...] = option((), 'epochs at which multi_step multiplies by decay', ALL_POSITIVE)
    decay: float = option(0.1, 'factor per milestone (multi_step) or per epoch (exponential)', POSITIVE)
    power: float = option(1.0, 'exponent (polynomial)', POSITIVE)
    final_learning_rate: float = option(0.0, 'learning rate at the end (cosine, polynomial)', NOT_NEGATIVE)
    recipes: tuple[str, ...] = option((), 'training recipes, applied in this order', some_of(RECIPES))


def _is_rename_rule(text: str) -> bool:
    pattern, equals, _ = text.rpartition('=')
    try:
        re.compile(pattern)
    except re.error:
        return False
    return bool(equals and pattern)


@dataclass(frozen=True)
class BaselineConfig(StageConfig):
    """The classifier itself."""

    NAMED_BY: ClassVar = {**StageConfig.NAMED_BY, 'loss': CLASSIFIER_LOSSES}

    loss: str = option('cross_entropy', 'what the classifier minimizes', registered(CLASSIFIER_LOSSES))
    label_smoothing: float = option(0.0, 'part of each target that is spread evenly over all classes', FRACTION)
    init_from: str = option(
        '',
        "weights to start from: another run's WORKDIR or stage folder, a checkpoint of the paper's code, torchvision's "
        "VGG16, or a file of named arrays (see docs/importing.md); '' for none",
    )
    init_rename: tuple[str, ...] = option(
        (),
        'rules PATTERN=REPLACEMENT, regular expressions applied in order to the names in the file of init_from; an '
        'entry whose name becomes empty is left out',
        rule('PATTERN=REPLACEMENT each, PATTERN a regular expression', lambda v: all(map(_is_rename_rule, v))),
    )
    init_only: tuple[str, ...] = option(
        (),
        "parts to take from init_from, 'backbone' or 'classifier'; () takes both",
        rule('some of: backbone, classifier', lambda v: set(v) <= {'backbone', 'classifier'}),
    )


@dataclass(frozen=True)
class HeadConfig(StageConfig):
    """What every stage that trains a confidence head has."""

    NAMED_BY: ClassVar = {**StageConfig.NAMED_BY, 'loss': LOSSES}

    optimizer: str = option('adam', 'kind of optimizer', registered(OPTIMIZERS))
    learning_rate: float = option(1e-4, 'highest learning rate of the schedule', POSITIVE)
    loss: str = option('tcp_mse', 'what the head learns', registered(LOSSES))
    error_weight: float = option(1.0, 'weight of wrongly classified units in the loss', POSITIVE)
    temperature: float = option(1.0, 'divides the logits in the targets', POSITIVE)


@dataclass(frozen=True)
class ConfidenceConfig(HeadConfig):
    """The confidence head on the frozen classifier."""

    backbone_dropout: bool = option(
        True, "the frozen backbone's dropout stays on while the head trains, as in the paper"
    )
    targets: str = option(
        'train',
        "whose true class probabilities are learned: the training set's ('train'); those of one half of the validation "
        "split, while the other half alone selects and fits ('validation'); or the training set's, each predicted by "
        "a classifier that has not seen it ('crossfit', which costs folds - 1 times the baseline's training)",
        one_of('train', 'validation', 'crossfit'),
    )
    folds: int = option(5, "parts of the training set (targets 'crossfit')", rule('2 or greater', lambda v: v >= 2))


@dataclass(frozen=True)
class FinetuneConfig(HeadConfig):
    """Head and a copy of the encoder together; the classifier stays as it is."""

    learning_rate: float = option(1e-6, 'highest learning rate of the schedule', POSITIVE)


def _references() -> list[str]:
    return [name for name in SCORES if not SCORES[name].reads_label]


def _shifts_in_words() -> str:
    sources = (f'{name}:{SHIFTS.fact(name, "argument")}' if SHIFTS.fact(name, 'argument') else name for name in SHIFTS)
    return (
        f'all_corruptions, or some of: {", ".join(CORRUPTIONS)}, each perhaps with a severity from :1 to :5; '
        f'{", ".join(sources)}'
    )


def _is_shift(word: str) -> bool:
    name, colon, argument = word.partition(':')
    if name in CORRUPTIONS:
        return not colon or argument in ('1', '2', '3', '4', '5')
    if name in SHIFTS:
        return bool(argument) == bool(SHIFTS.fact(name, 'argument')) and bool(colon) == bool(argument)
    return word == 'all_corruptions'


def _wrong_severity(word: str) -> str:
    name, colon, severity = word.partition(':')
    return f"; '{severity}' is no severity of '{name}'" if colon and name in CORRUPTIONS else ''


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured on the test split."""

    scores: tuple[str, ...] = option(
        ('all',),
        "confidence scores; 'all' is every one whose needs the run can meet",
        Rule(
            lambda: 'all, or some of: ' + ', '.join(SCORES),
            lambda v: len(v) > 0 and all(s in SCORES or s == 'all' for s in v),
        ),
    )
    batch_size: int = option(512, 'examples per forward pass, over all devices', POSITIVE)
    mc_samples: int = option(50, 'dropout passes of the mc_dropout scores', rule('2 or greater', lambda v: v >= 2))
    resamples: int = option(1000, 'bootstrap resamples behind the intervals; 0 for none', NOT_NEGATIVE)
    interval: float = option(0.95, 'probability that an interval covers', OPEN_UNIT)
    block_length: int = option(
        1,
        'images in a row that are resampled together, for the frames of a video; 1 for independent images '
        '(segmentation)',
        POSITIVE,
    )
    reference_score: str = option(
        '',
        "score that the others are compared with, named beforehand; '' is the baseline (mcp)",
        Rule(lambda: "'' or one of: " + ', '.join(_references()), lambda v: v == '' or v in _references()),
    )
    train_pixels: int = option(20_000, 'training pixels that distance scores keep (segmentation)', POSITIVE)
    sample_pixels: int = option(
        100_000, 'validation pixels that fit scores, and test pixels in predictions.npz (segmentation)', POSITIVE
    )
    shifts: tuple[str, ...] = option(
        (),
        "shifted sets to measure scores on: corruptions ('blur', 'blur:3', 'all_corruptions'), other data "
        "('tfds:NAME', 'folder:DIR', 'arrays:FILE'), printed characters ('glyphs')",
        Rule(_shifts_in_words, lambda v: all(map(_is_shift, v)), _wrong_severity),
    )
    shift_images: int = option(2000, 'images of each shifted set, or severity, that are used; 0 for all', NOT_NEGATIVE)
    keep_images_mb: int = option(256, 'test images up to this size are kept for the report', NOT_NEGATIVE)


@dataclass(frozen=True)
class RunConfig:
    """How a run behaves, none of which changes its results."""

    chunk_seconds: float = option(0.5, 'time between returns to the host while training', POSITIVE)
    checkpoint_seconds: float = option(300.0, 'longest time between checkpoints inside an epoch', POSITIVE)
    keep_checkpoints: int = option(2, 'latest checkpoints kept per stage, besides the best', POSITIVE)


@dataclass(frozen=True)
class Config:
    """An experiment."""

    seed: int = option(0, 'seed of parameters, order, augmentation and dropout', NOT_NEGATIVE)
    seeds: tuple[int, ...] = option(
        (), 'several: the experiment is repeated for each, then summarized', ALL_NOT_NEGATIVE, changes_training=False
    )
    data: DataConfig = section(DataConfig)
    model: ModelConfig = section(ModelConfig)
    baseline: BaselineConfig = section(BaselineConfig)
    confidence: ConfidenceConfig = section(ConfidenceConfig)
    finetune: FinetuneConfig = section(FinetuneConfig)
    evaluate: EvaluateConfig = section(EvaluateConfig, changes_training=False)
    decide: DecideConfig = section(DecideConfig, changes_training=False)
    run: RunConfig = section(RunConfig, changes_training=False)
