"""Data: sources, splits, augmentation, and how examples reach the devices.

Every module of this folder is imported, so a new source is a new file and nothing else.
"""

import importlib
import pkgutil

from failpred_jax.data.augmented import draw_augmented as draw_augmented
from failpred_jax.data.splits import Data as Data
from failpred_jax.data.splits import load_data as load_data
from failpred_jax.data.splits import split_validation as split_validation

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f'{__name__}.{_module}')
