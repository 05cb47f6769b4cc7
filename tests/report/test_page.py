"""The page as text: what is on it, what is said to be missing, and the files around it."""

import csv
import dataclasses
import json
import logging
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from failpred_jax import report
from failpred_jax.metrics import threshold_counts
from failpred_jax.report import curves, export, figures_scores, page, paper
from failpred_jax.report.sections import augmentation, images, seeds, verdict
from failpred_jax.report.sections import segmentation as segmentation_section
from failpred_jax.report.view import View
from failpred_jax.results import Results

EVIL = '<script>alert(1)</script>'
ALL = ['verdict', 'scores', 'threshold', 'calibration', 'model', 'images', 'made']


def own_html(text: str) -> str:
    """Return the page without plotly.js."""
    return re.sub(r'<script type="text/plain" id="plotly-source">.*?</script>', '', text, flags=re.DOTALL)


def sections_of(text: str) -> list[str]:
    return re.findall(r'<section id="(\w+)"', text)


@pytest.fixture(scope='module')
def digits_page(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp('digits')
    path = report.build(digits, folder, png=False)
    return path, own_html(path.read_text(encoding='utf-8'))


def test_sections_are_in_the_readers_order(digits_page):
    assert sections_of(digits_page[1]) == ALL


def test_verdict_names_the_best_usable_score_with_its_interval_and_equals(digits, digits_page):
    text = digits_page[1]
    best, *others = digits.metrics['best']['aurc']
    assert f'<b>{best}</b> comes out best by AURC' in text
    assert f'cannot tell it apart from <b>{others[0]}</b> and <b>{others[1]}</b>' in text
    assert 'TCP is above 0.99' in text
    assert '<b>mc_dropout</b> is not here: the model has no dropout' in text


def test_upper_bound_is_marked_and_never_best(digits, digits_page):
    view = View(digits)
    assert view.scores[-1] == 'tcp'
    assert view.best != 'tcp'
    assert 'tcp</span> <span class="badge">upper bound</span>' in digits_page[1]


def test_tables_lie_beside_as_csv_with_full_precision(digits, digits_page):
    path, _ = digits_page
    with open(path.parent / 'scores.csv', encoding='utf-8') as stream:
        rows = {row['score']: row for row in csv.DictReader(stream)}
    assert float(rows['mcp']['auroc']) == digits.metrics['scores']['mcp']['auroc']
    assert float(rows['mcp']['auroc_low']) == digits.metrics['scores']['mcp']['ci']['auroc'][0]
    assert rows['tcp']['upper_bound'] == 'True'
    assert 'risk_at_80_coverage' in rows['mcp']
    for name in ('classes', 'confusions', 'working_points', 'thresholds', 'paired_differences', 'stages'):
        assert (path.parent / f'{name}.csv').stat().st_size > 50
    leftovers = [p.name for p in path.parent.iterdir() if p.name.startswith('.')]
    assert leftovers == []


def test_class_tables_match_the_predictions(digits, digits_page):
    with open(digits_page[0].parent / 'classes.csv', encoding='utf-8') as stream:
        rows = list(csv.DictReader(stream))
    predicted = digits.logits.argmax(-1)
    of_class = digits.labels == 3
    assert float(rows[3]['recall']) == pytest.approx((predicted[of_class] == 3).mean())
    assert float(rows[3]['precision']) == pytest.approx((digits.labels[predicted == 3] == 3).mean())
    true_probability = View(digits).true_probability[of_class]
    assert float(rows[3]['mean_tcp']) == pytest.approx(true_probability.mean(), rel=1e-5)
    assert float(rows[3]['median_tcp']) == pytest.approx(np.median(true_probability), rel=1e-5)
    with open(digits_page[0].parent / 'confusions.csv', encoding='utf-8') as stream:
        confusions = list(csv.DictReader(stream))
    wrong = np.bincount(predicted[of_class & (predicted != 3)], minlength=10)
    assert confusions[3]['confusion_1'] == str(wrong.argmax())
    assert int(confusions[3]['count_1']) == wrong.max()


def test_slider_counts_are_exact(digits, digits_page):
    block = re.search(r'id="data-thresholds">(.*?)</script>', digits_page[1]).group(1)
    data = json.loads(block)['scores']['margin']
    confidence = digits.confidences['margin']
    for threshold_, accepted, errors in list(zip(*data.values(), strict=True))[:: len(data['errors']) // 20]:
        keeps = confidence >= np.float32(threshold_)
        assert (accepted, errors) == (keeps.sum(), (keeps & ~digits.correct).sum())
    assert data['accepted'][0] == len(confidence)
    assert data['accepted'] == sorted(data['accepted'], reverse=True)


def test_threshold_rules_at_coverage_and_at_risk():
    confidence = np.array([0.9, 0.8, 0.8, 0.7, 0.1], np.float32)
    counts = threshold_counts(confidence, np.array([True, True, False, True, False]))
    assert counts.units[curves.row_at_coverage(counts, 0.2)] == 1
    # The tie at 0.8 cannot be split: at least 40 % means 60 %.
    assert counts.units[curves.row_at_coverage(counts, 0.4)] == 3
    assert counts.units[curves.row_at_coverage(counts, 1.0)] == 5
    assert counts.units[curves.row_at_risk(counts, 0.25)] == 4
    assert counts.units[curves.row_at_risk(counts, 0.0)] == 1
    all_wrong = threshold_counts(confidence, np.zeros(5, bool))
    assert curves.row_at_risk(all_wrong, 0.5) is None


def test_hostile_strings_are_text_everywhere(hostile, tmp_path):
    path = report.build(hostile, tmp_path, png=False)
    text = own_html(path.read_text(encoding='utf-8'))
    assert EVIL not in text
    assert '<!--<b>' not in text
    assert '&lt;script&gt;alert(1)&lt;/script&gt;' in text
    # Inside JSON the name went through Plotly's escape, then through ours.
    assert '\\u0026lt;script\\u0026gt;alert(1)' in text
    scripts = re.findall(r'<script[^>]*>', text)
    assert all('application/json' in s for s in scripts[:-1])
    assert scripts[-1] == '<script>'
    assert 'content="default-src &#x27;none&#x27;; script-src &#x27;sha256-' in text
    assert not re.search(r'(src|href)="https?:', text)


def test_images_groups_are_what_they_say(digits):
    view = View(digits)
    groups = {group.name: group.chosen for group in images._groups(view)}
    mcp = view.probabilities.max(-1)
    right, wrong = groups['confident_correct'], groups['confident_wrong']
    assert digits.correct[right].all()
    assert not digits.correct[wrong].any()
    assert len(wrong) == 12
    assert len(right) == max(12, int(np.ceil(0.01 * digits.correct.sum())))
    assert mcp[right].min() >= np.sort(mcp[digits.correct])[-len(right)]
    assert (np.diff(mcp[wrong]) <= 0).all()
    low = groups['right_low_tcp']
    assert digits.correct[low].all()
    assert (view.true_probability[low] < 0.3).all()
    learned = digits.confidences['confidnet_finetuned']
    gap = np.abs(images._rank(learned) - images._rank(mcp))
    assert groups['disagreement'][0] == gap.argmax()


def test_ranks_share_ties():
    np.testing.assert_allclose(images._rank(np.array([5.0, 1.0, 5.0])), [0.75, 0.0, 0.75])


def test_predictions_alone_make_a_page_that_says_what_is_missing(digits, tmp_path):
    bare = Results(
        {'classifier': {}, 'scores': {'mcp': {'auroc': 0.9}}},
        {'dataset': {'name': 'mine'}, 'mode': 'score'},
        *(digits.labels, digits.logits, digits.correct),
        {'mcp': digits.confidences['mcp']},
    )
    text = own_html(report.build(bare, tmp_path, png=False).read_text(encoding='utf-8'))
    assert sections_of(text) == ALL
    for sentence in (
        'holds no test images',
        'No temperature was fitted',
        'No training history is here',
        'No config: the predictions came from outside',
        'No environment was recorded',
        'Whether it differs from the others by more than chance was not measured',
    ):
        assert sentence in text
    assert 'class 9' in text


def test_nothing_at_all_still_makes_a_page(tmp_path):
    empty = Results({}, {}, np.zeros(0, np.int32), np.zeros((0, 3), np.float32), np.zeros(0, bool), {})
    text = own_html(report.build(empty, tmp_path, png=False).read_text(encoding='utf-8'))
    assert sections_of(text) == ALL
    assert 'The evaluation holds no scores.' in text


def test_no_errors_and_undefined_metrics_are_said(digits, tmp_path):
    labels = digits.logits.argmax(-1).astype(np.int32)
    metrics = {
        'classifier': {'accuracy': 1.0, 'num_errors': 0, 'num_units': len(labels)},
        'scores': {'mcp': {'auroc': None, 'aurc': 0.0}},
        'undefined': {'auroc': 'there are no errors'},
    }
    perfect = dataclasses.replace(digits, metrics=metrics, labels=labels, correct=np.ones(len(labels), bool))
    text = own_html(report.build(perfect, tmp_path, png=False).read_text(encoding='utf-8'))
    assert 'The model makes no error on the test set' in text
    assert '<b>auroc</b> is undefined: there are no errors' in text
    assert 'need at least one error and one correct' in text


def test_nan_confidence_leaves_its_curve_out_and_says_so(digits, tmp_path):
    broken = np.array(digits.confidences['margin'])
    broken[5] = np.nan
    results = dataclasses.replace(digits, confidences={**digits.confidences, 'margin': broken})
    text = own_html(report.build(results, tmp_path, png=False).read_text(encoding='utf-8'))
    assert 'No curves for margin' in text


def test_segmentation_from_precomputed_curves_and_maps(segmentation, tmp_path):
    text = own_html(report.build(segmentation, tmp_path, png=False).read_text(encoding='utf-8'))
    assert sections_of(text) == [*ALL[:-1], 'segmentation', 'made']
    assert text.count('<figcaption>errors</figcaption>') == 6
    assert text.count('<figcaption>tcp (upper bound)</figcaption>') == 6
    titles = re.findall(r'<h3>(Among the best|Around the median|Among the worst)', text)
    assert titles == ['Among the best'] * 2 + ['Around the median'] * 2 + ['Among the worst'] * 2
    assert 'CamVid, SegNet' in text
    assert 'Mean IoU' in text
    with open(tmp_path / 'classes.csv', encoding='utf-8') as stream:
        assert next(csv.DictReader(stream))['support'] == str(int((segmentation.maps['label'] == 0).sum()))
    with open(tmp_path / 'iou.csv', encoding='utf-8') as stream:
        assert [row['iou'] for row in csv.DictReader(stream)] == ['0.91', '0.72', '0.95', '0.61', '0.33', '']


def test_maps_paint_errors_and_void():
    label, prediction = np.array([[0, 1, -1]]), np.array([[0, 0, 0]])
    painted = segmentation_section.paint_errors(label, prediction, 2)
    assert painted.tolist() == [[list(c) for c in ((228, 232, 235), (213, 94, 0), (128, 128, 128))]]
    confidence = segmentation_section.paint_confidence(np.array([[0.0, 1.0, np.nan]]), 0, 1)
    assert confidence[0, 0].sum() < confidence[0, 1].sum()
    assert confidence[0, 2].tolist() == [128, 128, 128]
    colors = segmentation_section.class_colors(12)
    assert len({tuple(c) for c in colors.tolist()}) == 12


@pytest.mark.parametrize('as_list', [True, False])
def test_seeds_are_read_in_either_layout(as_list):
    runs = {
        '0': {'classifier': {'accuracy': 0.9}, 'scores': {'mcp': {'aurc': 0.1}}},
        '7': {'metrics': {'scores': {'mcp': {'aurc': 0.3}}}},
    }
    given = [{'seed': int(seed), **run} for seed, run in runs.items()] if as_list else runs
    found = seeds.read_seeds(given)
    assert list(found) == ['0', '7']
    assert found['7']['scores']['mcp']['aurc'] == 0.3


def test_seeds_section_shows_means_and_spreads(digits, tmp_path):
    tables = {s: {'scores': {'mcp': {'aurc': 0.1 + s / 10, 'auroc': 0.9}}} for s in range(3)}
    results = dataclasses.replace(digits, context={**digits.context, 'seeds': tables})
    text = own_html(report.build(results, tmp_path, png=False).read_text(encoding='utf-8'))
    assert sections_of(text) == [*ALL[:-1], 'seeds', 'made']
    with open(tmp_path / 'seeds.csv', encoding='utf-8') as stream:
        row = next(csv.DictReader(stream))
    assert float(row['aurc']) == pytest.approx(0.2)
    assert float(row['aurc_std']) == pytest.approx(0.1)
    assert seeds.make(View(digits)) is None


def test_paper_stands_beside_known_experiments():
    assert paper.experiment_of('mnist', 'mlp') == 'MNIST, MLP'
    assert paper.experiment_of('mnist', 'small_convnet_mnist') == 'MNIST, small convnet'
    assert paper.experiment_of('svhn_cropped', 'x') == 'SVHN, small convnet'
    assert paper.experiment_of('emnist', 'mlp') is None
    rows = paper.comparison('CIFAR-10, VGG16', {'mcp': {}, 'confidnet_finetuned': {}})
    assert rows[0][:2] == ('mcp', 'mcp')
    assert rows[-1][:2] == ('confidnet', 'confidnet_finetuned')
    assert rows[1][1] is None
    assert rows[0][2] == pytest.approx((0.475, 0.4536, 0.9919, 0.9153))
    assert all(len(values) == 4 for table in paper.FIGURES.values() for values in table.values())


def test_few_errors_are_warned_about(digits):
    metrics = {**digits.metrics, 'classifier': {'accuracy': 0.99, 'num_errors': 12, 'num_units': 1200}}
    warnings = verdict._warnings(View(dataclasses.replace(digits, metrics=metrics)))
    assert any('only 12 errors' in str(warning) for warning in warnings)


def test_ten_thousand_images_stay_small_and_quick(large, tmp_path):
    started = time.perf_counter()
    path = report.build(large, tmp_path, png=False)
    assert time.perf_counter() - started < 30  # about 3 s on an idle core
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
    assert said[0].startswith('report: 1 of 1 PNG figures are missing: ')
    logging.getLogger('kaleido').setLevel(level)


def test_importing_the_package_does_not_pay_for_plotly():
    code = 'import sys, failpred_jax, failpred_jax.report; sys.exit("plotly" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_augmented_images_are_shown_where_there_are_any(digits, segmentation):
    assert augmentation.make(View(digits)) is None
    drawn = {'image': np.zeros((2, 3, 8, 8, 1), np.uint8), 'index': np.array([4, 9])}
    context = {
        **digits.context,
        'config': {'data': {'augment': {'flip': True, 'rotate_degrees': 15.0, 'contrast': 0.0}}},
    }
    section = augmentation.make(View(dataclasses.replace(digits, context=context, augmented=drawn)))
    text = ''.join(section.parts)
    assert '(flip, rotate_degrees 15.0)' in text
    assert text.count('<img') == 6
    assert 'image 9, as stored' in text
    assert len(section.figures['augmentation'].layout.images) == 6
    drawn = {
        'image': np.zeros((1, 3, 12, 16, 3), np.uint8),
        'label': np.full((1, 3, 12, 16), -1),
        'index': np.array([0]),
    }
    section = augmentation.make(View(dataclasses.replace(segmentation, augmented=drawn)))
    text = ''.join(section.parts)
    assert text.count('<img') == 6
    assert 'labels of draw 2' in text
    assert 'moved together' in text
