"""A test environment harsher than production: eight fake devices, warnings as errors, no silent broadcasting."""

import os

# Before jax is imported anywhere: the device count is read once.
os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
os.environ['JAX_PLATFORMS'] = 'cpu'

import jax
import numpy as np
import pytest

jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
