"""Streaming evaluation of pixels: equal to having them all, void nowhere, memory of one batch."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from failpred_jax.config import EvaluateConfig
from failpred_jax.errors import ScoreUnavailableError
from failpred_jax.evaluate.describe import describe
from failpred_jax.evaluate.measure import measure
from failpred_jax.evaluate.parts import Part, Parts, PixelStream
from failpred_jax.evaluate.pixels import draw_pixels, shown_images
from failpred_jax.evaluate.scoring import make_plan
from failpred_jax.evaluate.table import to_markdown
from failpred_jax.metrics import FAILURE_METRICS
from failpred_jax.registry import SCORES
from failpred_jax.results import DatasetDescription, Evaluation, codec, read_evaluation, write_evaluation
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.types import DatasetInfo, Examples

SIZE, NUM_CLASSES, VOID = (6, 7), 4, 3
# Six images with seven pixels of void each have as many valid ones as five without, so that all share what is compiled;
# the last batch is not full.
NUM_IMAGES, NUM_VOID, BATCH_SIZE = 6, 7, 4
MEASURED = ('mcp', 'entropy', 'max_logit', 'tcp')


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


def scene(rng, void=VOID, count=None):
    """Return label maps with void, and logits that are often right and seldom repeat."""
    count = count or (NUM_IMAGES if void is not None else NUM_IMAGES - 1)
    labels = rng.integers(0, NUM_CLASSES if void is None else NUM_CLASSES - 1, (count, *SIZE)).astype(np.uint8)
    if void is not None:
        for image in labels:
            image.flat[rng.choice(image.size, NUM_VOID, replace=False)] = void
    logits = rng.normal(size=(count, *SIZE, NUM_CLASSES)).astype(np.float32)
    seen = np.minimum(labels, NUM_CLASSES - 1)[..., None].astype(int)
    np.put_along_axis(logits, seen, np.take_along_axis(logits, seen, -1) + 1, -1)
    images = rng.integers(0, 256, (count, *SIZE, 3)).astype(np.uint8)
    return Examples(images, labels), logits


def run(rng, batch_size=BATCH_SIZE, void=VOID, sample_pixels=10_000, resamples=20, known=None):
    test, logits = known or scene(rng, void)
    info = DatasetInfo('scenes', 'segmentation', (*SIZE, 3), tuple('abcd'), void)
    # Levels are those of the test pixels themselves, so that counting at levels loses nothing.
    mask = np.ones(test.labels.shape, bool) if void is None else test.labels != void
    val = Part(ScoreInputs(logits=logits[mask]), test.labels[mask].astype(np.int32))
    reader = Tables(logits, batch_size)
    options = EvaluateConfig(sample_pixels=sample_pixels, resamples=resamples)
    plan = make_plan(MEASURED, {}, 'segmentation')
    parts = Parts('segmentation', PixelStream(reader, test, info, seed=0), val)
    return measure(parts, plan, options), val, reader


@pytest.mark.parametrize('void', [VOID, 255, None])
def test_streaming_equals_having_every_valid_pixel(rng, void):
    streamed, val, _ = run(rng, void=void)
    plan = make_plan(MEASURED, {}, 'segmentation')
    found = streamed.measures
    expected = measure(Parts('segmentation', val), plan, EvaluateConfig(resamples=0)).measures
    for name in MEASURED:
        for metric in FAILURE_METRICS:
            value = found.scores[name].metrics[metric]
            assert value == pytest.approx(expected.scores[name].metrics[metric], abs=1e-9, nan_ok=True), (name, metric)
            assert {*found.scores[name].limits[metric]} == {value}
    for metric in ('ece', 'brier', 'nll'):
        of_stream, of_all = (m.scores['mcp'].calibration[metric] for m in (found, expected))
        assert of_stream == pytest.approx(of_all, abs=1e-9)
    one, other = found.classifier, expected.classifier
    assert (one.num_errors, one.num_units) == (other.num_errors, other.num_units)
    assert found.reference == expected.reference == 'mcp'
    for metric, value in one.metrics.items():
        if metric != 'mean_iou' or void is None or void >= NUM_CLASSES:
            assert value == pytest.approx(other.metrics[metric], abs=1e-6), metric
    np.testing.assert_array_equal(one.confusion.dense(), other.confusion.dense())


def test_void_pixels_count_nowhere(rng):
    test, logits = scene(rng)
    found, *_ = run(rng, known=(test, logits))
    changed = np.where((test.labels == VOID)[..., None], rng.normal(size=logits.shape), logits).astype(np.float32)
    again, *_ = run(rng, known=(test, changed))
    for name in MEASURED:
        assert found.measures.curves[name].units[-1] == np.count_nonzero(test.labels != VOID)
    assert codec.measures_to_json(found.measures) == codec.measures_to_json(again.measures)
    iou = found.measures.classifier.per_class['iou']
    assert np.isnan(iou[VOID])
    assert found.measures.classifier.metrics['mean_iou'] == pytest.approx(np.mean(iou[:VOID]))
    assert set(found.test.labels) == {0, 1, 2}
    assert np.array_equal(found.maps['label'] == -1, test.labels[found.maps['index']] == VOID)


def test_batches_change_nothing_and_are_all_that_is_held(rng):
    known = scene(rng)
    by_four, _, reader = run(rng, known=known)
    by_five, *_ = run(rng, batch_size=5, known=known)
    assert reader.most_at_once == BATCH_SIZE == 4
    assert codec.measures_to_json(by_four.measures) == codec.measures_to_json(by_five.measures)
    for one, other in ((vars(by_four.test), vars(by_five.test)), (by_four.maps, by_five.maps)):
        arrays = [{**of, 'about': vars(of['about'])} if 'about' in of else dict(of) for of in (one, other)]
        jax.tree.map(np.testing.assert_array_equal, *arrays)


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
    found, val, _ = run(rng, sample_pixels=50)
    kept = found.test
    assert len(kept.labels) == len(kept.logits) == len(kept.confidences['mcp']) == 50
    probs = np.asarray(jax.nn.softmax(kept.logits))
    assert np.allclose(kept.confidences['mcp'], probs.max(axis=-1))
    assert np.array_equal(kept.correct, np.argmax(kept.logits, -1) == kept.labels)
    assert found.measures.classifier.num_units == len(val.labels)


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
    test, logits = scene(rng, count=NUM_IMAGES + 1)
    test.labels[1] = VOID
    found, *_ = run(rng, known=(test, logits))
    assert 1 not in found.maps['index']
    assert found.measures.classifier.num_units == np.count_nonzero(test.labels != VOID)


@pytest.mark.parametrize('is_faulty', [False, True])
def test_a_score_that_one_image_cannot_have_is_left_out_with_the_reason(is_faulty, rng, monkeypatch):
    known = scene(rng)
    calls = []

    def entropy(inputs):
        # In NumPy, so that it is called for every image and not compiled once.
        logits = np.asarray(inputs.logits)
        calls.append(None)
        # The first call is of the validation pixels; the fourth, of the third image.
        if len(calls) == 4 and is_faulty:
            return logits.max(axis=-1) * np.nan
        if len(calls) == 4:
            raise ScoreUnavailableError('nothing varies here')
        return logits.max(axis=-1)

    monkeypatch.setitem(SCORES._entries, 'entropy', dataclasses.replace(SCORES['entropy'], fn=entropy))
    found, *_ = run(rng, known=known)
    reason = 'it failed: .* are NaN; a ranking needs numbers' if is_faulty else 'nothing varies here'
    assert re.fullmatch(f'test image 2: {reason}', found.measures.unavailable['entropy'])
    assert {*found.measures.scores} == {*found.test.confidences} == {*MEASURED} - {'entropy'}
    assert 'confidence_entropy' not in found.maps


def test_intervals_are_of_images(rng):
    found, *_ = run(rng, resamples=200)
    low, high = found.measures.scores['mcp'].intervals['auroc']
    assert low < found.measures.scores['mcp'].metrics['auroc'] < high
    assert 'tcp' not in found.measures.best['aurc']


def test_the_folder_keeps_maps_and_curves(rng, tmp_path):
    found, *_ = run(rng)
    described = describe(found.measures, DatasetDescription('scenes', 'segmentation'), 0.95)
    table = to_markdown(found.measures, described)
    assert 'test pixels' in table
    write_evaluation(Evaluation(found.measures, described, found.test, found.validation, maps=found.maps), '', tmp_path)
    back = read_evaluation(tmp_path)
    assert {*back.maps} == {*found.maps}
    assert {*back.validation.confidences} == {*MEASURED}
    np.testing.assert_array_equal(back.measures.curves['mcp'].units, found.measures.curves['mcp'].units)
    assert 'curves' not in (tmp_path / 'metrics.json').read_text()
