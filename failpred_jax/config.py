"""Every option, its default, and what it may be; and the only reader of a ConfigDict.

The defaults have one owner, the dataclasses below. A config file starts from `default_config()` and changes what
it means to change, so that every key can be overridden on the command line and a misspelled one is an error.
`read_config` checks everything at once, before anything is computed, and returns frozen dataclasses.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import ml_collections

from failpred_jax.errors import UserError
from failpred_jax.options import (
    ALL_NOT_NEGATIVE,
    ALL_POSITIVE,
    DTYPES,
    FRACTION,
    NOT_NEGATIVE,
    OPEN_UNIT,
    POSITIVE,
    Rule,
    one_of,
    option,
    read_section,
    registered,
    rule,
)  # fmt: skip
from failpred_jax.registry import LOSSES, MODELS, SCORES, SOURCES


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
class DataConfig:
    """Where images come from and how they are prepared."""

    source: str = option('tfds', 'kind of data source', registered(SOURCES))
    name: str = option('', "tfds data set, such as 'mnist' or 'emnist/letters' (source 'tfds')")
    tfds_data_dir: str = option('', "folder of prepared tfds data sets; '' is tfds's own choice (TFDS_DATA_DIR)")
    path: str = option('', "npz of images and labels (source 'arrays'), or folder of images (source 'camvid')")
    train_split: str = option('train', 'tfds split to train on')
    test_split: str = option('test', 'tfds split to evaluate on')
    validation_split: str = option('', "tfds split to validate on; '' takes a part of the training split")
    validation_fraction: float = option(0.1, 'part of the training split kept for validation', OPEN_UNIT)
    test_fraction: float = option(0.5, 'part kept for testing by a source without a test split (digits)', OPEN_UNIT)
    split_seed: int = option(42, 'seed of every random split', NOT_NEGATIVE)
    num_train: int = option(0, 'keep only this many training examples after the split; 0 keeps all', NOT_NEGATIVE)
    image_size: tuple[int, ...] = option((), '(height, width) to resize to; () keeps the stored size', ALL_POSITIVE)
    mean: tuple[float, ...] = option((0.0,), 'subtracted from images in [0, 1]; one value, or one a channel')
    std: tuple[float, ...] = option((1.0,), 'images are divided by it; one value, or one a channel', ALL_POSITIVE)
    device_budget_mb: int = option(
        2048,
        'a training set (or what a frozen network makes of it) up to this size lives on each device, else is streamed',
        NOT_NEGATIVE,
    )
    host_budget_mb: int = option(
        4096,
        'what a frozen network makes of a data set is kept on the host up to this size, else computed in every step',
        NOT_NEGATIVE,
    )
    void_label: int = option(
        -1, "label whose pixels count nowhere (source 'arrays'); -1 for none", rule('-1 or greater', lambda v: v >= -1)
    )
    score_void: bool = option(False, "train on and score CamVid's unlabeled pixels too, as the paper's code does")
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True)
class ModelConfig:
    """The classifier or segmenter, and its confidence head."""

    name: str = option('mlp', 'architecture', registered(MODELS))
    hidden_units: int = option(1000, 'width of the hidden layer (mlp)', POSITIVE)
    dropout: bool = option(True, "the architecture's own dropout; False builds the network without")
    head_units: tuple[int, ...] = option((400, 400, 400, 400), 'widths of the confidence head', ALL_POSITIVE)
    head_channels: tuple[int, ...] = option((400, 120, 64, 64), 'the same for segmentation', ALL_POSITIVE)
    dtype: str = option('float32', 'type of the computation; parameters and losses stay float32', DTYPES)


@dataclass(frozen=True)
class StageConfig:
    """What every stage of training has."""

    epochs: int = option(1, 'passes over the training data; 0 skips the stage', NOT_NEGATIVE)
    batch_size: int = option(128, 'examples a step, over all devices', POSITIVE)
    eval_every_epochs: int = option(1, 'epochs between validations, each of which saves a checkpoint', POSITIVE)
    optimizer: str = option('sgd', 'kind of optimizer', one_of('sgd', 'adam', 'adamw'))
    learning_rate: float = option(1e-3, 'highest learning rate of the schedule', POSITIVE)
    momentum: float = option(0.9, 'momentum (sgd)', FRACTION)
    weight_decay: float = option(0.0, 'L2 added to the gradient (sgd, adam) or decoupled (adamw)', NOT_NEGATIVE)
    schedule: str = option(
        'constant',
        'course of the learning rate',
        one_of('constant', 'multi_step', 'cosine', 'exponential', 'polynomial'),
    )
    warmup_epochs: float = option(0.0, 'linear rise of the learning rate from 0', NOT_NEGATIVE)
    milestones: tuple[int, ...] = option((), 'epochs at which multi_step multiplies by decay', ALL_POSITIVE)
    decay: float = option(0.1, 'factor a milestone (multi_step) or an epoch (exponential)', POSITIVE)
    power: float = option(1.0, 'exponent (polynomial)', POSITIVE)
    final_learning_rate: float = option(0.0, 'learning rate at the end (cosine, polynomial)', NOT_NEGATIVE)


@dataclass(frozen=True)
class BaselineConfig(StageConfig):
    """The classifier itself."""

    init_from: str = option('', "torchvision VGG16 weights (.pth) to start the encoder from; '' for none")


@dataclass(frozen=True)
class HeadConfig(StageConfig):
    """What every stage that trains a confidence head has."""

    optimizer: str = option('adam', 'kind of optimizer', one_of('sgd', 'adam', 'adamw'))
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
    batch_size: int = option(512, 'examples a forward pass, over all devices', POSITIVE)
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
        Rule(lambda: "'' or one of: " + ', '.join(SCORES), lambda v: v == '' or v in SCORES),
    )
    train_pixels: int = option(20_000, 'training pixels that distance scores keep (segmentation)', POSITIVE)
    sample_pixels: int = option(
        100_000, 'validation pixels that fit scores, and test pixels in predictions.npz (segmentation)', POSITIVE
    )
    keep_images_mb: int = option(256, 'test images up to this size are kept for the report', NOT_NEGATIVE)


@dataclass(frozen=True)
class RunConfig:
    """How a run behaves, none of which changes its results."""

    chunk_seconds: float = option(0.5, 'time between returns to the host while training', POSITIVE)
    checkpoint_seconds: float = option(300.0, 'longest time between checkpoints inside an epoch', POSITIVE)
    keep_checkpoints: int = option(2, 'latest checkpoints kept a stage, besides the best', POSITIVE)


@dataclass(frozen=True)
class Config:
    """An experiment."""

    seed: int = option(0, 'seed of parameters, order, augmentation and dropout', NOT_NEGATIVE)
    seeds: tuple[int, ...] = option((), 'several: the whole pipeline once a seed, then together', ALL_NOT_NEGATIVE)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    run: RunConfig = field(default_factory=RunConfig)


def default_config() -> ml_collections.ConfigDict:
    """Return a locked ConfigDict holding every option at its default, for config files to start from."""
    return to_config_dict(Config())


def to_config_dict(config: Any) -> ml_collections.ConfigDict:
    """Return a (section of a) Config as a locked ConfigDict."""
    return ml_collections.ConfigDict(dataclasses.asdict(config)).lock()


def to_dict(config: Config) -> dict[str, Any]:
    """Return a Config as nested dicts and lists that JSON can hold; `json.loads(json.dumps(x))` equals it."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return list(value) if isinstance(value, tuple) else value

    return plain(dataclasses.asdict(config))


def differences(old: Any, new: Any, prefix: str = 'config') -> list[str]:
    """Return one sentence for each option in which two configs (as `to_dict` gives them) differ."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [f'{prefix}: {old!r} there, {new!r} now']
    lines = []
    for key in dict.fromkeys([*old, *new]):
        if key not in old:
            lines.append(f'{prefix}.{key}: absent there, {new[key]!r} now')
        elif key not in new:
            lines.append(f'{prefix}.{key}: {old[key]!r} there, absent now')
        else:
            lines.extend(differences(old[key], new[key], f'{prefix}.{key}'))
    return lines


def read_config(given: ml_collections.ConfigDict) -> Config:
    """Check a ConfigDict and return it as frozen dataclasses.

    Raises:
      UserError: naming every problem at once: unknown or missing keys, wrong types, values that are not allowed,
        and combinations that cannot work.
    """
    problems: list[str] = []
    if not isinstance(given, ml_collections.ConfigDict | dict):
        raise UserError(f'get_config() returned {type(given).__name__}; it must return a ConfigDict')
    config = read_section(Config, given, 'config', problems)
    if not problems:
        problems.extend(_check_combinations(config))
    if problems:
        raise UserError('\n'.join(['the config has problems:', *(f'  - {p}' for p in problems)]))
    return config


def _check_combinations(config: Config) -> list[str]:
    """Return the problems that no single option shows."""
    problems = []
    if config.data.source == 'tfds' and not config.data.name:
        problems.append("config.data.name is ''; source 'tfds' needs the name of a tfds data set, such as 'mnist'")
    if config.data.source == 'arrays' and not config.data.path:
        problems.append("config.data.path is ''; source 'arrays' reads the npz it names")
    if config.data.source == 'camvid' and not config.data.path:
        problems.append(
            "config.data.path is ''; source 'camvid' reads the folder it names, with train/, trainannot/, ..."
        )
    if len(config.data.image_size) not in (0, 2):
        problems.append(f'config.data.image_size is {config.data.image_size}; it must be (height, width) or ()')
    if len(config.data.mean) != len(config.data.std) and 1 not in (
        len(config.data.mean),
        len(config.data.std),
    ):
        problems.append(
            f'config.data.mean has {len(config.data.mean)} values and config.data.std has {len(config.data.std)}; '
            'give one value, or one a channel, to each'
        )
    if len(set(config.seeds)) != len(config.seeds):
        problems.append(f'config.seeds is {config.seeds}; a seed may stand in it once')
    if config.baseline.epochs == 0:
        problems.append('config.baseline.epochs is 0; a classifier that is not trained has nothing to predict')
    if config.finetune.epochs and not config.confidence.epochs:
        problems.append('config.finetune.epochs is set but config.confidence.epochs is 0; fine-tuning starts there')
    for name in ('baseline', 'confidence', 'finetune'):
        stage = getattr(config, name)
        if stage.schedule == 'multi_step' and not stage.milestones:
            problems.append(f"config.{name}.milestones is (); schedule 'multi_step' needs the epochs of its steps")
        if list(stage.milestones) != sorted(stage.milestones):
            problems.append(f'config.{name}.milestones is {stage.milestones}; the epochs must rise')
    return problems
