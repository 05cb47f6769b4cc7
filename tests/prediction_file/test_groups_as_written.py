"""Columns that are used as groups: two units are of one group if and only if the file calls them the same."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from failpred_jax import apply
from failpred_jax.config import DecideConfig
from failpred_jax.decide.deciding import Given, make_decisions
from failpred_jax.decide.thresholds import groups_of
from failpred_jax.decide.units import Units
from failpred_jax.evaluate.slices import cut
from failpred_jax.monitor import chunks, running
from failpred_jax.pools import pool_of_file
from failpred_jax.prediction_file import read_predictions
from failpred_jax.readers.tables import parse_csv
from failpred_jax.readers.written import MOST_DISTINCT
from failpred_jax.results.decisions import write_decisions
from failpred_jax.slicing.conditions import conditions_of
from failpred_jax.slicing.units import SliceUnits
from failpred_jax.slicing.values import joined, quantities

# What looks like a number: versions, codes, signs, exponents, whole numbers with and without a point.
_DIGITS = st.text('0123456789', min_size=1, max_size=3)
NUMBERS = st.one_of(
    _DIGITS,
    st.builds('{}.{}'.format, _DIGITS, _DIGITS),
    st.builds('{}{}e{}'.format, st.sampled_from('+-'), _DIGITS, st.integers(-9, 9)),
    st.builds('{}{}'.format, st.just(str(2**63)), _DIGITS),
    st.sampled_from(
        ['.5', '5.', '-0', '0', '0.50', '1e-3', '1E5', '10%', '10.0%', 'inf', 'true', 'True', 'x', '1.2.3']
    ),
)
WAYS = {
    'csv': {},
    'quoted': {'quoting': 1},
    'tabs': {'sep': '\t'},
    'semicolons': {'sep': ';'},
    'windows': {'lineterminator': '\r\n'},
}


def read_back(words, folder, way='csv'):
    """Return the notes on a column of words in a csv, and what is read of it."""
    frame = pd.DataFrame({'by': words, 'correct': np.arange(len(words)) % 2, 'confidence': 0.5})
    frame.to_csv(folder / 'x.csv', index=False, **WAYS[way])
    found = read_predictions(folder / 'x.csv')['evaluated']
    return found.notes, found.slices['by']


def same(values):
    """Return which units are of one group: [N, N]."""
    values = np.asarray(values)
    return values[:, None] == values[None]


@settings(max_examples=150, deadline=None, derandomize=True)
@example(words=['1.38', '1.4', '1.40', '2.4', '2.40'], way='csv')
@example(words=['1', '001', '002'], way='quoted')
@example(words=['00060', '07090002', '60'], way='semicolons')
@given(words=st.lists(NUMBERS, min_size=2, max_size=12), way=st.sampled_from(sorted(WAYS)))
def test_units_are_of_one_group_if_and_only_if_they_are_called_the_same(words, way, tmp_path_factory):
    _, column = read_back(words, tmp_path_factory.mktemp('x'), way)
    units = Units({}, np.ones(len(words), bool), columns={'by': column})
    names = groups_of(units, 'by')
    assert np.array_equal(same(names), same(words))
    # Whatever knows the groups by these names knows each word.
    groups = sorted(set(names.tolist()))
    content = {
        'format': apply.FORMAT, 'score': 's', 'dtype': 'float64', 'model': '', 'otherwise': 'human', 'groups': groups,
        'tiers': [{'name': 'accept', 'thresholds': list(range(len(groups)))}], 'calibrator': None, 'audit_rate': 0,
        'audit_seed': 0,
    }  # fmt: skip
    policy = apply.parse_policy(content)
    level = np.array([groups.index(name) for name in names.tolist()]) + 0.0
    for shift, expected in ((0.5, 'accept'), (0, 'human')):
        assert set(apply.decide(policy, level + shift, groups=np.array(words)).names()) == {expected}


def test_whole_numbers_with_gaps_are_named_as_they_are_written(tmp_path):
    _, column = read_back(['3', '', '4', '3'], tmp_path)
    assert column.dtype.kind == 'f'
    names = groups_of(Units({}, np.ones(4, bool), columns={'by': column}), 'by')
    assert names.tolist() == ['3', 'nan', '4', '3']


def quantity(rng, how, num=400):
    return {
        'ages': [str(x) for x in rng.integers(18, 90, num)],
        'fixed decimals': [f'{x:.2f}' for x in rng.random(num) * 9],
        'many fixed decimals': [f'{x:.6f}' for x in rng.random(MOST_DISTINCT * 2)],
        'shortest': [str(x) for x in rng.normal(size=num)],
        'exponents': [f'{x:.0e}'.replace('e-0', 'e-') for x in np.exp(-rng.random(num) * 9)],
        "NumPy's": [f'{x:.18e}' for x in rng.random(num)],
        'signs': [f'{x:+d}' for x in rng.integers(-40, 40, num)],
        'gaps': [f'{x:.1f}' if x > 1 else '' for x in rng.random(num) * 9],
        'percentages': [f'{x:.1f}%' for x in rng.random(num) * 100],
    }[how]


HOW = (
    'ages',
    'fixed decimals',
    'many fixed decimals',
    'shortest',
    'exponents',
    "NumPy's",
    'signs',
    'gaps',
    'percentages',
)


@pytest.mark.parametrize('how', HOW)
def test_a_quantity_is_cut_as_the_numbers_are_however_it_is_written(how, rng, tmp_path):
    words = quantity(rng, how)
    numbers = np.array([float(word.rstrip('%')) / (100 if '%' in word else 1) if word else np.nan for word in words])
    notes, column = read_back(words, tmp_path)
    assert not any('one number' in note for note in notes)
    for cuts in (lambda x: cut(x)[0], lambda x: conditions_of(SliceUnits(None, columns={'by': x}), None)):
        found, expected = cuts(column), cuts(numbers)
        assert [one.name for one in found] == [one.name for one in expected] and len(found) > 3
        assert all(np.array_equal(one.mask, other.mask) for one, other in zip(found, expected, strict=True))


def test_names_that_look_like_numbers_are_no_quantity(rng, tmp_path):
    for names in ([f'{i}.{j}' for i in range(4) for j in (1, 10, 2, 20)], [f'{i:05d}' for i in range(60)]):
        _, column = read_back(names * 3, tmp_path)
        assert quantities(column, 12) is column and column.tolist() == names * 3


def test_a_column_of_two_files_is_one_whichever_of_them_writes_numbers(rng):
    ages = rng.integers(0, 90, 200)
    for written in ([f'{x}.0' for x in ages], [f'{x}.00' for x in ages], [f'{x:+d}' for x in ages]):
        read = parse_csv('\n'.join(['by,x', *(f'{x},0' for x in written)]).encode(), 'x').as_written(['by'])['by']
        for pair in ((ages, read), (read, ages)):
            assert np.array_equal(quantities(joined(*pair, 12), 12), np.concatenate([ages, ages]))
    versions = np.array(['1.1', '1.10', '2.0'])
    assert joined(versions, np.array([1.1, 2.0]), 12).tolist() == ['1.1', '1.10', '2.0', '1.1', '2.0']


def parts_by(rng, kinds):
    """Return a table of three parts with a column of groups of which one is much less often right."""
    frames = []
    for part, num in (('test', 600), ('val', 300), ('cal', 900)):
        by, confidence = rng.choice(kinds, num), rng.random(num).round(4)
        base = np.where(by == kinds[1], 0.3, 0.9)
        correct = rng.random(num) < base + (1 - base) * confidence
        frames.append(pd.DataFrame({'part': part, 'by': by, 'confidence_mine': confidence, 'correct': correct}))
    return pd.concat(frames, ignore_index=True)


def save(frame, path):
    if path.suffix == '.csv':
        frame.to_csv(path, index=False)
    elif path.suffix == '.parquet':
        frame.to_parquet(path, index=False)
    elif path.suffix == '.npz':
        np.savez(path, allow_pickle=False, **{name: np.array(frame[name].tolist()) for name in frame})
    else:
        path.write_text(''.join(json.dumps(row) + '\n' for row in frame.to_dict('records')))
    return path


@pytest.mark.parametrize(
    'kinds', [('1.1', '1.10', '2.0'), ('0123', '00123', '99999'), ('1', '1.0', '2'), ('3', '4', '5')]
)
def test_a_policy_by_groups_is_the_same_in_every_format_and_decides_every_stream_alike(
    kinds, rng, tmp_path, monkeypatch
):
    frame, stream = parts_by(rng, np.array(kinds)), parts_by(rng, np.array(kinds)).query("part == 'test'")
    made = {}
    for suffix in ('csv', 'parquet', 'npz', 'jsonl'):
        found = read_predictions(save(frame, tmp_path / f'x.{suffix}'))
        units = {
            part: Units(found[part].confidences, np.asarray(found[part].correct), columns=found[part].slices)
            for part in ('calibration', 'validation', 'evaluated')
        }
        given = Given(units['calibration'], units['validation'], units['evaluated'], 'unit', ())
        made[suffix], rows = make_decisions(given, DecideConfig(by='by', score='mine', risks=(0.15,)))
        assert made[suffix].policy['groups'] == sorted(kinds)
        assert made[suffix].policy['tiers'] == made['csv'].policy['tiers']
        write_decisions(made[suffix], rows, tmp_path / suffix)
    path_of_policy = tmp_path / 'csv' / 'policy.json'
    policy = apply.read_policy(path_of_policy)
    words = stream['by'].to_numpy(str)
    expected = apply.decide(policy, stream['confidence_mine'].to_numpy(), groups=words).code
    assert 0 < (expected == 0).mean() < 1
    # However a stream is cut into parts, of which some hold one group alone.
    monkeypatch.setattr(chunks, 'BLOCK_BYTES', 60)
    monkeypatch.setattr(chunks, '_BATCH_ROWS', 3)
    for suffix in ('csv', 'parquet', 'npz', 'jsonl'):
        path = save(stream.drop(columns='part'), tmp_path / f'stream.{suffix}')
        codes = [
            apply.decide(policy, part['confidence_mine'], groups=part['by']).code
            for part, _ in chunks.read_chunks(path, as_text=('by',))
        ]
        assert np.array_equal(np.concatenate(codes), expected)
        accepted = pool_of_file(path, path_of_policy).pool.accepted
        assert accepted is not None and np.array_equal(accepted, expected == 0)
        watched = running.run_monitor(path_of_policy, path, tmp_path / f'{suffix}.json', {'window': len(words)}).monitor
        assert watched.latest['share_accept'] == pytest.approx((expected == 0).mean())


@pytest.mark.parametrize('name', ['1.10', '0123', '+3', '1e5'])
def test_numbers_are_no_groups_where_the_policy_has_words_that_no_number_is_written_as(name):
    content = {
        'format': apply.FORMAT, 'score': 's', 'dtype': 'float64', 'model': '', 'otherwise': 'human',
        'groups': ['1.1', '-2', 'nan', name], 'tiers': [{'name': 'accept', 'thresholds': [0] * 4}], 'calibrator': None,
        'audit_rate': 0, 'audit_seed': 0,
    }  # fmt: skip
    policy = apply.parse_policy(content)
    for numbers in ([1.1, 1.1], [123, 3]):
        with pytest.raises(apply.PolicyError, match='no number is written as the policy.s group .*dtype=str'):
            apply.decide(policy, np.ones(2), groups=np.array(numbers))
    assert apply.decide(policy, np.ones(2), groups=[name, '9']).code.tolist() == [0, 1]
    # Where all groups are numbers, so they may be given, with gaps and without.
    content |= {'groups': ['3', '-2', '4.0', '']}
    for numbers in (['3', '-2', '4', '5'], [3, -2, 4, 5], [3.0, -2.0, 4.0, 5.0]):
        assert apply.decide(apply.parse_policy(content), np.ones(4), groups=numbers).code.tolist() == [0, 0, 0, 1]
