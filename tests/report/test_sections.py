"""What single sections hold, number by number."""

import dataclasses
import json
import re

import htpy as h
import numpy as np
import pytest
from report.filling import fill, rows_of, text_of, with_measures

from failpred_jax.evaluate.table import format_value
from failpred_jax.metrics import threshold_counts
from failpred_jax.registry import METRICS
from failpred_jax.report import curves, style
from failpred_jax.report.page import make_sections
from failpred_jax.report.sections import images, verdict
from failpred_jax.report.view import FEW, View
from failpred_jax.results import (
    CalibratedScore,
    ClassFailures,
    ClassifierResult,
    Interval,
    Measures,
    ScoreResult,
    WorkingPoint,
)


def test_verdict_names_the_best_usable_score_and_those_tied_with_it(digits):
    text = text_of(fill('verdict', digits))
    best, *others = digits.measures.best['aurc']
    assert f'<b>{best}</b> is best by AURC' in text
    assert f'cannot be told apart from <b>{others[0]}</b> and <b>{others[1]}</b>' in text
    assert 'TCP is above 0.99' in text


def test_a_score_that_is_alone_is_not_the_best_of_any(digits):
    only = {name: found for name, found in digits.measures.scores.items() if name in ('mcp', 'tcp')}
    test = dataclasses.replace(digits.test, confidences={name: digits.test.confidences[name] for name in only})
    text = text_of(fill('verdict', dataclasses.replace(with_measures(digits, scores=only), test=test)))
    assert 'There is one score, <b>mcp</b>, and its AURC' in text
    assert 'is best' not in text


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


def test_a_metric_has_one_scale_in_every_table_sentence_and_figure(digits):
    sections = {section.name: section for section in make_sections(View(digits))}
    headings = [h for s in sections.values() for h in re.findall(r'>[^<>]*(?:AURC|AUGRC)[^<]*</button>', text_of(s))]
    assert len(headings) >= 3 and all(' x1000' in heading for heading in headings)
    assert all('AURC x1000' in t.split('</tr>')[1] for t in text_of(sections['differences']).split('<table')[1:])
    (best, *_), metric = digits.measures.best['aurc'], METRICS['aurc']
    told = format_value(digits.scores[best].metrics['aurc'], metric)
    assert f'<b>{told} x1000</b>' in text_of(sections['verdict'])
    assert f'>{told}<' in text_of(sections['scores'])
    figure = sections['differences'].figures['paired_differences']
    assert (figure.layout.xaxis.title.text, 'AURC x1000' in style.title_of(figure)) == ('difference x1000', True)
    found = next(one for one in View(digits).comparisons if one.metric == 'aurc' and best in (one.a, one.b))
    assert 1000 * found.difference in [pytest.approx(x) for trace in figure.data for x in trace.x]


def test_columns_of_the_ece_name_their_bins(digits):
    headings = re.findall(r'>(ECE\b[^<]*)</button>', text_of(fill('calibration', digits)))
    assert headings and all('equal' in heading for heading in headings)


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
