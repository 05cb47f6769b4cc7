"""What single sections hold, number by number."""

import csv
import dataclasses
import json
import re

import htpy as h
import numpy as np
import pytest

from failpred_jax import report
from failpred_jax.metrics import threshold_counts
from failpred_jax.registry import SECTIONS
from failpred_jax.report import curves, paint, paper
from failpred_jax.report.section import Section
from failpred_jax.report.sections import images, verdict
from failpred_jax.report.view import FEW, View
from failpred_jax.results import (
    CalibratedScore,
    ClassFailures,
    ClassifierResult,
    Evaluation,
    Interval,
    Measures,
    Predictions,
    ScoreResult,
    SeedComparison,
    SeedResult,
    SeedsSummary,
    Spread,
    WorkingPoint,
)


def fill(name: str, evaluation: Evaluation) -> Section:
    """Return one section of an evaluation."""
    section = Section(name, '', '')
    SECTIONS[name].fill(View(evaluation), section)
    return section


def text_of(section: Section) -> str:
    return str(h.div[section.parts])


def rows_of(section: Section, table: str) -> list[dict[str, str]]:
    found = next(one for one in section.tables if one.name == table)
    return list(csv.DictReader(found.to_csv().splitlines()))


def with_measures(evaluation: Evaluation, **changes) -> Evaluation:
    return dataclasses.replace(evaluation, measures=dataclasses.replace(evaluation.measures, **changes))


def test_verdict_names_the_best_usable_score_and_those_tied_with_it(digits):
    text = text_of(fill('verdict', digits))
    best, *others = digits.measures.best['aurc']
    assert f'<b>{best}</b> is best by AURC' in text
    assert f'cannot be told apart from <b>{others[0]}</b> and <b>{others[1]}</b>' in text
    assert 'TCP is above 0.99' in text


def test_unavailable_scores_are_listed_with_the_reason(digits):
    assert '<b>mc_dropout</b> unavailable: the model has no dropout' in text_of(fill('scores', digits))


def test_upper_bound_is_marked_and_never_best(digits):
    view = View(digits)
    assert view.scores[-1] == 'tcp'
    assert view.best != 'tcp'
    assert '>tcp</span> <span class="badge">upper bound</span>' in text_of(fill('scores', digits))


def test_a_metric_is_shown_as_it_describes_itself_whatever_its_name(digits):
    described = dataclasses.replace(digits.run.metrics['auroc'], label='Mine &', definition='What "mine" is.')
    run = dataclasses.replace(digits.run, metrics={**digits.run.metrics, 'mine': described})
    scores = {
        name: dataclasses.replace(found, metrics={**found.metrics, 'mine': 0.5, 'unknown_one': 0.25})
        for name, found in digits.scores.items()
    }
    section = fill('scores', dataclasses.replace(with_measures(digits, scores=scores), run=run))
    text = text_of(section)
    assert 'title="What &#34;mine&#34; is.">Mine &amp;\u00a0\u2191</button>' in text
    assert '>unknown one</button>' in text
    assert {row['mine'] for row in rows_of(section, 'scores')} == {'0.5'}


@pytest.mark.parametrize(('num_errors', 'found'), [(12, '12 errors'), (747, '3 correct predictions'), (1, '1 error')])
def test_few_errors_and_few_correct_predictions_are_treated_alike(digits, num_errors, found):
    classifier = ClassifierResult(750, num_errors, {'accuracy': 1 - num_errors / 750})
    few = with_measures(digits, classifier=classifier)
    assert View(few).scarce == found
    assert any(f'only {found}' in str(warning) for warning in verdict.warnings_of(View(few)))
    text = text_of(fill('verdict', few))
    assert f'With only {found}, the scores can hardly be told apart.' in text
    auroc = View(few).with_unit('auroc', View(few).metric(View(few).best, 'auroc'), 1)
    is_shown = f'<b>{auroc}</b><span>AUROC</span>' in text
    assert is_shown == (min(num_errors, 750 - num_errors) >= verdict.TOO_FEW)


def test_enough_of_both_is_not_warned_about(digits):
    classifier = ClassifierResult(750, FEW, {'accuracy': 1 - FEW / 750})
    assert View(with_measures(digits, classifier=classifier)).scarce == ''
    assert f'{FEW / 7.5:.1f}\u202f% by chance' in text_of(fill('verdict', with_measures(digits, classifier=classifier)))


def test_class_tables_match_the_predictions(digits):
    section = fill('model', digits)
    rows, labels, predicted = rows_of(section, 'classes'), digits.test.labels, digits.test.logits.argmax(-1)
    of_class = labels == 3
    assert float(rows[3]['recall']) == pytest.approx((predicted[of_class] == 3).mean())
    assert float(rows[3]['precision']) == pytest.approx((labels[predicted == 3] == 3).mean())
    true_probability = View(digits).true_probability[of_class]
    assert float(rows[3]['mean_tcp']) == pytest.approx(true_probability.mean(), rel=1e-5)
    assert float(rows[3]['median_tcp']) == pytest.approx(np.median(true_probability), rel=1e-5)
    confusions = rows_of(section, 'confusions')
    for c in range(10):
        wrong = np.bincount(predicted[(labels == c) & (predicted != c)], minlength=10)
        assert int(confusions[c]['errors']) == wrong.sum()
        top = np.sort(wrong[wrong > 0])[::-1][:5]
        assert [int(confusions[c][f'count_{rank}'] or 0) for rank in range(1, 6)] == [*top, *[0] * (5 - len(top))]
        named = [confusions[c][f'confusion_{rank}'] for rank in range(1, len(top) + 1)]
        assert [wrong[int(name)] for name in named] == list(top)


def test_slider_counts_are_exact(digits):
    block = re.search(r'id="data-thresholds">(.*?)</script>', str(h.div[fill('threshold', digits).data]))
    data = json.loads(block.group(1))['scores']['margin']
    confidence = digits.test.confidences['margin']
    for threshold_, accepted, errors in list(zip(*data.values(), strict=True))[:: len(data['errors']) // 20]:
        keeps = confidence >= np.float32(threshold_)
        assert (accepted, errors) == (keeps.sum(), (keeps & ~digits.test.correct).sum())
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


def test_images_groups_are_what_they_say(digits):
    view, correct = View(digits), digits.test.correct
    groups = {group.name: group.chosen for group in images.groups_of(view)}
    mcp = view.class_probability
    right, wrong = groups['confident_correct'], groups['confident_wrong']
    assert correct[right].all()
    assert not correct[wrong].any()
    assert len(wrong) == 12
    assert len(right) == max(12, int(np.ceil(0.01 * correct.sum())))
    assert mcp[right].min() >= np.sort(mcp[correct])[-len(right)]
    assert (np.diff(mcp[wrong]) <= 0).all()
    low = groups['right_low_tcp']
    assert correct[low].all()
    assert (view.true_probability[low] < 0.3).all()
    learned = digits.test.confidences[view.learned]
    gap = np.abs(images._rank(learned) - images._rank(mcp))
    assert groups['disagreement'][0] == gap.argmax()


def test_ranks_share_ties():
    np.testing.assert_allclose(images._rank(np.array([5.0, 1.0, 5.0])), [0.75, 0.0, 0.75])


@pytest.mark.parametrize('shape', [(16, 16, 13), (3, 16, 16), (1, 200, 2), (70, 1, 4)])
def test_images_of_any_shape_are_shown_with_a_note(digits, shape):
    num = len(digits.test.labels)
    odd = dataclasses.replace(digits, images=np.zeros((num, *shape), np.uint8))
    section = fill('images', odd)
    assert f'The images have {shape[-1]} channels; the first' in text_of(section)
    assert text_of(section).count('<img') == text_of(fill('images', digits)).count('<img') > 20
    drawn = {'image': np.zeros((2, 3, *shape), np.uint8), 'index': np.array([4, 9])}
    assert text_of(fill('augmentation', dataclasses.replace(digits, augmented=drawn))).count('<img') == 6


def test_images_that_cannot_be_shown_are_left_out_with_the_reason(digits):
    empty = dataclasses.replace(digits, images=np.zeros((len(digits.test.labels), 8, 8, 0), np.uint8))
    section = fill('images', empty)
    assert f'Images unavailable: an array of shape {empty.images.shape}' in text_of(section)
    assert section.figures == {}


def test_segmentation_from_counts_and_maps(segmentation, tmp_path):
    text = report.build(segmentation, tmp_path, png=False).read_text(encoding='utf-8')
    assert 'building it failed' not in text
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


def test_limits_of_counted_values_are_shown_and_written(segmentation):
    limits = {'auroc': Interval(0.25, 0.75), 'aurc': Interval(0.5, 0.5)}
    counted = {'mcp': dataclasses.replace(segmentation.scores['mcp'], limits=limits)}
    section = fill('scores', with_measures(segmentation, scores=counted))
    row = rows_of(section, 'scores')[0]
    assert (row['auroc_at_least'], row['auroc_at_most']) == ('0.25', '0.75')
    assert 'aurc_at_least' not in row
    assert 'title="between 25.00\u201375.00"' in text_of(section)


def test_of_a_sample_calibration_is_drawn_from_the_counts_of_all_units(digits, segmentation):
    sample = dataclasses.replace(
        segmentation,
        test=Predictions(digits.test.labels[:90] % 6, digits.test.logits[:90, :6], digits.test.correct[:90]),
    )
    text = text_of(fill('calibration', sample))
    assert 'class probability' not in text
    assert '<strong>mcp</strong> ECE 7.00' in text


def test_what_is_undefined_for_classes_stands_with_the_classes(segmentation):
    found = with_measures(segmentation, undefined={'iou': 'no pedestrian', 'mcp.auroc': 'no error'})
    assert 'no pedestrian' in text_of(fill('model', found))
    verdict_text = text_of(fill('verdict', found))
    assert 'no pedestrian' not in verdict_text
    assert '<b>mcp.auroc</b> is undefined: no error' in verdict_text


def test_maps_show_errors_and_void():
    label, prediction = np.array([[0, 1, -1]]), np.array([[0, 0, 0]])
    painted = paint.errors(label, prediction, 2)
    assert painted.tolist() == [[list(c) for c in ((228, 232, 235), (213, 94, 0), (128, 128, 128))]]
    confidence = paint.confidence(np.array([[0.0, 1.0, np.nan]]), 0, 1)
    assert confidence[0, 0].sum() < confidence[0, 1].sum()
    assert confidence[0, 2].tolist() == [128, 128, 128]
    assert len({tuple(c) for c in paint.class_colors(12).tolist()}) == 12


def test_seeds_section_shows_means_spreads_and_differences(digits):
    values = {0: 0.1, 1: 0.2, 2: 0.3}
    found = tuple(
        SeedResult(seed, Measures(scores={'mcp': ScoreResult({'aurc': value}, role='baseline')}))
        for seed, value in values.items()
    )
    summary = SeedsSummary(
        tuple(values),
        {'accuracy': Spread(0.9, 0.01)},
        {'mcp': {'aurc': Spread(0.2, 0.1)}},
        (SeedComparison('aurc', 'margin', 'mcp', -0.01, 0.02, 0.6, 3),),
        ('Three seeds say little.',),
    )
    section = fill('seeds', dataclasses.replace(with_measures(digits, seeds=summary), seeds=found))
    row = rows_of(section, 'seeds')[0]
    assert (float(row['aurc']), float(row['aurc_std'])) == (0.2, 0.1)
    assert rows_of(section, 'seed_differences')[0]['mean'] == '-0.01'
    assert list(section.figures['seeds'].data[0].x) == pytest.approx([10, 20, 30])
    assert 'seeds 0, 1 and 2. Accuracy 90.00 \u00b1 1.00\u202f%.' in text_of(section)
    assert 'Three seeds say little.' in text_of(section)
    assert fill('seeds', digits).parts == []


def test_what_is_calibrated_chosen_beforehand_and_per_class_is_shown(digits):
    mcp, learned = digits.scores['mcp'], digits.scores['confidnet']
    calibrated = CalibratedScore(
        {'before': {'ece': 0.2, 'nll': 0.5}, 'beta': {'ece': 0.05, 'nll': 0.4}},
        {'beta': {'ece': Interval(0.04, 0.07)}},
        'beta',
        notes=('a note on the fit',),
    )
    points = (
        WorkingPoint('coverage', 0.8, 0.6, 0.8, 0.01, 0.79, 0.02, 0.77, 0.81, 0.01, 0.03),
        WorkingPoint('risk', 0.01),
    )
    scores = {
        'mcp': dataclasses.replace(mcp, working_points=points, calibrated=calibrated),
        'confidnet': dataclasses.replace(learned, calibrated=calibrated),
    }
    described = dataclasses.replace(digits.run.scores['confidnet'], estimates='the true class probability')
    per_class = ClassFailures(
        (3, 8), (90, 70), (4, 9), {n: {'auroc': (0.9, float('nan'))} for n in ('mcp', 'mine')}, 'two'
    )
    own = {'ensemble': Measures(ClassifierResult(750, 31, {'accuracy': 0.95}), {'mcp': ScoreResult({'auroc': 0.875})})}
    found = dataclasses.replace(
        with_measures(digits, scores=scores, per_class=per_class, own=own, reference='mcp'),
        run=dataclasses.replace(digits.run, scores={**digits.run.scores, 'confidnet': described}),
    )
    section = fill('calibration', found)
    row = next(row for row in rows_of(section, 'calibrated_scores') if row['score'] == 'mcp')
    assert (row['ece_before'], row['ece_after'], row['ece_after_low'], row['nll_after']) == (
        '0.2',
        '0.05',
        '0.04',
        '0.4',
    )
    text = text_of(section)
    assert 'confidnet was trained to predict the true class probability, not P(correct)' in text
    assert 'ECE is biased upward' in text and '<b>mcp</b>: a note on the fit' in text

    section = fill('working_points', found)
    at_coverage, at_risk = rows_of(section, 'thresholds_from_validation')
    assert (at_coverage['aim'], at_coverage['threshold'], at_coverage['risk'], at_coverage['risk_high']) == (
        'coverage', '0.6', '0.02', '0.03',
    )  # fmt: skip
    assert (at_risk['threshold'], at_risk['risk']) == ('', '')
    assert 'accept at least 80\u202f%' in text_of(section)

    section = fill('class_failures', found)
    rows = rows_of(section, 'class_failures')
    assert [(row['class'], row['errors'], row['mcp_auroc'], row['mine_auroc']) for row in rows] == [
        ('8', '9', '', ''), ('3', '4', '0.9', '0.9'),
    ]  # fmt: skip
    assert 'mine' not in text_of(section) and 'Measured for two.' in text_of(section)

    section = fill('own_classifiers', found)
    assert rows_of(section, 'own_ensemble') == [{'score': 'mcp', 'auroc': '0.875'}]
    assert f'wrong on 31; the single classifier is wrong on {View(found).num_errors}' in text_of(section)
    for name in ('working_points', 'class_failures', 'own_classifiers'):
        assert fill(name, digits).parts == []
    assert not any(table.name == 'calibrated_scores' for table in fill('calibration', digits).tables)
    undefined = {'per_class.auroc': 'undefined for 1 predicted classes'}
    assert 'per_class' not in text_of(fill('verdict', with_measures(digits, undefined=undefined)))


def test_paper_stands_next_to_known_experiments(digits):
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
    assert fill('paper', digits).parts == []


def test_augmented_images_are_shown_where_there_are_any(digits, segmentation):
    assert fill('augmentation', digits).parts == []
    drawn = {'image': np.zeros((2, 3, 8, 8, 1), np.uint8), 'index': np.array([4, 9])}
    config = {'data': {'augment': {'flip': True, 'rotate_degrees': 15.0, 'contrast': 0.0}}}
    run = dataclasses.replace(digits.run, config=config)
    section = fill('augmentation', dataclasses.replace(digits, run=run, augmented=drawn))
    text = text_of(section)
    assert '(flip, rotate_degrees 15.0)' in text
    assert text.count('<img') == 6
    assert 'image 9, as stored' in text
    assert len(section.figures['augmentation'].layout.images) == 6
    drawn = {
        'image': np.zeros((1, 3, 12, 16, 3), np.uint8),
        'label': np.full((1, 3, 12, 16), -1),
        'index': np.array([0]),
    }
    text = text_of(fill('augmentation', dataclasses.replace(segmentation, augmented=drawn)))
    assert text.count('<img') == 6
    assert 'labels of draw 2' in text
    assert 'moved together' in text
