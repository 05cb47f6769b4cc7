"""Where a model fails: slices found on one half of the units and confirmed on the other, and clusters that grew."""

from failpred_jax.slicing.grown import find_grown as find_grown
from failpred_jax.slicing.search import find_failing as find_failing
from failpred_jax.slicing.units import SliceUnits as SliceUnits
