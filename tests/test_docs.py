"""What the documentation shows runs, and the files it links to are there."""

import re
import warnings
from pathlib import Path

import pytest

from failpred_jax.prediction_file import read_predictions

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def test_the_predictions_page_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'predictions.md').read_text(), re.DOTALL)
    for block in blocks:
        with warnings.catch_warnings():
            # scikit-learn's solver stops early, which is quick and good enough here.
            warnings.simplefilter('ignore')
            exec(compile(block, 'predictions.md', 'exec'), {})  # noqa: S102  (our own page)
    assert '| mine' in capsys.readouterr().out
    units = read_predictions(tmp_path / 'predictions.csv')['evaluated']
    assert units.outputs_are == 'probabilities'
    assert units.class_names == tuple(map(str, range(10)))


def test_the_images_page_runs(capsys):
    for block in re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'images.md').read_text(), re.DOTALL):
        exec(compile(block, 'images.md', 'exec'), {})  # noqa: S102  (our own page)
    assert "('bright', 'dark') (18, 8, 8, 3)" in capsys.readouterr().out


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
