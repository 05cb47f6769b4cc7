"""The stages of a run, in order, and how each one's parameters begin."""

from failpred_jax import devices
from failpred_jax.config import Config
from failpred_jax.errors import UserError
from failpred_jax.models.network import Network
from failpred_jax.registry import MODELS
from failpred_jax.stages import baseline, confidence, finetune
from failpred_jax.stages.common import stage_key
from failpred_jax.train.stage import Stage, TrainState
from failpred_jax.train.step import init_state, merge_params

# Counters are int32.
MOST_STEPS = 2**31 - 1
_MAKERS = {'baseline': baseline.make_stage, 'confidence': confidence.make_stage, 'finetune': finetune.make_stage}


def make_stages(config: Config, num_train: int, num_targets: int | None = None) -> list[Stage]:
    """Return the stages that have epochs, in order; the baseline too if it starts from a finished classifier.

    Args:
      config: the experiment.
      num_train: training examples of the classifier.
      num_targets: those of its confidence; None for the same.

    Raises:
      UserError: a batch size that the devices cannot share evenly, or more steps than can be counted.
    """
    stages = []
    for name, make_stage in _MAKERS.items():
        section = getattr(config, name)
        is_given = section.init_from or MODELS.fact(config.model.name, 'may_be_given') if name == 'baseline' else False
        if section.epochs or is_given:
            devices.check_batch_size(section.batch_size, f'config.{name}.batch_size')
            stages.append(make_stage(config, num_train if name == 'baseline' else num_targets or num_train))
            _check_length(stages[-1], section.epochs)
    return stages


def _check_length(stage: Stage, epochs: int) -> None:
    """Raise a UserError for more steps than the counter on the devices can hold."""
    if stage.num_steps > MOST_STEPS:
        raise UserError(
            f'config.{stage.name}.epochs is {epochs:,}; of {stage.steps_per_epoch:,} steps each, these are more than '
            f'the {MOST_STEPS:,} steps that can be counted: lower it, or raise config.{stage.name}.batch_size'
        )


def start_state(stage: Stage, network: Network, seed: int, previous: TrainState | None) -> TrainState:
    """Return the state before a stage's first step.

    Args:
      stage: the stage.
      network: the network.
      seed: of the run.
      previous: the best state of the stage it starts from; None for a stage that starts from nothing.
    """
    key = stage_key(seed, stage.name)
    if previous is None:
        params, batch_stats = network.init(key)
    else:
        params, batch_stats = merge_params(previous.trained, previous.frozen), previous.batch_stats
    if stage.name == 'finetune':
        params, batch_stats = network.with_encoder(params, batch_stats)
    return init_state(stage, params, batch_stats, key)
