"""What the traces of each figure hold."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from failpred_jax.report import (
    figures_calibration,
    figures_classes,
    figures_images,
    figures_scores,
    figures_seeds,
    figures_training,
    style,
    words,
)


def lines():
    x = np.linspace(0, 1, 5)
    return {f's{i}': (x, x * i / 10) for i in range(10)}


@pytest.mark.parametrize(
    'make', [figures_scores.risk_coverage, figures_scores.roc, figures_scores.precision_recall_error]
)
def test_curves_are_one_line_a_score_and_only_some_show(make):
    figure = make(lines())
    assert [trace.name for trace in figure.data] == [f's{i}' for i in range(10)]
    np.testing.assert_allclose(figure.data[3].y, np.linspace(0, 0.3, 5), rtol=1e-6)
    assert [trace.visible for trace in figure.data] == [True] * 8 + ['legendonly'] * 2
    assert make(lines(), shown=['s9']).data[9].visible is True
    looks = {(trace.line.color, trace.line.dash) for trace in figure.data}
    assert len(looks) == 10


def test_chance_line_of_precision_recall_is_the_error_rate():
    figure = figures_scores.precision_recall_error(lines(), error_rate=0.2)
    assert (figure.layout.shapes[0].y0, figure.layout.shapes[0].y1) == (0.2, 0.2)


def test_histogram_bars_stand_on_their_bins_and_keep_counts():
    figure = figures_scores.confidence_histogram([0, 0.5, 1], [3, 40], [2, 0], 'mcp')
    correct, wrong = figure.data
    assert (correct.name, wrong.name) == ('correct', 'wrong')
    assert list(correct.x) == list(wrong.x) == [0.25, 0.75]
    assert list(correct.y) == [3, 40]
    assert list(wrong.y) == [2, 0]
    assert list(wrong.width) < list(correct.width)
    assert figure.layout.yaxis.type == 'log'


def test_paired_differences_are_in_points_and_split_by_their_interval():
    figure = figures_scores.paired_differences(['a\n- b', 'c\n- d'], [0.02, 0.01], [0.01, -0.01], [0.03, 0.03], 'AURC')
    clear, open_ = figure.data
    assert (clear.name, open_.name) == ('interval excludes 0', 'interval contains 0')
    assert list(clear.x) == [2.0]
    assert list(clear.y) == [0]
    np.testing.assert_allclose(open_.error_x.array, [2.0])
    np.testing.assert_allclose(open_.error_x.arrayminus, [2.0])
    assert figure.layout.yaxis.ticktext == ('a<br>- b', 'c<br>- d')
    figure = figures_scores.paired_differences(['a - b'], [0.02], [0.01], [0.03], 'AURC x1000', 1000)
    assert (list(figure.data[0].x), figure.layout.xaxis.title.text) == ([20.0], 'difference x1000')


def test_target_histogram_keeps_counts():
    figure = figures_scores.true_class_probability_histogram([0, 0.5, 1], [1, 99])
    assert list(figure.data[0].y) == [1, 99]


def test_reliability_shows_filled_bins_with_wilson_intervals():
    figure = figures_calibration.reliability([0.2, np.nan, 0.9], [0.5, np.nan, 0.75], [4, 0, 8], 'x')
    diagonal, points, counts = figure.data
    assert list(diagonal.x) == list(diagonal.y) == [0, 1]
    np.testing.assert_allclose(points.x, [0.2, 0.9], rtol=1e-6)
    np.testing.assert_allclose(points.y, [0.5, 0.75], rtol=1e-6)
    low, high = words.wilson(6, 8)
    np.testing.assert_allclose([points.error_y.arrayminus[1], points.error_y.array[1]], [0.75 - low, high - 0.75])
    assert list(counts.y) == [4, 0, 8]


def test_reliability_of_nothing_is_empty():
    figure = figures_calibration.reliability([np.nan], [np.nan], [0])
    assert len(figure.data[1].x) == 0


HISTORY = {
    'epoch': [1, 2, 3],
    'step': [10, 20, 30],
    'train_loss': [3.0, 2.0, 1.0],
    'val_loss': [3.0, None, ''],
    'val_auroc': [0.8, float('nan'), 0.9],
    'val_accuracy': [None, None, None],
    'learning_rate': [0.1, 0.1, 0.01],
    'examples_per_second': [5, 5, 5],
}


def test_training_panels_split_columns_and_skip_what_is_not_known():
    assert figures_training.panel_columns(HISTORY, 'loss') == ['train_loss', 'val_loss']
    assert figures_training.panel_columns(HISTORY, 'accuracy') == []
    assert figures_training.panel_columns(HISTORY, 'failure prediction') == ['val_auroc']
    figure = figures_training.training_curves(HISTORY, 'loss', 'baseline', best_step=19)
    train, val = figure.data
    assert list(train.x) == [1, 2, 3]
    assert list(val.x) == [1]
    assert figure.layout.shapes[0].x0 == 2
    auroc = figures_training.training_curves(HISTORY, 'failure prediction').data[0]
    assert list(auroc.x) == [1, 3]


def test_a_constant_learning_rate_is_told_from_0():
    figure = figures_training.training_curves({'step': [5, 9], 'learning_rate': [1e-3, 1e-3]}, 'learning rate')
    assert figure.layout.yaxis.range == pytest.approx((0, 1.1e-3))


def test_training_curves_by_step_where_there_are_no_epochs():
    figure = figures_training.training_curves({'step': [5, 9], 'train_loss': [1, 2]}, 'loss', best_step=9)
    assert list(figure.data[0].x) == [5, 9]
    assert figure.layout.shapes[0].x0 == 9


def test_confusion_matrix_rows_sum_to_one_and_labels_are_escaped():
    counts = np.array([[3, 1, 0], [0, 0, 0], [1, 1, 2]])
    figure = figures_classes.confusion_matrix(counts, ['1', '1', '<b>x'])
    np.testing.assert_allclose(figure.data[0].z, [[0.75, 0.25, 0], [0, 0, 0], [0.25, 0.25, 0.5]])
    assert figure.layout.xaxis.ticktext == ('1', '1', '&lt;b&gt;x')
    assert figure.layout.yaxis.autorange == 'reversed'
    part = figures_classes.confusion_matrix(counts[:1, :1], ['1'], totals=[4])
    np.testing.assert_allclose(part.data[0].z, [[0.75]])


def test_class_accuracy_is_worst_first_without_empty_classes():
    figure = figures_classes.class_accuracy([9, 0, 2], [10, 0, 4], ['a', 'b', 'c'])
    np.testing.assert_allclose(figure.data[0].x, [0.5, 0.9], rtol=1e-6)
    assert figure.layout.yaxis.ticktext == ('c', 'a')


def test_true_class_probability_pairs_mean_and_median():
    figure = figures_classes.true_class_probability([0.9, np.nan, 0.2], [0.95, np.nan, 0.1], ['a', 'b', 'c'])
    mean, median = figure.data
    np.testing.assert_allclose(mean.x, [0.2, 0.9], rtol=1e-6)
    np.testing.assert_allclose(median.x, [0.1, 0.95], rtol=1e-6)
    assert figure.layout.yaxis.ticktext == ('c', 'a')


def test_class_bars_are_sorted():
    figure = figures_classes.class_bars([0.9, np.nan, 0.2], ['a', 'b', 'c'], 'IoU')
    np.testing.assert_allclose(figure.data[0].x, [0.2, 0.9], rtol=1e-6)


def test_seeds_show_points_and_means_in_percent():
    figure = figures_seeds.seed_points({'mcp': [0.1, 0.3], 'x': [np.nan, 0.5]}, 'AURC')
    points, means = figure.data
    np.testing.assert_allclose(points.x, [10, 30, 50], rtol=1e-6)
    assert list(points.y) == [0, 0, 1]
    np.testing.assert_allclose(means.x, [20, 50], rtol=1e-6)


def test_image_data_uri_holds_the_pixels(rng):
    image = rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)
    data = base64.b64decode(figures_images.data_uri(image).removeprefix('data:image/png;base64,'))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), image)
    small = base64.b64decode(figures_images.data_uri(np.zeros((300, 600), np.uint8), 100).split(',')[1])
    assert Image.open(io.BytesIO(small)).size == (100, 50)
    few = base64.b64decode(figures_images.data_uri(image, num_colors=4).split(',')[1])
    assert len(Image.open(io.BytesIO(few)).getcolors()) <= 4


@pytest.mark.parametrize(
    ('channels', 'shown', 'note'),
    [(1, 1, ''), (3, 3, ''), (2, 1, 'first is shown in gray'), (4, 3, 'first three'), (13, 3, 'first three')],
)
def test_images_of_any_number_of_channels_become_pictures_of_their_first(rng, channels, shown, note):
    images = rng.integers(0, 256, (3, 6, 5, channels), dtype=np.uint8)
    pictures, found = figures_images.as_pictures(images)
    np.testing.assert_array_equal(pictures, images[..., :shown])
    assert note in found
    assert bool(found) == bool(note)
    assert figures_images.data_uri(images[0]) == figures_images.data_uri(pictures[0])
    assert len(figures_images.image_grid(images, ['a'] * 3).layout.images) == 3


def test_values_that_are_no_bytes_are_scaled_to_their_range():
    pictures, note = figures_images.as_pictures(np.array([[[-1.0], [1.0]], [[np.nan], [0.5]]]))
    assert pictures.dtype == np.uint8
    assert pictures.ravel().tolist() == [0, 255, 128, 191]
    assert note == 'Values from -1 (dark) to 1 (light).'


@pytest.mark.parametrize('images', [np.zeros((2, 0, 5, 3)), np.zeros((5, 5)), np.zeros((2, 5, 5, 1), 'U3')])
def test_arrays_that_are_no_images_are_refused_with_their_shape(images):
    with pytest.raises(ValueError, match=re.escape(f'shape {images.shape}')):
        figures_images.as_pictures(images)


def test_image_grid_places_every_image_with_its_caption():
    figure = figures_images.image_grid([np.zeros((4, 4), np.uint8)] * 7, ['a <b>\nline'] * 7, columns=3)
    assert len(figure.layout.images) == 7
    assert figure.layout.annotations[0].text == 'a &lt;b&gt;<br>line'
    assert (figure.layout.images[6].x, figure.layout.images[6].y) == (0.04, 2)


def test_combined_panels_keep_data_and_do_not_overlap():
    parts = [
        figures_calibration.reliability([0.2], [0.5], [4], 'first'),
        figures_scores.roc(lines()),
        figures_calibration.reliability([0.2], [0.5], [4], 'third'),
    ]
    combined = style.combine(parts, 'all', columns=2)
    assert len(combined.data) == sum(len(part.data) for part in parts)
    domains = [axis.domain for axis in combined.select_yaxes()]
    assert len(domains) == 5
    assert all(0 <= low < high <= 1 for low, high in domains)
    assert [a.text for a in combined.layout.annotations] == ['first', 'ROC curves', 'third']
    names = [trace.name for trace in combined.data if trace.showlegend]
    assert len(names) == len(set(names))


def test_light_and_dark_colors_pair_up():
    assert len(style.LIGHT) == len(style.DARK) == len(set(style.LIGHT))
    assert style.template(dark=True).layout.font.color == style.DARK[style.LIGHT.index(style.INK)]
