"""The handwritten digits that ship inside scikit-learn: 1,797 images of 8x8 pixels; nothing to download."""

import numpy as np

from failpred_jax.config import DataConfig
from failpred_jax.data.sources import RawData
from failpred_jax.registry import SOURCES
from failpred_jax.types import DatasetInfo, Examples


@SOURCES.register('digits')
def load(data: DataConfig, options: None) -> RawData:
    """Return all digits as the training part; the test and validation parts are split off by seed.

    Reference: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test set).
    """
    del data, options  # there is nothing to choose
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    # Pixels count 0 to 16 set bits of a 4x4 block; spread over the range of a byte.
    images = np.round(np.asarray(pixels).reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    info = DatasetInfo('digits', 'classification', images.shape[1:], tuple(str(i) for i in range(10)))
    return RawData(info, Examples(images, np.asarray(target, np.int32)), None, None)
