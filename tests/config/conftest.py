"""A training recipe that is registered for one test."""

import pytest
from config.making import MixtureOptions

from failpred_jax.registry import RECIPES


@pytest.fixture
def mixture():
    """A training recipe with options, registered for one test."""
    RECIPES.options()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES._entries, 'mixture', object())
        patch.setitem(RECIPES._options, 'mixture', MixtureOptions)
        yield 'mixture'
