"""Sections that only some evaluations have: of pixels, several seeds, a known experiment, augmented images."""

import csv
import dataclasses
import re

import numpy as np
import pytest
from report.filling import fill, rows_of, text_of, with_measures

from failpred_jax import report
from failpred_jax.report import paint, paper
from failpred_jax.results import (
    Interval,
    Measures,
    Predictions,
    ScoreResult,
    SeedComparison,
    SeedResult,
    SeedsSummary,
    Spread,
)


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
    assert list(section.figures['seeds'].data[0].x) == pytest.approx([100, 200, 300])
    assert 'seeds 0, 1 and 2. Accuracy 90.00 \u00b1 1.00\u202f%.' in text_of(section)
    assert 'Three seeds say little.' in text_of(section)
    assert fill('seeds', digits).parts == []


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
