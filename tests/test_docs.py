"""What the documentation shows runs, and the files it links to are there."""

import importlib.util
import json
import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from failpred_jax.config import ModelConfig
from failpred_jax.models.custom import CustomOptions
from failpred_jax.models.network import make_network
from failpred_jax.prediction_file import read_predictions
from failpred_jax.types import DatasetInfo

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def _what_the_reader_has() -> dict:
    """Return what the snippets of other libraries take as given, where these themselves are too large to install."""
    labels, logits = np.array([0, 1, 1, 0, 1, 0]), np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    found = {
        'trainer': SimpleNamespace(predict=lambda _: SimpleNamespace(label_ids=labels, predictions=logits)),
        'keras_model': SimpleNamespace(predict=lambda _: 1 / (1 + np.exp(-logits[:, :1]))),
        'labels': labels,
        'images': None,
        'test_set': None,
    }
    if importlib.util.find_spec('torch') is None:
        return found
    import torch

    batch = torch.from_numpy(logits[:3]), torch.from_numpy(labels[:3])
    return {**found, 'model': torch.nn.Identity(), 'batches': [batch, batch]}


def test_the_predictions_page_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'predictions.md').read_text(), re.DOTALL)
    for block in blocks:
        if 'import torch' in block and importlib.util.find_spec('torch') is None:
            continue
        with warnings.catch_warnings():
            # scikit-learn's solver stops early, which is quick and good enough here.
            warnings.simplefilter('ignore')
            exec(compile(block, 'predictions.md', 'exec'), _what_the_reader_has())  # noqa: S102  (our own page)
    for file in ('predictions.pt', 'predictions.npz', 'colleague.csv', 'answers.jsonl'):
        if (tmp_path / file).exists():
            assert read_predictions(tmp_path / file)['evaluated'].num_units in (2, 3, 6), file
    assert '| mine' in capsys.readouterr().out
    units = read_predictions(tmp_path / 'predictions.csv')['evaluated']
    assert units.outputs_are == 'probabilities'
    assert units.class_names == tuple(map(str, range(10)))


def test_no_figure_of_the_results_is_typed():
    spec = importlib.util.spec_from_file_location('results', ROOT / 'benchmarks' / 'results.py')
    results = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(results)
    text, kept = (ROOT / 'README.md').read_text(), ROOT / 'docs' / 'results' / f'{results.SHOWN}.json'
    assert results.readme(text, json.loads(kept.read_text())) == text
    assert results.page(ROOT / 'docs' / 'results') == (ROOT / 'docs' / 'results.md').read_text()


def test_the_images_page_runs(capsys):
    for block in re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'images.md').read_text(), re.DOTALL):
        exec(compile(block, 'images.md', 'exec'), {})  # noqa: S102  (our own page)
    assert "('bright', 'dark') (18, 8, 8, 3)" in capsys.readouterr().out


def test_the_shift_page_runs(capsys):
    for block in re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'shift.md').read_text(), re.DOTALL):
        exec(compile(block, 'shift.md', 'exec'), {})  # noqa: S102  (our own page)
    assert '(4, 32, 32, 3) uint8' in capsys.readouterr().out


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_the_models_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'models.md').read_text(), re.DOTALL)
    for block in blocks[:2]:
        (tmp_path / block.split()[1]).write_text(block)
    exec(compile(blocks[2], 'models.md', 'exec'), {})  # noqa: S102  (our own page)
    units = read_predictions(tmp_path / 'predictions.npz')
    assert units['evaluated'].features.shape == (120, 16)
    assert sorted(units) == ['evaluated', 'training', 'validation']
    info = DatasetInfo('digits', 'classification', (8, 8, 1), tuple('0123456789'))
    custom = {'custom': CustomOptions('my_model:make')}
    network = make_network(ModelConfig(name='custom', owned=custom), info)
    shapes = jax.eval_shape(network.init, jax.random.key(0))[0]['backbone']['inner']
    assert shapes['Dense_1']['kernel'].shape == (32, 10)


def test_the_readme_shows_the_score_that_the_tests_run():
    """tests/scores/test_readme_example.py runs the block of docs/scores.md."""
    blocks = [re.findall(r'```python\n(.*?)```', page.read_text(), re.DOTALL) for page in PAGES if page.exists()]
    shown = {
        page.name: block for page, found in zip(PAGES, blocks, strict=True) for block in found if '@score(' in block
    }
    assert shown['README.md'] == shown['scores.md']


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)#]+)', page.read_text()):
        if not target.startswith(('http', 'mailto')):
            assert (page.parent / target).exists(), f'{page.name} links to {target}'
