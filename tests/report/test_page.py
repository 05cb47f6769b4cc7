"""The page as text: which sections it has, what it says is unavailable, and the files around it."""

import csv
import dataclasses
import importlib
import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from failpred_jax import report
from failpred_jax.registry import SECTIONS, Registry
from failpred_jax.report import export, figures_scores, page
from failpred_jax.report.section import SectionEntry
from failpred_jax.report.view import View
from failpred_jax.results import (
    ClassifierResult,
    DatasetDescription,
    Evaluation,
    Measures,
    Predictions,
    RunDescription,
    ScoreResult,
)

EVIL = '<script>alert(1)</script>'


def own_html(text: str) -> str:
    """Return the page without plotly.js."""
    return re.sub(r'<script type="text/plain" id="plotly-source">.*?</script>', '', text, flags=re.DOTALL)


def build_text(evaluation: Evaluation, folder) -> str:
    """Return the page of an evaluation, in which no section failed."""
    text = own_html(report.build(evaluation, folder, png=False).read_text(encoding='utf-8'))
    assert 'building it failed' not in text
    return text


def sections_of(text: str) -> list[str]:
    return re.findall(r'<section id="(\w+)"', text)


def with_measures(evaluation: Evaluation, **changes) -> Evaluation:
    return dataclasses.replace(evaluation, measures=dataclasses.replace(evaluation.measures, **changes))


@pytest.fixture(scope='module')
def digits_page(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp('digits')
    return folder, build_text(digits, folder)


def test_sections_are_in_their_order_and_linked(digits_page):
    found = sections_of(digits_page[1])
    in_order = sorted(SECTIONS, key=lambda name: (SECTIONS[name].order, name))
    assert found == [name for name in in_order if name in found]
    assert found[0] == 'verdict'
    assert found[-1] == 'made'
    assert re.findall(r'<li><a href="#(\w+)">', digits_page[1]) == found


def test_a_new_section_is_one_file(digits, tmp_path, monkeypatch):
    page_on_adding = (Path(__file__).parents[2] / 'docs' / 'adding.md').read_text(encoding='utf-8')
    (example,) = re.findall(r'```python\n(# failpred_jax/report/sections/.*?)```', page_on_adding, re.DOTALL)
    (tmp_path / 'sizes.py').write_text(example)
    package = importlib.import_module('failpred_jax.report.sections')
    fresh = Registry('report section', package.__name__)
    for name in SECTIONS:
        fresh.register(name)(SECTIONS[name])
    monkeypatch.setattr(package, '__path__', [*package.__path__, str(tmp_path)])
    monkeypatch.setattr('failpred_jax.report.section.SECTIONS', fresh)
    monkeypatch.setattr(page, 'SECTIONS', fresh)
    found = page.make_sections(View(digits))
    assert [section.name for section in found][:3] == ['verdict', 'sizes', 'scores']
    text = page.render(View(digits), found[:2])
    assert f'{len(digits.test.labels)} images, {len(digits.scores)} scores.' in text
    assert '<b>Counted' in text


def test_a_section_that_fails_is_replaced_by_the_reason(digits, tmp_path, monkeypatch, caplog):
    def fail(view, section):
        section.text('half of it')
        raise IndexError('nothing at 7')

    fresh = Registry('report section', 'failpred_jax.report.sections')
    empty = SectionEntry('empty', 'Empty', '?', 2, lambda *_: None)
    for entry in (SectionEntry('bad', 'Bad', '?', 1, fail), SECTIONS['made'], empty):
        fresh.register(entry.name)(entry)
    fresh._is_loaded = True
    said = []
    monkeypatch.setattr(page, 'SECTIONS', fresh)
    monkeypatch.setattr(page, 'say', said.append)
    text = own_html(report.build(digits, tmp_path, png=False).read_text(encoding='utf-8'))
    assert sections_of(text) == ['bad', 'made']
    assert 'This section is unavailable, because building it failed. IndexError: nothing at 7' in text
    assert 'half of it' not in text
    assert said == ["warning: report section 'bad' unavailable: IndexError: nothing at 7"]
    assert 'IndexError' in caplog.text


def test_tables_are_written_as_csv_with_full_precision(digits, digits_page):
    folder, _ = digits_page
    with open(folder / 'scores.csv', encoding='utf-8') as stream:
        rows = {row['score']: row for row in csv.DictReader(stream)}
    expected = digits.scores['mcp']
    assert float(rows['mcp']['auroc']) == expected.metrics['auroc']
    assert float(rows['mcp']['auroc_low']) == expected.intervals['auroc'].low
    assert rows['tcp']['role'] == 'bound'
    assert float(rows['mcp']['risk_at_80coverage']) == expected.metrics['risk_at_80coverage']
    for name in ('classes', 'confusions', 'working_points', 'thresholds', 'paired_differences', 'stages'):
        assert (folder / f'{name}.csv').stat().st_size > 50
    assert [path.name for path in folder.iterdir() if path.name.startswith('.')] == []


def test_hostile_strings_are_text_everywhere(hostile, tmp_path):
    text = build_text(hostile, tmp_path)
    assert EVIL not in text
    assert '<!--<b>' not in text
    assert '&lt;script&gt;alert(1)&lt;/script&gt;' in text
    # Inside JSON the name went through Plotly's escape, then through ours.
    assert '\\u0026lt;script\\u0026gt;alert(1)' in text
    scripts = re.findall(r'<script[^>]*>', text)
    assert all('application/json' in s for s in scripts[:-1])
    assert scripts[-1] == '<script>'
    assert 'content="default-src &#39;none&#39;; script-src &#39;sha256-' in text
    assert not re.search(r'(src|href)="https?:', text)


def test_predictions_alone_make_a_page_that_says_what_is_unavailable(digits, tmp_path):
    scores = {'mcp': ScoreResult({'auroc': 0.9}, role='baseline'), 'confidnet': ScoreResult({'auroc': 0.8})}
    test = dataclasses.replace(digits.test, confidences={name: digits.test.confidences[name] for name in scores})
    run = RunDescription(mode='score', dataset=DatasetDescription(name='mine'))
    bare = Evaluation(Measures(scores=scores), run, test)
    text = build_text(bare, tmp_path)
    for sentence in (
        'Images unavailable: the evaluation was made from predictions alone',
        'Training curves unavailable',
        'Config unavailable: the predictions were made elsewhere',
        'Environment unavailable',
        'Whether the difference to the others is more than chance was not measured',
    ):
        assert sentence in text
    assert 'class 9' in text


def test_nothing_at_all_still_makes_a_page(tmp_path):
    nothing = Predictions(np.zeros(0, np.int32), np.zeros((0, 3), np.float32), np.zeros(0, bool))
    text = build_text(Evaluation(Measures(), RunDescription(), nothing), tmp_path)
    assert sections_of(text)[0] == 'verdict'
    assert 'Scores unavailable: the evaluation holds none.' in text


def test_no_errors_and_undefined_metrics_are_said(digits, tmp_path):
    labels = digits.test.logits.argmax(-1).astype(np.int32)
    perfect = with_measures(
        dataclasses.replace(
            digits, test=dataclasses.replace(digits.test, labels=labels, correct=np.ones(len(labels), bool))
        ),
        classifier=ClassifierResult(len(labels), 0, {'accuracy': 1.0}),
        scores={'mcp': ScoreResult({'auroc': np.nan, 'aurc': 0.0}, role='baseline')},
        undefined={'auroc': 'there are no errors'},
        comparisons=(),
    )
    text = build_text(perfect, tmp_path)
    assert 'The model makes no error on the test set' in text
    assert '<b>auroc</b> is undefined: there are no errors' in text
    assert 'need at least one error and one correct' in text


def test_nan_confidence_leaves_its_curve_out_and_says_so(digits, tmp_path):
    broken = np.array(digits.test.confidences['margin'])
    broken[5] = np.nan
    test = dataclasses.replace(digits.test, confidences={**digits.test.confidences, 'margin': broken})
    assert 'No curves for margin' in build_text(dataclasses.replace(digits, test=test), tmp_path)


def test_ten_thousand_images_stay_small(large, tmp_path):
    path = report.build(large, tmp_path, png=False)
    assert path.stat().st_size < 8e6


def test_a_report_that_cannot_be_written_leaves_the_old_one(digits, tmp_path, monkeypatch):
    (tmp_path / 'index.html').write_text('old')
    monkeypatch.setattr(page, 'render', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError, match='disk full'):
        report.build(digits, tmp_path, png=False)
    assert (tmp_path / 'index.html').read_text() == 'old'


def test_without_kaleido_it_is_said_once_and_nothing_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(export.importlib.util, 'find_spec', lambda name: None)
    said = []
    monkeypatch.setattr(export, 'say_once', said.append)
    figures = {'a': figures_scores.roc({}), 'b': figures_scores.roc({})}
    assert export.write_pngs(figures, tmp_path / 'figures') == []
    assert len(said) == 1
    assert 'kaleido is not installed' in said[0]
    assert not (tmp_path / 'figures').exists()


def test_without_a_browser_it_is_said_once_and_nothing_fails(tmp_path, monkeypatch):
    monkeypatch.setenv('BROWSER_PATH', str(tmp_path / 'nothing'))
    said = []
    monkeypatch.setattr(export, 'say_once', said.append)
    level = logging.getLogger('kaleido').level
    assert export.write_pngs({'a': figures_scores.roc({})}, tmp_path / 'figures') == []
    assert len(said) == 1
    assert said[0].startswith('report: 1 of 1 PNG figures unavailable: ')
    logging.getLogger('kaleido').setLevel(level)


def test_importing_the_package_does_not_pay_for_plotly():
    code = 'import sys, failpred_jax, failpred_jax.report; sys.exit("plotly" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
