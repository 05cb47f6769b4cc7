"""The files that docs/adding.md shows are put into the package, one of each kind, and nothing else changes.

What they register is then named by a config, trained, measured, tabulated and shown in the page.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
CONFIG = """
from failpred_jax.config import default_config


def get_config():
    config = default_config()
    config.data.source = 'noisy_digits'
    config.model.name = 'two_layers'
    config.model.head_units = (16,)
    config.confidence.loss = 'tcp_absolute'
    config.baseline.epochs = 6
    config.baseline.batch_size = 32
    config.baseline.learning_rate = 0.05
    config.baseline.optimizer = 'clipped_sgd'
    config.baseline.clipped_sgd.max_norm = 5.0
    config.baseline.schedule = 'inverse_root'
    config.baseline.inverse_root.epochs = 4.0
    config.baseline.recipes = ('noise',)
    config.baseline.init_from = 'start.npz'
    config.baseline.noise.strength = 0.2
    config.confidence.epochs = 4
    config.confidence.tcp_absolute.slack = 0.01
    config.finetune.epochs = 0
    config.evaluate.scores = ('mcp', 'confidnet', 'logit_lead')
    config.evaluate.resamples = 20
    config.evaluate.shifts = ('solarize:2',)
    return config
"""


def examples() -> dict[str, str]:
    """Return path in the repository -> content of the files that the documentation shows."""
    text = (ROOT / 'docs' / 'adding.md').read_text()
    found = dict(re.findall(r'```python\n# (failpred_jax/\S+)\n(.*?)```', text, re.DOTALL))
    (score,) = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'scores.md').read_text(), re.DOTALL)
    return found | {'failpred_jax/scores/logit_lead.py': f'"""The lead of the largest logit."""\n\n{score}'}


# As TensorFlow names them; of the widths that the run sets.
START = {
    f'{layer}/{part}:0': np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
    for layer, (rows, columns) in {'fc1': (64, 24), 'fc2': (24, 24), 'logits': (24, 10)}.items()
    for part, shape in {'kernel': (rows, columns), 'bias': (columns,)}.items()
}


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Return the WORKDIR of a run of a copy of the package with the examples in it, and what its commands printed."""
    folder = tmp_path_factory.mktemp('extended')
    shutil.copytree(ROOT / 'failpred_jax', folder / 'failpred_jax', ignore=shutil.ignore_patterns('__pycache__'))
    for path, body in examples().items():
        assert not (folder / path).exists(), f'{path} of the documentation is a file of the package by now'
        (folder / path).write_text(body)
    (folder / 'mine.py').write_text(CONFIG)
    np.savez(folder / 'start.npz', **START)
    options = ('--config.data.noisy_digits.noise=0.3', '--config.model.two_layers.width=24')
    ran = ('--config=mine.py', '--workdir=run')
    out = programs(folder, [*ran, *options], [*ran, '--mode=parts', '--part=train'])
    return folder / 'run', out


TWICE = """
import sys
from failpred_jax import main
for words in {calls!r}:
    print('next')
    if main.main(['failpred', *words]):
        sys.exit('failed')
"""


def programs(folder, *calls):
    """Run command lines of the copy of the package, one after the other in one process; return what each prints."""
    done = subprocess.run(
        [sys.executable, '-c', TWICE.format(calls=calls)],
        cwd=folder,
        # The package that is found first has to be the copy; PNGs of figures take longer than the run.
        env=os.environ | {'PYTHONPATH': str(folder), 'BROWSER_PATH': '/nonexistent'},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split('next\n')[1:]


def test_the_new_command_runs_with_its_own_flag(runs):
    assert re.fullmatch(r'train: [\d,]+ examples\n', runs[1][1])


@pytest.fixture
def extended(runs):
    return runs[0]


def test_the_documentation_shows_one_file_of_each_kind():
    rooms = sorted(Path(path).parent.name for path in examples())
    assert rooms == [
        'commands', 'corruptions', 'data', 'losses', 'metrics', 'models', 'optimizers', 'recipes', 'schedules',
        'scores', 'sections', 'weights',
    ]  # fmt: skip


def test_the_new_source_model_loss_optimizer_schedule_and_recipe_are_trained_with_their_options(extended):
    config = json.loads((extended / 'config.json').read_text())
    assert config['data']['noisy_digits'] == {'noise': 0.3}
    assert config['model']['two_layers'] == {'width': 24}
    assert config['confidence']['tcp_absolute'] == {'slack': 0.01}
    assert config['baseline']['noise'] == {'strength': 0.2}
    assert config['baseline']['clipped_sgd'] == {'max_norm': 5.0}
    rates = np.genfromtxt(extended / 'baseline' / 'metrics.csv', delimiter=',', names=True)['learning_rate']
    assert rates[-1] == pytest.approx(0.05 / np.sqrt(1 + 6 / 4), rel=0.01)
    assert {p.parent.name for p in extended.glob('*/result.json')} == {'baseline', 'confidence'}
    metrics = json.loads((extended / 'evaluation' / 'metrics.json').read_text())
    assert 0.5 < metrics['scores']['mcp']['accuracy'] < 1


def test_the_new_weights_format_is_recognized_and_the_run_starts_there(runs):
    assert "baseline: starts from start.npz (TensorFlow's variables)" in runs[1][0]


def test_the_new_score_and_metric_are_measured(extended):
    scores = json.loads((extended / 'evaluation' / 'metrics.json').read_text())['scores']
    assert set(scores) == {'mcp', 'confidnet', 'logit_lead'}
    for name, found in scores.items():
        assert 0 <= found['error_free_coverage'] < 1, name
        low, high = found['ci']['error_free_coverage']
        assert low <= high
    assert scores['mcp']['error_free_coverage'] != scores['confidnet']['error_free_coverage']


def test_the_new_corruption_is_measured(extended):
    (found,) = json.loads((extended / 'shift' / 'shift.json').read_text())['sets']
    assert found['name'] == 'solarize:2'
    assert found['description'] == 'bright pixels turned over; severity 2'
    assert 0.1 < found['accuracy'] < 1
    assert set(found['scores']) == {'mcp', 'confidnet', 'logit_lead'}


def test_the_new_score_and_metric_are_tabulated(extended):
    header, _, *rows = [
        line for line in (extended / 'evaluation' / 'table.md').read_text().splitlines() if line.startswith('|')
    ]
    assert 'Error-free coverage' in header
    assert any('logit_lead' in row for row in rows)


def test_the_new_score_and_metric_are_in_the_page(extended):
    page = (extended / 'report' / 'index.html').read_text()
    assert 'Error-free coverage' in page
    assert 'Share of units whose confidence is higher than that of every error.' in page
    assert 'perfect selective classification' in page
    assert 'lead of the largest logit over the second' in page


def test_the_new_section_is_in_the_page(extended):
    page = (extended / 'report' / 'index.html').read_text()
    assert re.findall(r'<section id="(\w+)"', page)[:3] == ['verdict', 'sizes', 'scores']
    assert ' images, 3 scores.' in page
