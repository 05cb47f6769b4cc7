"""What a user reads who gave something wrong: one message, exit code 2, no traceback, nothing lost."""

import json
import subprocess
import sys

import jax
import pytest
from e2e.command import NO_NETWORK, ROOT, TINY, environment, run, run_here


def checked(code: int, out: str, errors: str) -> str:
    """Return the message of a program that ended as it should."""
    assert code == 2, out + errors
    assert 'Traceback' not in errors
    assert errors.startswith('error: ')
    return errors


# Found before jax is imported, and found once the devices are known. test_bad_input.py has them all, in its process.
CASES = {
    'unknown flag': (['--config=configs/digits.py', '--wrkdir=x'], ["unknown flag '--wrkdir'; did you mean 'workdir'"]),
    'batch and devices': (
        ['--config=configs/digits.py', '--config.baseline.batch_size=30'],
        ['config.baseline.batch_size is 30', '8 devices', 'such as 24 or 32'],
    ),
}


@pytest.mark.parametrize('case', CASES)
def test_message(case, tmp_path):
    words, expected = CASES[case]
    done = run(*words, f'--workdir={tmp_path / "run"}')
    text = checked(done.returncode, done.stdout, done.stderr)
    for part in expected:
        assert part in text


@pytest.mark.parametrize('platform', ['cdua', 'cuda'])
def test_devices_that_are_not_there(platform, tmp_path):
    """A misspelled platform, and one without its devices, which JAX answers in another way."""
    if platform == 'cuda' and any(device.platform == 'gpu' for device in jax.devices()):
        pytest.skip('here there is a GPU')
    done = run(*TINY, f'--workdir={tmp_path / "run"}', '--mode=check', platform=platform)
    text = checked(done.returncode, done.stdout, done.stderr)
    assert f"JAX_PLATFORMS is '{platform}', but here there is cpu (" in text
    assert '; unset it, or set it to what is there' in text


def test_devices_that_are_not_there_are_not_the_fault_of_a_run(finished):
    code = f'import failpred_jax; failpred_jax.load({str(finished[0])!r})'
    environ = environment(1, False, False, 'cdua')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("failpred_jax.errors.UserError: JAX_PLATFORMS is 'cdua', but here")


def test_data_that_are_neither_prepared_nor_to_be_downloaded(tmp_path, monkeypatch):
    for name, proxy in NO_NETWORK.items():
        monkeypatch.setenv(name, proxy)
    folders = (f'--config.data.tfds.data_dir={tmp_path / "tfds"}', f'--workdir={tmp_path / "run"}')
    text = checked(*run_here('--config=configs/mnist.py', *folders))
    assert 'could not download' in text
    assert '--config.data.tfds.data_dir=DIR' in text


def test_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path):
    # BatchNorm-free and unbounded: the loss overflows within a few steps of so high a rate.
    words = (*TINY, f'--workdir={tmp_path / "run"}', '--config.baseline.learning_rate=1e30', '--mode=train')
    text = checked(*run_here(*words))
    assert 'baseline: the loss is not finite at step ' in text
    assert 'config.baseline.learning_rate' in text
    assert 'Last good checkpoint: step 0' in text
    kept = tmp_path / 'run' / 'baseline' / 'checkpoints'
    assert (kept / '00000000').is_dir()
    assert json.loads((tmp_path / 'run' / 'config.json').read_text())['baseline']['learning_rate'] == 1e30
