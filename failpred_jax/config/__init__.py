"""Every option, its default, and what it may be; and the only reader of a ConfigDict.

A config file starts from `default_config()` and changes what it means to change, so that every key can be overridden
on the command line and a misspelled one is an error. `read_config` checks everything at once, before anything is
computed, and returns frozen dataclasses.
"""

from failpred_jax.config.comparing import differences, obstacles, what_trains, why_not_extended
from failpred_jax.config.owners import OwnerSection, used_options
from failpred_jax.config.reading import read_config, read_decide, read_saved
from failpred_jax.config.recipe import with_recipe
from failpred_jax.config.sections import (
    AugmentConfig,
    BaselineConfig,
    ConfidenceConfig,
    Config,
    DataConfig,
    DecideConfig,
    EvaluateConfig,
    FinetuneConfig,
    HeadConfig,
    ModelConfig,
    RunConfig,
    StageConfig,
)
from failpred_jax.config.writing import default_config, to_config_dict, to_dict

__all__ = [
    'AugmentConfig',
    'BaselineConfig',
    'ConfidenceConfig',
    'Config',
    'DataConfig',
    'DecideConfig',
    'EvaluateConfig',
    'FinetuneConfig',
    'HeadConfig',
    'ModelConfig',
    'OwnerSection',
    'RunConfig',
    'StageConfig',
    'default_config',
    'differences',
    'obstacles',
    'read_config',
    'read_decide',
    'read_saved',
    'to_config_dict',
    'to_dict',
    'used_options',
    'what_trains',
    'why_not_extended',
    'with_recipe',
]
