"""--mode=combine: several components of a file as one confidence, fitted, compared, certified and applied."""

import json

import numpy as np
import pytest

from failpred_jax import apply, combined, main
from failpred_jax.decide import combine_components
from failpred_jax.decide.combining import ASSUMES
from failpred_jax.errors import UserError
from failpred_jax.files import read_npz

NAMES = ('detector', 'classifier')


def arrays(rng, own=True):
    """Return a file's arrays: a detector and a classifier that err independently, and both must be right."""
    found = {}
    for prefix, size in (('', 600), ('val_', 500), ('cal_', 400)):
        p = {name: rng.beta(5, 1, size) for name in NAMES}
        right = {name: rng.random(size) < value for name, value in p.items()}
        found |= {f'{prefix}confidence_{name}': np.log(value) for name, value in p.items()}
        found[f'{prefix}correct'] = right['detector'] & right['classifier']
        if own:
            found |= {f'{prefix}correct_{name}': value for name, value in right.items()}
    return found


@pytest.fixture
def file(rng, tmp_path):
    np.savez(tmp_path / 'p.npz', **arrays(rng))
    return tmp_path / 'p.npz'


def combine(file, out='both.npz', components=NAMES, rules=tuple(ASSUMES)):
    combined.combine_file(file, components, rules, file.with_name(out))
    return read_npz(file.with_name(out)), json.loads(file.with_name(out).with_suffix('.json').read_text())


def test_every_part_has_the_whole_and_what_is_applied_is_what_is_certified(file, capsys):
    found, content = combine(file)
    given = read_npz(file)
    for name, array in given.items():
        np.testing.assert_array_equal(found[name], array)
    read = apply.read_combination(file.with_name('both.json'))
    held_out = {name: given[f'val_confidence_{name}'] for name in NAMES}
    right = {name: given[f'val_correct_{name}'] for name in NAMES}
    for rule in ASSUMES:
        for prefix in ('', 'cal_'):
            values = {name: given[f'{prefix}confidence_{name}'] for name in NAMES}
            np.testing.assert_array_equal(found[f'{prefix}confidence_{rule}'], apply.combine(read, rule, values))
        library = combine_components(rule, held_out, right, given['val_correct'])
        inside = {n: np.clip(given[f'confidence_{n}'], held_out[n].min(), held_out[n].max()) for n in NAMES}
        np.testing.assert_allclose(apply.combine(read, rule, inside), library(inside), atol=1e-2)
        assert content['rules'][rule]['assumes'] == ASSUMES[rule]
        # Validation units have values by fits that have not seen them.
        assert found[f'val_confidence_{rule}'].shape == given['val_correct'].shape
        assert np.abs(found[f'val_confidence_{rule}'] - library(held_out)).max() > 1e-6
    said = capsys.readouterr().out
    assert 'err independently' in said and 'the best component alone' in said and 'note:' not in said
    best, *rest = content['compared']
    product = next(row for row in rest if row['rule'] == 'product')
    assert best['rule'] in NAMES and product['difference_high'] < 0


def test_the_whole_is_certified_as_any_other_score(file, tmp_path, capsys):
    words = ('failpred', '--mode=combine', f'--predictions={file}', '--components=detector,classifier')
    assert main.main([*words, '--rules=product', f'--output={tmp_path / "both.npz"}']) == 0
    workdir = tmp_path / 'run'
    words = ('failpred', '--mode=decide', f'--predictions={tmp_path / "both.npz"}', f'--workdir={workdir}')
    assert main.main([*words, '--score=product', '--risk=0.1', '--resamples=0']) == 0
    policy = apply.read_policy(workdir / 'decisions' / 'policy.json')
    both = apply.combine(apply.read_combination(tmp_path / 'both.json'), 'product', {n: [-0.01] for n in NAMES})
    assert policy.score == 'product' and apply.decide(policy, both).names().tolist() == ['accept']
    capsys.readouterr()


def test_without_the_components_own_outcomes_it_says_what_that_means(rng, tmp_path, capsys):
    np.savez(tmp_path / 'p.npz', **arrays(rng, own=False), group=np.arange(600) // 3)
    _, content = combine(tmp_path / 'p.npz', rules=('minimum', 'noisy_or'))
    assert content['calibrated_to'] == 'the whole being right'
    assert 'product and noisy_or are no probabilities of the whole' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('change', 'how', 'words'),
    [
        ({}, {'components': ('detector',)}, 'name two or more'),
        ({}, {'components': ('detector', 'clasifier')}, "no 'confidence_clasifier'; did you mean 'classifier'"),
        ({}, {'rules': ('max',)}, "--rules names 'max'.*product, minimum, mean, noisy_or, logistic"),
        ({}, {'out': 'both.csv'}, 'ends with .npz'),
        ({}, {'out': 'p.npz'}, 'is there already'),
        ({'val_correct': None}, {}, 'held-out units, and the file has none'),
        ({'val_correct_detector': None}, {}, 'but lacks val_correct_detector'),
        ({'cal_confidence_detector': None}, {}, "no 'cal_confidence_detector'"),
        ({'confidence_mean': np.zeros(600)}, {}, "has a 'confidence_mean' of its own"),
        ({'val_correct': np.ones(500, bool)}, {'rules': ('logistic',)}, 'too few|no errors'),
    ],
)
def test_bad_input_is_one_message(rng, tmp_path, change, how, words):
    given = arrays(rng) | change
    if 'val_correct' in change and change['val_correct'] is None:
        given = {name: array for name, array in given.items() if not name.startswith('val_')}
    if change.get('val_correct') is not None:
        given = {name: array for name, array in given.items() if '_correct_' not in name}
    np.savez(tmp_path / 'p.npz', **{name: array for name, array in given.items() if array is not None})
    with pytest.raises(UserError, match=words):
        combine(tmp_path / 'p.npz', **how)
    assert [path.name for path in tmp_path.iterdir()] == ['p.npz']
