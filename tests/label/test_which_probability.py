"""Which P(correct) an audit is drawn by: the one named, the policy's, and a stated rule for the rest."""

import numpy as np
import pytest

from failpred_jax.label.pool import Pool
from failpred_jax.pools import pool_of_file


@pytest.fixture
def arrays(rng):
    """Return what --mode=predict writes of three scores, by the second of which a policy decides."""
    found = {'id': np.arange(200).astype(str)}
    for name in ('mcp', 'fusion', 'learned_from_features'):
        found[f'confidence_{name}'] = rng.random(200)
        found[f'calibrated_{name}'] = found[f'confidence_{name}'] ** 2
    found['decision'] = np.where(found['confidence_fusion'] > 0.3, 'accept', 'human')
    return found


def chosen(arrays, tmp_path, name='', policy=None):
    np.savez(tmp_path / 'p.npz', **arrays)
    return pool_of_file(tmp_path / 'p.npz', policy).pool.probability_correct(name)


def test_the_policys_score_comes_before_others(arrays, tmp_path):
    values, source = chosen(arrays, tmp_path)
    assert source == 'calibrated fusion'
    np.testing.assert_array_equal(values, arrays['calibrated_fusion'])
    assert chosen(arrays, tmp_path, 'mcp')[1] == 'calibrated mcp'
    # Nothing tells by which score it was decided where all are accepted, or no score separates them.
    for decision in (np.full(200, 'accept'), np.where(np.arange(200) % 2, 'accept', 'human')):
        assert chosen({**arrays, 'decision': decision}, tmp_path)[1] == 'calibrated learned_from_features'


def test_without_a_policy_the_rule_is_the_learned_one_or_the_first():
    p = np.full(3, 0.5)
    for names, expected in (
        (('mcp', 'fusion', 'learned_from_features'), 'calibrated learned_from_features'),
        (('mine', 'mcp'), 'calibrated mine'),
    ):
        pool = Pool(np.arange(3).astype(str), {'confidnet': p}, p_correct=dict.fromkeys(names, p))
        assert pool.probability_correct()[1] == expected
    assert Pool(np.arange(3).astype(str), {'mine': p}).probability_correct()[1] == 'mine'
