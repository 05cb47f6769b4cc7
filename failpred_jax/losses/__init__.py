"""What is minimised, per unit; importing this package fills `registry.LOSSES` with the confidence losses."""

from failpred_jax.losses import confidence, ranking  # noqa: F401
from failpred_jax.losses.classification import cross_entropy  # noqa: F401
