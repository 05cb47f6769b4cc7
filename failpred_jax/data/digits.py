"""The handwritten digits that ship inside scikit-learn: 1,797 images of 8x8 pixels; nothing to download."""

from importlib.util import find_spec
from pathlib import Path

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
    pixels, target = _read()
    # Pixels count 0 to 16 set bits of a 4x4 block; spread over the range of a byte.
    images = np.round(np.asarray(pixels).reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    info = DatasetInfo('digits', 'classification', images.shape[1:], tuple(str(i) for i in range(10)))
    return RawData(info, Examples(images, np.asarray(target, np.int32)), None, None)


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels [1797, 64], 0 to 16, and the digits [1797]."""
    # The file itself, where it is found: importing scikit-learn takes longer than a small run's first epochs.
    found = find_spec('sklearn')
    for folder in (found.submodule_search_locations or ()) if found else ():
        file = Path(folder) / 'datasets' / 'data' / 'digits.csv.gz'
        if file.is_file():
            table = np.loadtxt(file, delimiter=',')
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    return np.asarray(pixels), np.asarray(target)
