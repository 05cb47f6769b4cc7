"""Which inputs to label next, how good a model is by few labels, and which labels are wrong.

`strategies/` holds one way to choose a file, discovered automatically; `design` and `estimate` are the two halves of an
audit; `issues` finds candidates for wrong labels.
"""

from failpred_jax.label.estimate import estimate_mean as estimate_mean
from failpred_jax.label.issues import find_issues as find_issues
from failpred_jax.label.pool import Pool as Pool
from failpred_jax.label.strategy import choose as choose
