"""What a user reads who gave something wrong: one message, exit code 2, no traceback, nothing lost."""

import json

import pytest
from e2e.command import TINY, run


def message(*words: str) -> str:
    done = run(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
    assert done.stderr.startswith('error: ')
    return done.stderr


# A flag, a config, data: one of each that is found at another depth of the program. test_bad_input.py has them all.
CASES = {
    'unknown flag': (['--config=configs/digits.py', '--wrkdir=x'], ["unknown flag '--wrkdir'; did you mean 'workdir'"]),
    'value not allowed': (
        ['--config=configs/digits.py', '--config.baseline.learning_rate=-1', '--config.baseline.optimizer=sdg'],
        ['config.baseline.learning_rate is -1.0; allowed: greater than 0', "'sdg'; did you mean 'sgd'"],
    ),
    'batch and devices': (
        ['--config=configs/digits.py', '--config.baseline.batch_size=30'],
        ['config.baseline.batch_size is 30', '8 devices', 'such as 24 or 32'],
    ),
}


@pytest.mark.parametrize('case', CASES)
def test_message(case, tmp_path):
    words, expected = CASES[case]
    text = message(*words, f'--workdir={tmp_path / "run"}')
    for part in expected:
        assert part in text


def test_data_that_are_neither_prepared_nor_to_be_downloaded(tmp_path):
    text = message(
        '--config=configs/mnist.py', f'--config.data.tfds.data_dir={tmp_path / "tfds"}', f'--workdir={tmp_path / "run"}'
    )
    assert 'could not download' in text
    assert '--config.data.tfds.data_dir=DIR' in text


def test_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path):
    # BatchNorm-free and unbounded: the loss overflows within a few steps of so high a rate.
    text = message(*TINY, f'--workdir={tmp_path / "run"}', '--config.baseline.learning_rate=1e30', '--mode=train')
    assert 'baseline: the loss is not finite at step ' in text
    assert 'config.baseline.learning_rate' in text
    assert 'Last good checkpoint: step 0' in text
    kept = tmp_path / 'run' / 'baseline' / 'checkpoints'
    assert (kept / '00000000').is_dir()
    assert json.loads((tmp_path / 'run' / 'config.json').read_text())['baseline']['learning_rate'] == 1e30
