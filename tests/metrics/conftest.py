"""Scores of sixty units, with ties, that several files of tests resample."""

import numpy as np
import pytest


@pytest.fixture(scope='module')
def data():
    """Return name -> confidence [60], and what is correct; 'twin' ranks as 'good' does."""
    rng = np.random.default_rng(1)
    correct = rng.random(60) < 0.7
    good = np.round(correct + rng.standard_normal(60), 1).astype(np.float32)
    noise = rng.integers(0, 5, 60).astype(np.float32)
    return {'good': good, 'noise': noise, 'twin': 2 * good}, correct
