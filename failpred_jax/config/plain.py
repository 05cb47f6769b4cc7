"""A config for what has options but no experiment here: decisions of a file of predictions, or of a finished run."""

import json
from pathlib import Path
from typing import Any

import ml_collections

from failpred_jax.config import default_config


def get_config(workdir: str = '') -> ml_collections.ConfigDict:
    """Return the defaults, with a data set that needs no options, so that they are valid.

    Args:
      workdir: of a finished run, whose options of decisions are taken; '' for none.
    """
    config = default_config()
    config.update({'data': {'source': 'digits'}})
    file = Path(workdir) / 'config.json'
    # What is missing or damaged is said where the run is opened.
    if workdir and file.is_file():
        options: Any = config.decide
        with config.unlocked():
            for name, value in json.loads(file.read_text(encoding='utf-8')).get('decide', {}).items():
                options[name] = tuple(value) if isinstance(value, list) else value
    return config
