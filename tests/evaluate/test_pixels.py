"""Streaming evaluation of pixels: equal to having them all, void nowhere, memory of one batch."""

import dataclasses

import jax
import numpy as np
import pytest

from failpred_jax.config import EvaluateConfig
from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.evaluate.collect import predictions
from failpred_jax.evaluate.folder import read_results, without_nan, write_results
from failpred_jax.evaluate.pixels import draw_pixels, measure_pixels, shown_images
from failpred_jax.evaluate.scoring import Fitted, make_plan
from failpred_jax.evaluate.table import definitions, measure, to_markdown
from failpred_jax.metrics import FAILURE_METRICS
from failpred_jax.registry import SCORES
from failpred_jax.results import Results
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.types import DatasetInfo, Examples

SIZE, NUM_CLASSES, VOID = (6, 7), 4, 3
MEASURED = ('mcp', 'entropy', 'max_logit', 'tcp')
NONE = Fitted({}, {}, {})


class Tables:
    """Stands in for evaluate.collect.Reader: logits that were computed before, in padded batches."""

    def __init__(self, logits, batch_size):
        self.logits, self.batch_size, self.most_at_once = logits, batch_size, 0

    def batches(self, examples, numbers=None, places=None):
        numbers = np.arange(len(examples.images)) if numbers is None else numbers
        for start in range(0, len(numbers), self.batch_size):
            rows = numbers[start : start + self.batch_size]
            padded = np.resize(rows, self.batch_size)
            self.most_at_once = max(self.most_at_once, len(padded))
            yield ScoreInputs(logits=self.logits[padded]), len(rows)


def scene(rng, count, void=VOID):
    """Return label maps with void, and logits that are often right and seldom repeat."""
    labels = rng.integers(0, NUM_CLASSES if void is None else NUM_CLASSES - 1, (count, *SIZE)).astype(np.uint8)
    if void is not None:
        labels[rng.random(labels.shape) < 0.2] = void
    logits = rng.normal(size=(count, *SIZE, NUM_CLASSES)).astype(np.float32)
    seen = np.minimum(labels, NUM_CLASSES - 1)[..., None].astype(int)
    np.put_along_axis(logits, seen, np.take_along_axis(logits, seen, -1) + 1, -1)
    images = rng.integers(0, 256, (count, *SIZE, 3)).astype(np.uint8)
    return Examples(images, labels), logits


def run(rng, count=9, batch_size=2, void=VOID, sample_pixels=10_000, resamples=20, known=None):
    test, logits = known or scene(rng, count, void)
    info = DatasetInfo('scenes', 'segmentation', (*SIZE, 3), tuple('abcd'), void)
    # Levels are those of the test pixels themselves, so that counting at levels loses nothing.
    mask = np.ones(test.labels.shape, bool) if void is None else test.labels != void
    val = ScoreInputs(logits=logits[mask]), test.labels[mask].astype(np.int32)
    reader = Tables(logits, batch_size)
    options = EvaluateConfig(sample_pixels=sample_pixels, resamples=resamples)
    plan = make_plan(MEASURED, {}, 'segmentation')
    return measure_pixels(reader, plan, NONE, val, test, info, options, seed=0), val, reader


@pytest.mark.parametrize('void', [VOID, 255, None])
def test_streaming_equals_having_every_valid_pixel(rng, void):
    found, (inputs, labels), _ = run(rng, void=void)
    probs = np.asarray(jax.nn.softmax(inputs.logits))
    correct = predictions(inputs.logits) == labels
    confidences = {name: found.confidences[name] for name in MEASURED}
    expected = measure(probs, labels, correct, confidences, 'segmentation', EvaluateConfig(resamples=0), {}, {})
    for name in MEASURED:
        for metric in FAILURE_METRICS:
            assert found.metrics['scores'][name][metric] == pytest.approx(
                expected['scores'][name][metric], abs=1e-9, nan_ok=True
            ), (name, metric)
            low, high = found.metrics['scores'][name]['limits'][metric]
            assert low == high == found.metrics['scores'][name][metric]
    for metric in ('ece', 'brier', 'nll'):
        assert found.metrics['scores']['mcp']['calibration'][metric] == pytest.approx(
            expected['scores']['mcp']['calibration'][metric], abs=1e-9
        )
    for metric in ('accuracy', 'pixel_accuracy', 'num_errors', 'num_units', 'multiclass_nll', 'multiclass_brier'):
        assert found.metrics['classifier'][metric] == pytest.approx(expected['classifier'][metric], abs=1e-6), metric
    assert found.metrics['classifier']['confusion'] == expected['classifier']['confusion']


def test_void_pixels_count_nowhere(rng):
    test, logits = scene(rng, 5)
    found, *_ = run(rng, known=(test, logits))
    changed = np.where((test.labels == VOID)[..., None], rng.normal(size=logits.shape), logits).astype(np.float32)
    again, *_ = run(rng, known=(test, changed))
    for name in MEASURED:
        assert without_nan(found.metrics['scores'][name]) == without_nan(again.metrics['scores'][name])
        assert found.metrics['curves'][name]['counts']['units'][-1] == np.count_nonzero(test.labels != VOID)
    assert np.isnan(found.metrics['classifier']['iou'][VOID])
    assert found.metrics['classifier']['mean_iou'] == pytest.approx(np.mean(found.metrics['classifier']['iou'][:VOID]))
    assert set(found.labels) == {0, 1, 2}
    assert np.array_equal(found.maps['label'] == -1, test.labels[found.maps['index']] == VOID)


def test_batches_change_nothing_and_are_all_that_is_held(rng):
    known = scene(rng, 7)
    by_two, _, reader = run(rng, batch_size=2, known=known)
    by_five, *_ = run(rng, batch_size=5, known=known)
    assert reader.most_at_once == 2
    jax.tree.map(np.testing.assert_array_equal, by_two._asdict(), by_five._asdict())


def test_a_sample_is_uniform_over_valid_pixels_and_seeded(rng):
    labels = np.full((3, 40, 50), VOID, np.uint8)
    labels[0, :10] = 1
    labels[2] = 2
    sample = draw_pixels(labels, VOID, 1000, seed=0)
    assert sample.mask.sum(axis=1).tolist()[1] == 0
    assert sample.mask.sum() == len(sample.labels) == 1000
    # 500 of the 2,500 valid pixels are the first image's.
    assert np.count_nonzero(sample.labels == 1) == pytest.approx(200, abs=50)
    for image, places, mask in zip(labels, sample.places, sample.mask, strict=True):
        assert len(np.unique(places[mask])) == mask.sum()
        assert (image.ravel()[places[mask]] != VOID).all()
    again, other = (draw_pixels(labels, VOID, 1000, seed) for seed in (0, 1))
    assert np.array_equal(sample.places, again.places)
    assert not np.array_equal(np.sort(sample.places[2]), np.sort(np.resize(other.places[2], sample.places[2].shape)))
    everything = draw_pixels(labels, VOID, 10_000, seed=0)
    assert np.array_equal(everything.labels, labels[labels != VOID])


def test_what_is_kept_are_the_sampled_pixels(rng):
    found, (inputs, labels), _ = run(rng, sample_pixels=50)
    assert len(found.labels) == len(found.logits) == len(found.confidences['mcp']) == 50
    probs = np.asarray(jax.nn.softmax(found.logits))
    assert np.allclose(found.confidences['mcp'], probs.max(axis=-1))
    assert np.array_equal(found.correct, np.argmax(found.logits, -1) == found.labels)
    assert found.metrics['classifier']['num_units'] == len(labels)


@pytest.mark.parametrize(
    ('accuracy', 'expected'),
    [
        ([0.1, 0.9, 0.5, 0.7, 0.3, 0.8, 0.2], [1, 5, 3, 2, 6, 0]),
        ([0.5, np.nan, 0.9], [2, 0]),
        ([np.nan], []),
    ],
)
def test_best_middle_and_worst_images_are_shown(accuracy, expected):
    assert shown_images(np.array(accuracy)).tolist() == expected


def test_an_image_of_nothing_but_void_is_no_obstacle(rng):
    test, logits = scene(rng, 4)
    test.labels[1] = VOID
    found, *_ = run(rng, known=(test, logits))
    assert 1 not in found.maps['index']
    assert found.metrics['classifier']['num_units'] == np.count_nonzero(test.labels != VOID)


def test_a_score_that_one_image_cannot_have_is_left_out_with_the_reason(rng, monkeypatch):
    known = scene(rng, 5)
    calls = []

    def entropy(inputs):
        calls.append(None)
        # The first call is of the validation pixels; the fourth, of the third image.
        if len(calls) == 4:
            raise ScoreUnavailableError('nothing varies here')
        return inputs.logits.max(axis=-1)

    monkeypatch.setitem(SCORES._entries, 'entropy', dataclasses.replace(SCORES['entropy'], fn=entropy))
    found, *_ = run(rng, known=known)
    assert found.metrics['unavailable']['entropy'] == 'test image 2: nothing varies here'
    assert {*found.metrics['scores']} == {*found.confidences} == {*MEASURED} - {'entropy'}
    assert 'confidence_entropy' not in found.maps


def test_intervals_are_of_images(rng):
    found, *_ = run(rng, count=6, resamples=200)
    low, high = found.metrics['scores']['mcp']['ci']['auroc']
    assert low < found.metrics['scores']['mcp']['auroc'] < high
    assert 'tcp' not in found.metrics['best']['aurc']


def test_the_folder_keeps_maps_and_curves(rng, tmp_path):
    found, *_ = run(rng)
    dataset = {'name': 'scenes', 'task': 'segmentation'}
    context = {'dataset': dataset, 'definitions': definitions(found.confidences), 'warnings': []}
    results = Results(context=context, **found._asdict())
    table = to_markdown(results.metrics, context)
    assert 'test pixels' in table
    write_results(results, table, tmp_path)
    back = read_results(tmp_path)
    assert {*back.maps} == {*found.maps}
    assert (
        back.metrics['curves']['mcp']['counts']['units'] == found.metrics['curves']['mcp']['counts']['units'].tolist()
    )
    assert 'curves' not in (tmp_path / 'metrics.json').read_text()
    write_results(
        Results(**{**results.__dict__, 'maps': None, 'metrics': {**found.metrics, 'curves': None}}), '', tmp_path
    )
    assert read_results(tmp_path).maps is None
    assert 'curves' not in read_results(tmp_path).metrics
