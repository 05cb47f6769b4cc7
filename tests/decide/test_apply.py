"""A policy applied: by NumPy alone, as the library decides, and never to another model's confidences."""

import datetime
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from failpred_jax import apply

CONTENT = {
    'format': apply.FORMAT, 'score': 'mine', 'dtype': 'float32', 'model': 'abc', 'otherwise': 'human', 'groups': [],
    'tiers': [{'name': 'accept', 'thresholds': [0.75]}, {'name': 'second_model', 'thresholds': [0.25]}],
    'calibrator': {'knots': {'confidence': [0.0, 1.0], 'probability': [0.2, 0.9]}}, 'audit_rate': 0.0, 'audit_seed': 0,
}  # fmt: skip


def changed(**values):
    return apply.parse_policy({**CONTENT, **values})


def tier(threshold):
    return [{'name': 'accept', 'thresholds': [threshold]}]


def test_tiers_take_what_is_strictly_over_them():
    found = apply.decide(changed(), np.array([0.1, 0.25, 0.26, 0.75, 0.76], np.float32))
    assert found.names().tolist() == ['human', 'human', 'second_model', 'second_model', 'accept']
    np.testing.assert_allclose(found.p_correct, [0.27, 0.375, 0.382, 0.725, 0.732], rtol=1e-6)


def test_the_file_alone_decides_without_jax(tmp_path):
    """Copied away, in a process that has neither jax nor the package, it decides as here; and fast."""
    shutil.copy(apply.__file__, tmp_path / 'apply.py')
    (tmp_path / 'policy.json').write_text(json.dumps({**CONTENT, 'audit_rate': 0.1}))
    confidence = np.random.default_rng(0).random(1_000_000, np.float32)
    np.save(tmp_path / 'confidence.npy', confidence)
    code = (
        'import sys, time, numpy, apply\n'
        'c = numpy.load("confidence.npy"); p = apply.read_policy("policy.json", model="abc")\n'
        'start = time.process_time(); d = apply.decide(p, c); print(time.process_time() - start)\n'
        'numpy.savez("out.npz", code=d.code, p=d.p_correct, audit=d.audit)\n'
        'assert not {"jax", "scipy", "failpred_jax"} & set(sys.modules)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1
    here = apply.decide(changed(audit_rate=0.1), confidence)
    with np.load(tmp_path / 'out.npz') as there:
        assert np.array_equal(there['code'], here.code)
        assert np.array_equal(there['p'], here.p_correct) and np.array_equal(there['audit'], here.audit)


def test_the_package_imports_it_without_jax():
    code = 'import failpred_jax.apply, sys; assert "jax" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], cwd=Path(apply.__file__).parents[1], check=True)


def test_integers_are_compared_exactly():
    large = 2**60
    policy = changed(dtype='integer', tiers=tier(large), calibrator=None)
    for dtype in (np.int64, np.uint64):
        found = apply.decide(policy, np.array([large - 1, large, large + 1], dtype))
        assert found.names().tolist() == ['human', 'human', 'accept'] and found.p_correct is None
    assert apply.decide(policy, np.array([1, 2], np.int8)).names().tolist() == ['human', 'human']
    below = changed(dtype='integer', tiers=tier(-5), calibrator=None)
    assert apply.decide(below, np.array([0, 200], np.uint8)).names().tolist() == ['accept', 'accept']


@pytest.mark.parametrize(('threshold', 'action'), [('inf', 'human'), ('-inf', 'accept')])
def test_infinite_thresholds_take_nothing_or_everything(threshold, action):
    found = apply.decide(changed(tiers=tier(threshold)), np.array([-np.inf, 0.5, np.inf], np.float32))
    assert set(found.names()) == {action}


def test_float64_is_rounded_as_the_scores_were():
    """The threshold is a float32; a confidence that was saved as float64 equals it as it did there."""
    value = float(np.float32(0.1))
    policy = changed(tiers=tier(value))
    assert apply.decide(policy, np.array([0.1])).names().tolist() == ['human']
    assert apply.decide(changed(tiers=tier(value), dtype='float64'), np.array([value + 1e-12])).names() == ['accept']


def test_percentages_are_refused_and_other_scales_are_not():
    percents = np.array([97.5, 99, 0.4])
    for policy in (changed(is_probability=True), changed()):
        with pytest.raises(apply.PolicyError, match=r'from 0.4 to 99, but .* divide them by 100'):
            apply.decide(policy, percents)
        assert apply.decide(policy, percents / 100).code.tolist() == [0, 0, 2]
        # Rounding may carry a probability over 1.
        assert apply.decide(policy, np.array([1.00001, 0.0])).code.tolist() == [0, 2]
    with pytest.raises(apply.PolicyError, match='is a probability'):
        apply.decide(changed(is_probability=True), [0.9, -0.2])
    # A score that is no probability may leave the range that it was fitted on.
    assert apply.decide(changed(), [0.9, -0.2, 3.0]).code.tolist() == [0, 2, 0]
    knots = {'knots': {'confidence': [0.0, 7.0], 'probability': [0.2, 0.9]}}
    assert apply.decide(changed(calibrator=knots), percents).code.tolist() == [0, 0, 1]


def test_groups_have_thresholds_of_their_own():
    policy = changed(groups=['0', '1'], tiers=[{'name': 'accept', 'thresholds': [0.2, 0.8]}])
    found = apply.decide(policy, np.full(4, 0.5, np.float32), groups=np.array([0, 1, 2, 0]))
    assert found.names().tolist() == ['accept', 'human', 'human', 'accept']
    with pytest.raises(apply.PolicyError, match='give the group of each unit'):
        apply.decide(policy, np.zeros(2))


@pytest.mark.parametrize(
    ('group', 'cells'),
    [
        # As pandas, NumPy, csv and parquet have one day, one time and a cell without anything.
        ('2026-01-02', ['2026-01-02', '2026-01-02 00:00:00.000000', '2026-01-02T00:00', pd.Timestamp('2026-01-02'),
                        np.datetime64('2026-01-02'), np.datetime64('2026-01-02', 'ns'), datetime.date(2026, 1, 2)]),
        ('2026-01-02 00:00:00.000000', ['2026-01-02', pd.Timestamp('2026-01-02'), np.datetime64('2026-01-02')]),
        ('2026-01-02 10:30:00.500', ['2026-01-02T10:30:00.5', pd.Timestamp('2026-01-02 10:30:00.5')]),
        ('nan', [None, np.nan, '', pd.NA, pd.NaT]),
        ('1.1', [1.1, np.float32(1.1)]),
    ],
)  # fmt: skip
def test_a_group_is_known_in_whatever_type_it_is_held(group, cells):
    policy = changed(groups=[group, 'b'], tiers=[{'name': 'accept', 'thresholds': [0.2, 0.8]}])
    for cell in cells:
        for groups in (pd.Series([cell, 'b', 'c'], dtype=object), np.array([cell])):
            found = apply.decide(policy, np.full(len(groups), 0.5, np.float32), groups=groups).names().tolist()
            assert found == ['accept', 'human', 'human'][: len(groups)], (cell, groups)


def test_audits_follow_the_unit_and_the_rate():
    policy = changed(audit_rate=0.3, tiers=tier('-inf'))
    confidence, keys = np.ones(20_000, np.float32), np.arange(20_000)
    audit = apply.decide(policy, confidence, keys=keys).audit
    assert abs(audit.mean() - 0.3) < 4 * np.sqrt(0.21 / 20_000)
    assert np.array_equal(apply.decide(policy, confidence, keys=keys[::-1]).audit, audit[::-1])
    assert not np.array_equal(apply.decide(policy._replace(audit_seed=2**63), confidence).audit, audit)
    assert not apply.decide(changed(audit_rate=0.3, tiers=tier('inf')), confidence).audit.any()


@pytest.mark.parametrize(
    ('call', 'words'),
    [
        (lambda: apply.decide(changed(), np.zeros(3), model='xyz'), "belongs to the model 'abc'.*come from 'xyz'"),
        (lambda: apply.decide(changed(), np.zeros((3, 2))), r'shape \(3, 2\)'),
        (lambda: apply.decide(changed(), np.array([np.nan, 1])), '1 NaN'),
        (lambda: apply.decide(changed(), ['a']), 'give real numbers'),
        (lambda: apply.decide(changed(dtype='integer', tiers=tier(3)), np.zeros(2)), 'is an integer'),
        (lambda: apply.decide(changed(audit_rate=0.5), np.zeros(2), keys=['a', 'b']), 'one integer per unit'),
        (lambda: changed(format='2'), "'format' is not"),
        (lambda: changed(tiers=[]), 'is damaged'),
        (lambda: changed(tiers=tier(True)), 'is damaged'),
        (lambda: changed(tiers=tier('much')), 'is damaged'),
        (lambda: changed(groups=['0', '1']), 'do not go together'),
        (lambda: apply.read_policy('/nowhere/policy.json'), 'cannot be read as a policy'),
    ],
)
def test_bad_input_is_one_message(call, words):
    with pytest.raises(apply.PolicyError, match=words):
        call()
