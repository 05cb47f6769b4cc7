"""A config for what has options but no experiment here: decisions of a file of predictions, or of a finished run."""

import json
from pathlib import Path
from typing import Any

import ml_collections

from failpred_jax.config import default_config
from failpred_jax.errors import UserError


def get_config(workdir: str = '') -> ml_collections.ConfigDict:
    """Return the defaults, with a data set that needs no options, so that they are valid.

    Args:
      workdir: of a finished run, whose options of decisions are taken; '' for none.
    """
    config = default_config()
    config.update({'data': {'source': 'digits'}})
    options: Any = config.decide
    with config.unlocked():
        for name, value in decide_options_of(Path(workdir)).items() if workdir else ():
            options[name] = tuple(value) if isinstance(value, list) else value
    return config


def decide_options_of(workdir: Path) -> dict[str, Any]:
    """Return the options of decisions with which a run was made; {} where there is no run.

    Raises:
      UserError: its config.json is damaged.
    """
    file = workdir / 'config.json'
    try:
        found = json.loads(file.read_text(encoding='utf-8')).get('decide', {}) if file.is_file() else {}
        return {**found}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f'{file} cannot be read ({error}); restore it from a copy, or give --config=FILE') from error
