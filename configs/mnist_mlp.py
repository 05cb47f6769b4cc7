"""MNIST with one hidden layer of 1000 units, as in the paper's table 1.

python -m failpred_jax.main --config=configs/mnist_mlp.py
"""

import ml_collections

from failpred_jax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    """Return the experiment."""
    config = default_config()
    config.data.source = 'tfds'
    config.data.tfds.name = 'mnist'
    config.data.mean = (0.1307,)
    config.data.std = (0.3081,)

    config.model.name = 'mlp'
    config.model.mlp.hidden_units = 1000

    config.baseline.epochs = 100
    config.baseline.learning_rate = 1e-3
    config.baseline.momentum = 0.9
    config.baseline.weight_decay = 1e-4

    config.confidence.epochs = 200
    config.confidence.learning_rate = 1e-4
    config.confidence.eval_every_epochs = 2

    config.finetune.epochs = 20
    config.finetune.learning_rate = 1e-6
    config.finetune.eval_every_epochs = 2
    return config
