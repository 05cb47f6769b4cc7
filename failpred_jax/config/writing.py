"""A Config as a ConfigDict, for config files to change, and as what JSON can hold."""

from typing import Any

import ml_collections

from failpred_jax.config import owners
from failpred_jax.config.renamed import old_keys
from failpred_jax.config.sections import Config
from failpred_jax.config.settable import Settable


def default_config() -> ml_collections.ConfigDict:
    """Return a locked ConfigDict holding every option at its default, for config files to start from.

    Models, sources, losses and recipes are discovered for it: what owns options has a section of its own. Old names of
    options can be set too; they hold None until they are. What is set is taken as on the command line (values.py).
    """
    config = to_config_dict(Config())
    options = dict(owners.walk(Config))
    for sections, name, successors in old_keys():
        place: Any = config
        for key in sections:
            place = place[key]
        place.add_old_name(name, options[f'config.{successors[0]}'])
    return config.lock()


def to_config_dict(section: Any, path: str = 'config') -> Settable:
    """Return a (section of a) Config as a ConfigDict."""
    values = {}
    for name, entry in owners.entries(type(section)).items():
        value = section.options_of(name) if entry.is_owned else getattr(section, name)
        values[name] = to_config_dict(value, f'{path}.{name}') if entry.is_section else value
    return Settable(type(section), values, path)


def to_dict(config: Config) -> dict[str, Any]:
    """Return a Config as nested dicts and lists that JSON can hold; `json.loads(json.dumps(x))` equals it."""
    return _plain(owners.to_dict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value
