"""SVHN with the small convolutional network, as in the paper's table 1.

  python -m failpred_jax.main --config=configs/svhn.py

The settings are the paper's code's: SGD 1e-3 for 100 epochs, then Adam 1e-4 for the head. Not run here yet, so no
figures of ours stand in this header. The paper, with MCP / ConfidNet (percent): FPR@95%TPR 31.28 / 28.58, AUPR-Error
48.18 / 50.72, AUROC 93.20 / 93.44; one seed, and not everybody who ran it again found ConfidNet ahead.
"""

import ml_collections

from failpred_jax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    """Return the experiment."""
    config = default_config()
    config.data.source = 'tfds'
    config.data.tfds.name = 'svhn_cropped'
    config.data.mean = (0.5,)
    config.data.std = (0.5,)

    config.model.name = 'small_convnet_svhn'

    config.baseline.epochs = 100
    config.baseline.learning_rate = 1e-3
    config.baseline.momentum = 0.9
    config.baseline.weight_decay = 1e-4

    config.confidence.epochs = 500
    config.confidence.learning_rate = 1e-4
    config.confidence.eval_every_epochs = 5

    config.finetune.epochs = 20
    config.finetune.learning_rate = 1e-6
    config.finetune.eval_every_epochs = 2
    return config
