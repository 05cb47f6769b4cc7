"""A config for what has options but no experiment: the decisions of a file of predictions."""

import ml_collections

from failpred_jax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    """Return the defaults, with a data set that needs no options, so that they are valid."""
    config = default_config()
    config.update({'data': {'source': 'digits'}})
    return config
