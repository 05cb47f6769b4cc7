"""A Config as a ConfigDict, for config files to change, and as what JSON can hold."""

from collections.abc import Iterable
from typing import Any

import ml_collections
from ml_collections import config_dict

from failpred_jax.config import owners
from failpred_jax.config.renamed import old_keys
from failpred_jax.config.sections import Config


def default_config() -> ml_collections.ConfigDict:
    """Return a locked ConfigDict holding every option at its default, for config files to start from.

    Models, sources, losses and recipes are discovered for it: what owns options has a section of its own. Old names of
    options can be set too; they hold None until they are.
    """
    config = to_config_dict(Config())
    with config.unlocked():
        for sections, name, successors in old_keys():
            new = _at(config, successors[0].split('.'))
            _at(config, sections)[name] = config_dict.placeholder(type(new))
    return config


def _at(place: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        place = place[key]
    return place


def to_config_dict(section: Any) -> ml_collections.ConfigDict:
    """Return a (section of a) Config as a locked ConfigDict."""
    return ml_collections.ConfigDict(owners.to_dict(section)).lock()


def to_dict(config: Config) -> dict[str, Any]:
    """Return a Config as nested dicts and lists that JSON can hold; `json.loads(json.dumps(x))` equals it."""
    return _plain(owners.to_dict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value
