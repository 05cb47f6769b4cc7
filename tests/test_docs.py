"""What the documentation shows runs, and the files it links to are there."""

import functools
import importlib.util
import json
import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import failpred_jax
from failpred_jax import apply, main, metrics
from failpred_jax.config import ModelConfig, default_config, read_config
from failpred_jax.models.custom import CustomOptions
from failpred_jax.models.network import make_network
from failpred_jax.prediction_file import read_predictions
from failpred_jax.types import DatasetInfo

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
# Which tests run the Python of which page; those of README.md are each on another page, too.
RUN = {
    'README.md': __file__, 'decisions.md': __file__, 'images.md': __file__, 'importing.md': __file__,
    'metrics.md': __file__, 'models.md': __file__, 'predictions.md': __file__, 'shift.md': __file__,
    'adding.md': 'test_extension.py', 'notebook.md': 'report/test_notebook.py', 'predicting.md': 'e2e/test_predict.py',
    'scores.md': 'scores/test_readme_example.py', 'monitoring.md': 'monitor/test_docs.py',
    'labelling.md': 'test_labelled.py', 'slices.md': 'test_labelled.py',
}  # fmt: skip


def blocks_of(page: str) -> list[str]:
    """Return the Python that a page of the documentation shows, piece by piece."""
    file = next(path for path in PAGES if path.name == page)
    return re.findall(r'^```python\n(.*?)^```', file.read_text(), re.DOTALL | re.MULTILINE)


def run_block(page: str, block: str, **given) -> dict:
    """Run a piece of a page with what its reader has, and return its names."""
    scope = dict(given)
    exec(compile(block, page, 'exec'), scope)  # noqa: S102  (our own page)
    return scope


def test_every_page_with_python_has_a_test_that_runs_it():
    assert {page.name for page in PAGES if blocks_of(page.name)} == RUN.keys()
    for page, test in RUN.items():
        assert page in (Path(__file__).parent / test).read_text()


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
    for block in blocks_of('predictions.md'):
        if 'import torch' in block and importlib.util.find_spec('torch') is None:
            continue
        with warnings.catch_warnings():
            # scikit-learn's solver stops early, which is quick and good enough here.
            warnings.simplefilter('ignore')
            run_block('predictions.md', block, **_what_the_reader_has())
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
    for block in blocks_of('images.md'):
        run_block('images.md', block)
    assert "('bright', 'dark') (18, 8, 8, 3)" in capsys.readouterr().out


def test_the_shift_page_runs(capsys):
    for block in blocks_of('shift.md'):
        run_block('shift.md', block)
    assert '(4, 32, 32, 3) uint8' in capsys.readouterr().out


def test_the_models_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    blocks = blocks_of('models.md')
    for block in blocks[:2]:
        (tmp_path / block.split()[1]).write_text(block)
    run_block('models.md', blocks[2])
    units = read_predictions(tmp_path / 'predictions.npz')
    assert units['evaluated'].features.shape == (120, 16)
    assert sorted(units) == ['evaluated', 'training', 'validation']
    info = DatasetInfo('digits', 'classification', (8, 8, 1), tuple('0123456789'))
    custom = {'custom': CustomOptions('my_model:make')}
    network = make_network(ModelConfig(name='custom', owned=custom), info)
    shapes = jax.eval_shape(network.init, jax.random.key(0))[0]['backbone']['inner']
    assert shapes['Dense_1']['kernel'].shape == (32, 10)


def test_the_readme_evaluates_predictions(capsys, monkeypatch):
    (block,) = (block for block in blocks_of('README.md') if 'evaluate_predictions' in block)
    quick = functools.partial(failpred_jax.evaluate_predictions, resamples=20)
    monkeypatch.setattr(failpred_jax, 'evaluate_predictions', quick)
    found = run_block('README.md', block)
    assert '| mine' in capsys.readouterr().out
    assert found['table'].metrics['classifier']['num_units'] == 1000


def test_the_decisions_page_runs(capsys, tmp_path, monkeypatch):
    """Its promise is made by its own command, and applied by its own code and by that of README.md."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('BROWSER_PATH', '/nonexistent')
    option, arrays, applied, certified = blocks_of('decisions.md')
    config = default_config()
    config.data.source = 'digits'
    run_block('decisions.md', option, config=config)
    assert read_config(config).data.calibration_fraction == 0.25
    made = run_block('decisions.md', arrays)['arrays']
    page = (ROOT / 'docs' / 'decisions.md').read_text()
    command, *_ = re.findall(r'^python -m failpred_jax.main (--mode=decide --predictions=.*)$', page, re.MULTILINE)
    assert main.main(['failpred', *command.split(), '--workdir=run', '--resamples=0']) == 0
    policy = tmp_path / 'run' / 'decisions' / 'policy.json'
    given = {'digest': json.loads(policy.read_text())['model'], 'confidence': made['confidence_mine']}
    # The page has a copy of the file beside it.
    monkeypatch.setitem(sys.modules, 'apply', apply)
    actions = run_block('decisions.md', applied.replace('policy.json', str(policy)), **given)['actions']
    assert {*actions} == {'accept', 'human'}
    readme = next(block for block in blocks_of('README.md') if 'read_policy' in block)
    capsys.readouterr()
    run_block('README.md', readme.replace('runs/digits/decisions/policy.json', str(policy)))
    assert capsys.readouterr().out == "['accept' 'human']\n"
    found = run_block('decisions.md', certified)
    assert np.isfinite(found['found'].threshold) and found['both'].assumes


def test_the_metrics_page_runs(capsys, rng):
    alone, streamed = blocks_of('metrics.md')
    confidence, correct = rng.random(40).astype(np.float32), rng.random(40) < 0.7
    expected = run_block('metrics.md', alone, confidence=confidence, correct=correct)['found']
    assert "'auroc': " in capsys.readouterr().out
    batches = [(confidence[i::2], correct[i::2], np.ones(20, bool)) for i in range(2)]
    found = run_block('metrics.md', streamed, **vars(metrics), validation_confidences=confidence, batches=batches)
    assert found['found'].values['auroc'] == pytest.approx(expected['auroc'], abs=1e-6)


def test_the_importing_page_runs():
    config = default_config()
    config.data.source = 'digits'
    (block,) = blocks_of('importing.md')
    run_block('importing.md', block, config=config)
    read = read_config(config).baseline
    assert read.init_from == 'resnet18.pth' and len(read.init_rename) == 6


def test_the_readme_shows_the_score_that_the_tests_run():
    """tests/scores/test_readme_example.py runs the block of docs/scores.md."""
    shown = {page.name: block for page in PAGES for block in blocks_of(page.name) if '@score(' in block}
    assert shown['README.md'] == shown['scores.md']


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)#]+)', page.read_text()):
        if not target.startswith(('http', 'mailto')):
            assert (page.parent / target).exists(), f'{page.name} links to {target}'
