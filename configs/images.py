"""Your own pictures, one folder per class, all stages, with a ResNet-18 on 64 x 64 pixels.

  python -m failpred_jax.main --config=configs/images.py --config.data.folder.path=DIR

DIR holds a folder per class, or train/, val/ and test/ with these in them; docs/images.md has the other ways in, and
`--mode=check` shows what is read before anything is trained. A place to start from, not a tuned recipe: the number of
epochs and the size are the first things to change.
"""

import ml_collections

from failpred_jax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    """Return the experiment."""
    config = default_config()
    config.data.source = 'folder'
    config.data.folder.path = 'images'
    config.data.folder.channels = 3
    config.data.image_size = (64, 64)
    config.data.test_fraction = 0.2
    # Of ImageNet's photographs; near enough for most.
    config.data.mean = (0.485, 0.456, 0.406)
    config.data.std = (0.229, 0.224, 0.225)
    config.data.augment.flip = True
    config.data.augment.crop_padding = 4

    config.model.name = 'resnet18'

    config.baseline.epochs = 60
    config.baseline.batch_size = 64
    config.baseline.learning_rate = 0.05
    config.baseline.weight_decay = 5e-4
    config.baseline.schedule = 'cosine'
    config.baseline.warmup_epochs = 1

    config.confidence.epochs = 60
    config.confidence.batch_size = 64
    config.confidence.learning_rate = 1e-4
    return config
