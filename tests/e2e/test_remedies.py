"""What a message says to do works as it is printed, and names what was given."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from e2e.command import TINY, run_here, run_well_here

from failpred_jax import command_line, session
from failpred_jax.config import read_decide
from failpred_jax.errors import UserError, share_of_percent


def test_a_run_without_calibration_units_is_decided_by_what_the_message_says(finished, tmp_path):
    workdir = tmp_path / 'run'
    shutil.copytree(finished[0], workdir)
    (workdir / 'evaluation' / 'calibration.npz').unlink()
    words = ('--mode=decide', f'--workdir={workdir}', '--risk=0.1')
    code, _, error = run_here(*words)
    (remedy,) = re.findall(r'--config\.decide\.\S+', error)
    assert code == 2 and remedy == '--config.decide.reuse_validation=True'
    run_well_here(*words, remedy)
    policy = json.loads((workdir / 'decisions' / 'policy.json').read_text())
    assert policy['not_valid'] and policy['made_from']['options']['risks'] == [0.1]


def test_a_run_that_was_trained_alone_predicts_after_what_the_message_says(finished, tmp_path):
    workdir, images = tmp_path / 'run', tmp_path / 'new.npy'
    shutil.copytree(finished[0], workdir, ignore=shutil.ignore_patterns('evaluation', 'report', 'decisions'))
    np.save(images, np.zeros((2, 8, 8), np.uint8))
    words = ('--mode=predict', f'--workdir={workdir}', f'--inputs={images}', f'--output={tmp_path / "out.csv"}')
    code, _, error = run_here(*words)
    assert code == 2 and 'was not evaluated yet' in error and 'kept' not in error
    remedy = re.findall(r'--(?:mode|workdir)=[^\s,]+', error)
    assert remedy == ['--mode=evaluate', f'--workdir={workdir}'] and '--config=FILE' in error
    run_well_here(*TINY, '--config.evaluate.scores=mcp', '--config.evaluate.resamples=0', *remedy)
    run_well_here(*words)


def asked(*words):
    """Return the options of decisions that a command line asks for."""
    _, given = command_line.parse(['failpred', '--mode=decide', *words])
    return session.decide_options(given.config, Path(given.flags['workdir']), {})


def test_options_of_decisions_are_added_to_those_of_the_workdir(tmp_path):
    """As if its config file were named: any option, however it is written, over those that the run was made with."""
    kept = {'kind': 'generalized', 'risks': [0.05], 'delta': 0.1, 'tiers': ['accept'], 'sets_alpha': 0.2}
    (tmp_path / 'config.json').write_text(json.dumps({'decide': kept, 'seed': 3}))
    at = f'--workdir={tmp_path}'
    assert asked(at) == read_decide(kept)
    assert asked(at, '--config.decide.risks=0.2') == read_decide(kept | {'risks': (0.2,)})
    wanted = read_decide(kept | {'kind': 'selective', 'empty_sets': True})
    assert (
        asked('--workdir', str(tmp_path), '--config.decide.kind', 'selective', '--config.decide.empty_sets') == wanted
    )
    with pytest.raises(UserError, match='--config.seed is set, but --config=FILE is missing'):
        asked(at, '--config.seed=1', '--config.decide.risks=0.2')
    with pytest.raises(UserError, match=r"unknown key config.decide.risk; did you mean 'risks'"):
        asked(at, '--config.decide.risk=0.2')


@pytest.mark.parametrize('content', ['{"decide": ', '[]', '{"decide": 3}'])
def test_a_damaged_config_of_a_run_is_told_as_one_with_and_without_options(content, finished, tmp_path):
    workdir = tmp_path / 'run'
    shutil.copytree(finished[0], workdir)
    (workdir / 'config.json').write_text(content)
    words = ('--mode=decide', f'--workdir={workdir}')
    (code, _, error), (_, _, plain) = run_here(*words, '--config.decide.budget=0.1'), run_here(*words)
    assert code == 2 and error == plain and str(workdir / 'config.json') in error and 'plain.py' not in error


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('--mode=decide', '--predictions=x.npz', '--risk=5'), '--risk is 5; 5 % is 0.05; it must be greater than 0'),
        (('--mode=decide', '--predictions=x.npz', '--delta=10'), '--delta is 10; 10 % is 0.1; it must be'),
        (('--mode=decide', '--predictions=x.npz', '--risk=-1'), '--risk is -1; it must be greater than 0'),
        ((*TINY, '--config.decide.risks=5'), 'config.decide.risks is (5.0,); 5 % is 0.05; allowed: '),
        ((*TINY, '--config.data.validation_fraction=20'), 'validation_fraction is 20.0; 20 % is 0.2; allowed: '),
        (
            ('--mode=combine', '--stream=s', '--components=a,b', '--predictions=x', '--output=o.npz', '--coverage=95'),
            '--coverage is 95.0; 95 % is 0.95; it must be over 0',
        ),
    ],
)
def test_a_percentage_for_a_share_is_told_by_its_own_name_and_as_a_share(words, said, tmp_path):
    code, _, error = run_here(*words, f'--workdir={tmp_path / "run"}' if 'combine' not in words[0] else '--workdir=')
    assert code == 2 and said in error


def test_only_what_can_be_a_percentage_is_taken_for_one():
    assert [share_of_percent(value) for value in (-1, 0, 0.5, 100.5)] == [''] * 4
    assert share_of_percent(1) == '; 1 % is 0.01' and share_of_percent(100) == '; 100 % is 1'


@pytest.mark.parametrize('name', ['o.xlsx', 'o', 'o.csv'])
def test_the_format_of_an_output_is_told_before_what_is_in_its_way(finished, tmp_path, name):
    np.save(tmp_path / 'new.npy', np.zeros((3, 8, 8), np.uint8))
    (tmp_path / 'o.failed.csv').touch()
    output = tmp_path / name
    code, _, error = run_here(
        '--mode=predict', f'--workdir={finished[0]}', f'--inputs={tmp_path / "new.npy"}', f'--output={output}'
    )
    is_table = name.endswith('.csv')
    assert code == 2 and ('name a file that ends with one of: .csv' in error) != is_table
    assert ('is there already' in error) == is_table and not output.exists()
