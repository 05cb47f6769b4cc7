"""Configs to change and to compare."""

import copy
from dataclasses import dataclass
from typing import Any

import ml_collections

from failpred_jax.config import (
    Config,
    default_config,
    read_config,
    to_dict,
)
from failpred_jax.config.owners import walk
from failpred_jax.options import FRACTION, option


def valid() -> ml_collections.ConfigDict:
    config = default_config()
    config.data.source = 'digits'
    return config


def plain(**changes) -> dict:
    """Return a valid config as JSON would hold it, with changes by dotted key."""
    config = valid()
    config.update_from_flattened_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return to_dict(read_config(config))


def of(config: Any, path: str) -> Any:
    for key in filter(None, path.removeprefix('config.').split('.')):
        config = config[key]
    return config


def changed(config: dict, path: str, value) -> dict:
    """Return a copy of a config with one option changed."""
    config = copy.deepcopy(config)
    *sections, name = path.removeprefix('config.').split('.')
    of(config, '.'.join(sections))[name] = value
    return config


OPTIONS = dict(walk(Config))


@dataclass(frozen=True)
class MixtureOptions:
    strength: float = option(0.2, 'how much', FRACTION)
    folder: str = option('', 'where', changes_training=False)

    def problems(self, path):
        if self.strength == 0.5:
            yield f'{path}.strength is 0.5, and this test does not like it'
