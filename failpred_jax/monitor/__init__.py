"""A deployed model watched by its confidences: estimated accuracy, live coverage, alarms that can be looked at any
time.

NumPy, SciPy and Arrow are enough; JAX is not needed.
"""

from failpred_jax.monitor.monitor import Monitor, Raised
from failpred_jax.monitor.options import Options
from failpred_jax.monitor.state import load, save
from failpred_jax.monitor.window import Window

__all__ = ['Monitor', 'Options', 'Raised', 'Window', 'load', 'save']
