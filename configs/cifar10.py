"""CIFAR-10 with VGG16, as in the paper's table 1 (there from an ImageNet start: see config.baseline.init_from).

  python -m failpred_jax.main --config=configs/cifar10.py
  python -m failpred_jax.main --config=configs/cifar10.py:fast
  python -m failpred_jax.main --config=configs/cifar10.py:small

The settings are the paper's code's: SGD 1e-3 for 250 epochs, then Adam 1e-4 for the head, with flips and rotations.
Meant for an accelerator: on 2 CPU cores a step of 128 images takes 0.8 to 2.4 seconds. The paper, with
MCP / ConfidNet (percent): FPR@95%TPR 47.50 / 44.94, AUPR-Error 45.36 / 49.94, AUROC 91.53 / 92.12.

`fast` is a short recipe for two CPU cores: 15 epochs at a high learning rate that falls to 0, crops, flips, no dropout.
Measured (2026-11-30, seed 0, two hours on 2 cores of an Intel Xeon that other work shared; docs/results.md): accuracy
86.56 %, with MCP / ConfidNet / fine-tuned ConfidNet FPR@95%TPR 61.83 / 59.23 / 58.93, AUPR-Error 51.07 / 51.22 / 51.71,
AUROC 89.00 / 89.16 / 89.26.

`small` is the same recipe for SVHN's small network. Measured (2026-12-01, seeds 0 to 2, 2 cores of an Intel Xeon that
other work shared; docs/results.md): accuracy 84.94 +- 0.26 %, with MCP / fine-tuned ConfidNet / fusion FPR@95%TPR
60.33 / 62.08 / 58.04, AUPR-Error 53.27 / 52.43 / 55.95, AUROC 88.50 / 88.35 / 89.17.
"""

import ml_collections

from failpred_jax.config import default_config, with_recipe


def get_config(recipe: str = 'paper') -> ml_collections.ConfigDict:
    """Return the experiment by the paper's recipe, the short one ('fast'), or that with a small network ('small')."""
    config = default_config()
    config.data.source = 'tfds'
    config.data.tfds.name = 'cifar10'
    config.data.mean = (0.4914, 0.4822, 0.4465)
    config.data.std = (0.2023, 0.1994, 0.2010)
    config.data.augment.flip = True
    config.model.name = 'vgg16'
    config.baseline.momentum = 0.9
    config.baseline.weight_decay = 5e-4
    return with_recipe(config, recipe, {'paper': _paper, 'fast': _fast, 'small': _small})


def _paper(config: ml_collections.ConfigDict) -> None:
    config.data.augment.rotate_degrees = 15.0

    config.baseline.epochs = 250
    config.baseline.learning_rate = 1e-3

    config.confidence.epochs = 500
    config.confidence.learning_rate = 1e-4
    config.confidence.eval_every_epochs = 5

    config.finetune.epochs = 50
    config.finetune.learning_rate = 1e-6
    config.finetune.eval_every_epochs = 2


def _fast(config: ml_collections.ConfigDict) -> None:
    config.data.calibration_fraction = 0.05
    config.data.augment.crop_padding = 4
    # In so few epochs dropout after nearly every convolution costs more than it saves.
    config.model.dropout = False

    config.baseline.epochs = 15
    config.baseline.learning_rate = 0.05
    config.baseline.sgd.nesterov = True
    config.baseline.schedule = 'cosine'
    config.baseline.warmup_epochs = 2.0

    config.confidence.epochs = 6
    config.confidence.learning_rate = 1e-3
    config.confidence.schedule = 'cosine'

    config.finetune.epochs = 1
    config.finetune.learning_rate = 1e-6


def _small(config: ml_collections.ConfigDict) -> None:
    _fast(config)
    config.model.name = 'small_convnet_svhn'
