"""The digits, read without importing scikit-learn."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from failpred_jax.data import digits


@pytest.mark.parametrize('found', [digits.find_spec, lambda name: None], ids=['from the file', 'from scikit-learn'])
def test_the_digits_are_those_of_scikit_learn(found, monkeypatch):
    monkeypatch.setattr(digits, 'find_spec', found)
    raw = digits.load(None, None)
    pixels, target = load_digits(return_X_y=True)
    assert np.array_equal(np.round(raw.train.images / (255 / 16)).reshape(-1, 64), pixels)
    assert np.array_equal(raw.train.labels, target)
