"""Data: sources (discovered automatically, see registry.py), splits, augmentation, and the way to the devices."""

from failpred_jax.data.augmented import draw_augmented as draw_augmented
from failpred_jax.data.fingerprint import add_rows as add_rows
from failpred_jax.data.fingerprint import fingerprint as fingerprint
from failpred_jax.data.fingerprint import what_differs as what_differs
from failpred_jax.data.splits import Data as Data
from failpred_jax.data.splits import load_data as load_data
from failpred_jax.data.splits import split_validation as split_validation
