"""CIFAR-100 with VGG16 from scratch, as in the paper's table 1.

  python -m failpred_jax.main --config=configs/cifar100.py

The settings are the paper's code's: SGD 0.1 for 170 epochs, a tenth of it from epochs 90 and 135 on, flips and random
crops; then Adam 1e-4 for the head. Meant for an accelerator, and not run here yet, so no figures of ours stand in this
header. The paper, with MCP / ConfidNet (percent): FPR@95%TPR 67.86 / 62.96, AUPR-Error 71.99 / 73.68, AUROC 85.67 /
86.28. If the classifier fits its training set perfectly, see config.confidence.targets.
"""

import ml_collections

from failpred_jax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    """Return the experiment."""
    config = default_config()
    config.data.source = 'tfds'
    config.data.tfds.name = 'cifar100'
    config.data.mean = (0.4914, 0.4822, 0.4465)
    config.data.std = (0.2023, 0.1994, 0.2010)
    config.data.augment.flip = True
    config.data.augment.crop_padding = 4

    config.model.name = 'vgg16'

    config.baseline.epochs = 170
    config.baseline.learning_rate = 0.1
    config.baseline.momentum = 0.9
    config.baseline.weight_decay = 1e-4
    config.baseline.schedule = 'multi_step'
    config.baseline.milestones = (90, 135)
    config.baseline.decay = 0.1

    config.confidence.epochs = 500
    config.confidence.learning_rate = 1e-4
    config.confidence.eval_every_epochs = 5

    config.finetune.epochs = 50
    config.finetune.learning_rate = 1e-6
    config.finetune.eval_every_epochs = 2
    return config
