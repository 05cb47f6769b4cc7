"""failpred_jax: software that knows when a neural network is wrong."""
