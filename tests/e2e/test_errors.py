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


CASES = {
    'no config': ([], ['--config=FILE is missing', 'configs/digits.py']),
    'unknown config file': (
        ['--config=configs/digit.py'],
        ["no config file 'configs/digit.py'", "did you mean 'digits.py'", 'mnist_mlp.py'],
    ),
    'unknown key': (
        ['--config=configs/digits.py', '--config.data.nmae=x'],
        ['unknown key config.data.nmae', "did you mean 'name'", 'keys of config.data: '],
    ),
    'key below a value': (
        ['--config=configs/digits.py', '--config.seed.x=1'],
        ['config.seed is a value, not a section'],
    ),
    'wrong type': (
        ['--config=configs/digits.py', '--config.baseline.epochs=many'],
        ['--config.baseline.epochs=many', 'int'],
    ),
    'value not allowed': (
        ['--config=configs/digits.py', '--config.baseline.learning_rate=-1', '--config.baseline.optimiser=sdg'],
        ['config.baseline.learning_rate is -1.0; allowed: greater than 0', "'sdg'; did you mean 'sgd'"],
    ),
    'unknown mode': (['--config=configs/digits.py', '--mode=trian'], ["--mode is 'trian'; did you mean 'train'"]),
    'unknown flag': (['--config=configs/digits.py', '--wrkdir=x'], ["unknown flag '--wrkdir'; did you mean 'workdir'"]),
    'stray word': (['--config=configs/digits.py', 'evaluate'], ["unexpected argument 'evaluate'", '--name=value']),
    'unknown source': (
        ['--config=configs/digits.py', '--config.data.source=digit'],
        ["config.data.source is 'digit'; did you mean 'digits'", 'tfds'],
    ),
    'unknown model': (
        ['--config=configs/digits.py', '--config.model.name=mpl'],
        ["config.model.name is 'mpl'; did you mean 'mlp'", 'small_convnet_mnist'],
    ),
    'unknown score': (
        ['--config=configs/digits.py', '--config.evaluate.scores=mcp,confidnt'],
        ["'confidnt'", 'all, or some of: ', 'confidnet_finetuned'],
    ),
    'step without stage': (['--config=configs/digits.py', '--mode=evaluate', '--step=3'], ['--step is set without']),
    'stage without evaluate': (['--config=configs/digits.py', '--stage=baseline'], ['--mode=evaluate']),
    'force without training': (
        ['--config=configs/digits.py', '--mode=evaluate', '--force'],
        ['--mode=evaluate works on a finished one'],
    ),
    'evaluate nothing': (['--config=configs/digits.py', '--mode=evaluate'], ['holds no run', 'train it first']),
    'report nothing': (['--config=configs/digits.py', '--mode=report'], ['holds no run', 'train it first']),
    'batch and devices': (
        ['--config=configs/digits.py', '--config.baseline.batch_size=30'],
        ['config.baseline.batch_size is 30', '8 devices', 'such as 24 or 32'],
    ),
    'unknown tfds data set': (
        ['--config=configs/mnist.py', '--config.data.name=mnits'],
        ["tfds knows no data set 'mnits'"],
    ),
    'no checkpoint to import': (['--config=configs/digits.py', '--mode=import_torch'], ['go together']),
    'no VGG16 encoder': (
        ['--config=configs/digits.py', '--config.baseline.init_from=vgg16.pth'],
        ["model 'mlp' has no VGG16 encoder"],
    ),
    'no predictions': (['--mode=score'], ['--mode=score needs --predictions=FILE']),
    'missing predictions': (['--mode=score', '--predictions=none.npz'], ["there is no predictions file 'none.npz'"]),
    'missing arrays': (
        ['--config=configs/digits.py', '--config.data.source=arrays', '--config.data.path=none.npz'],
        ["config.data.path is 'none.npz', and there is no such file"],
    ),
    'images too small': (
        ['--config=configs/digits.py', '--config.model.name=vgg16'],
        ['needs images of at least 32 x 32 pixels', '8 x 8', 'config.data.image_size'],
    ),
    'wrong task': (
        ['--config=configs/digits.py', '--config.model.name=segnet'],
        ["model 'segnet' is for segmentation"],
    ),
    'too many training examples': (
        ['--config=configs/digits.py', '--config.data.num_train=5000'],
        ['config.data.num_train is 5000', 'are left to train on'],
    ),
    'mean and channels': (
        ['--config=configs/digits.py', '--config.data.mean=(0.1,0.2,0.3)'],
        ['config.data.mean has 3 values', 'the images have 1 channel'],
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
        '--config=configs/mnist.py', f'--config.data.tfds_data_dir={tmp_path / "tfds"}', f'--workdir={tmp_path / "run"}'
    )
    assert 'could not download' in text
    assert '--config.data.tfds_data_dir=DIR' in text


def test_unwritable_workdir(tmp_path):
    (tmp_path / 'file').write_text('not a folder')
    text = message('--config=configs/digits.py', f'--workdir={tmp_path / "file" / "run"}')
    assert 'cannot be written' in text
    assert '--workdir=DIR' in text


def test_a_folder_of_something_else_is_not_taken_over(tmp_path):
    (tmp_path / 'thesis.tex').write_text('years of work')
    text = message('--config=configs/digits.py', f'--workdir={tmp_path}')
    assert 'holds no run (thesis.tex)' in text
    assert (tmp_path / 'thesis.tex').read_text() == 'years of work'


def test_config_file_that_fails(tmp_path):
    (tmp_path / 'broken.py').write_text('def get_config():\n    return 1 / 0\n')
    text = message(f'--config={tmp_path / "broken.py"}', f'--workdir={tmp_path / "run"}')
    assert 'broken.py' in text
    assert 'ZeroDivisionError' in text


def test_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path):
    # BatchNorm-free and unbounded: the loss overflows within a few steps of so high a rate.
    text = message(*TINY, f'--workdir={tmp_path / "run"}', '--config.baseline.learning_rate=1e30', '--mode=train')
    assert 'baseline: the loss is not finite at step ' in text
    assert 'config.baseline.learning_rate' in text
    assert 'Last good checkpoint: step 0' in text
    kept = tmp_path / 'run' / 'baseline' / 'checkpoints'
    assert (kept / '00000000').is_dir()
    assert json.loads((tmp_path / 'run' / 'config.json').read_text())['baseline']['learning_rate'] == 1e30
