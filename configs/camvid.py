"""CamVid with SegNet, as in the paper's table 1 (there from an ImageNet start: see config.baseline.init_from).

python -m failpred_jax.main --config=configs/camvid.py --config.data.camvid.path=DIR
"""

import ml_collections

from failpred_jax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    """Return the experiment."""
    config = default_config()
    config.data.source = 'camvid'
    config.data.camvid.path = 'CamVid'
    config.data.mean = (0.411894, 0.425132, 0.432670)
    config.data.std = (0.274135, 0.285062, 0.282846)
    config.data.augment.flip = True

    config.model.name = 'segnet'

    config.baseline.epochs = 500
    config.baseline.batch_size = 8
    config.baseline.eval_every_epochs = 5
    config.baseline.optimizer = 'adam'
    config.baseline.learning_rate = 1e-3

    config.confidence.epochs = 500
    config.confidence.batch_size = 6
    config.confidence.eval_every_epochs = 5
    config.confidence.learning_rate = 1e-4

    config.finetune.epochs = 20
    config.finetune.batch_size = 6
    config.finetune.learning_rate = 1e-6

    config.evaluate.batch_size = 8
    # The test frames are a second of a drive apart: neighbors show the same street.
    config.evaluate.block_length = 20
    return config
