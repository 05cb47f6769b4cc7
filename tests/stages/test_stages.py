"""The stages of a config."""

import pytest

from failpred_jax.config import default_config, read_config
from failpred_jax.errors import UserError
from failpred_jax.stages import make_stages


def test_more_steps_than_can_be_counted_are_refused():
    given = default_config()
    given.data.source = 'digits'
    given.baseline.epochs, given.baseline.batch_size = 1_000_000, 8
    config = read_config(given)
    assert [stage.name for stage in make_stages(config, 17_000)] == ['baseline', 'confidence', 'finetune']
    with pytest.raises(UserError, match=r'config\.baseline\.epochs is 1,000,000; of 2,500 steps each, .*batch_size'):
        make_stages(config, 20_000)
