"""A segmenter from folder to report: the program's own code, around a network of two layers.

SegNet itself takes minutes to compile on two cores; its layers and outputs have tests of their own. So this runs in
this process, where an architecture of two layers can be registered.
"""

import dataclasses
import json
import os
import runpy
import unittest.mock

import numpy as np
import pytest
from e2e.command import NO_BROWSER, ROOT, final_digests
from flax import linen
from PIL import Image

import failpred_jax
from failpred_jax import apply, decided, main, session
from failpred_jax.config import DecideConfig
from failpred_jax.files import read_npz
from failpred_jax.models.heads import ConvHead
from failpred_jax.models.layers import EVAL, Conv, Dropout
from failpred_jax.models.network import Architecture
from failpred_jax.predicted import Prediction
from failpred_jax.predicting.maps import MapWriter
from failpred_jax.registry import MODELS, SCORES
from failpred_jax.results import read_evaluation

SIZE = (8, 10)


class TinyBackbone(linen.Module):
    """One convolution | dropout."""

    dropout: bool = True

    def setup(self):
        self.conv = Conv(8, 'zero')
        self.drop = Dropout(0.25)

    def prefix(self, images, mode=EVAL):
        return linen.relu(self.conv(images, mode))

    def suffix(self, hidden, mode=EVAL):
        return self.drop(hidden, mode)

    def __call__(self, images, mode=EVAL):
        return self.suffix(self.prefix(images, mode), mode)


def execute(config, workdir):
    """Do what --mode=run does."""
    with session.opened(config, workdir) as run:
        run.train()
        run.evaluate()
    with unittest.mock.patch.dict(os.environ, NO_BROWSER):
        session.build_report(workdir)


def make_tiny(model, options, info):
    return Architecture(TinyBackbone(), Conv(info.num_classes, 'zero'), ConvHead((4,)))


@pytest.fixture(scope='module')
def tiny_segmenter():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS._entries, 'tiny_segmenter', make_tiny)
        patch.setitem(MODELS._facts, 'tiny_segmenter', {'task': 'segmentation', 'min_size': 1})
        yield 'tiny_segmenter'


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """Street scenes whose colors say the class, but for noise; one pixel in eight is void."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp('scenes')
    colors = rng.integers(0, 256, (12, 3))
    for part, count in (('train', 16), ('val', 6), ('test', 7)):
        for kind in ('', 'annot'):
            (folder / f'{part}{kind}').mkdir()
        for i in range(count):
            label = rng.integers(0, 11, SIZE).astype(np.uint8)
            image = np.clip(colors[label] + rng.normal(0, 30, (*SIZE, 3)), 0, 255).astype(np.uint8)
            label[rng.random(SIZE) < 0.125] = 11
            Image.fromarray(image).save(folder / part / f'{i}.png')
            Image.fromarray(label).save(folder / f'{part}annot' / f'{i}.png')
    return folder


def config_for(scenes, model, **more):
    config = runpy.run_path(str(ROOT / 'configs' / 'camvid.py'))['get_config']()
    options = {
        'data.camvid.path': str(scenes),
        'data.calibration_fraction': 0.125,
        'model.name': model,
        'baseline.epochs': 30,
        'baseline.eval_every_epochs': 15,
        'baseline.learning_rate': 1e-2,
        'confidence.epochs': 4,
        'confidence.batch_size': 8,
        'finetune.epochs': 1,
        'finetune.batch_size': 8,
        'evaluate.mc_samples': 3,
        # Each compiles for pixels, which tests/evaluate/test_pixels.py looks at.
        'evaluate.scores': (
            'mcp',
            'tcp',
            'confidnet',
            'confidnet_finetuned',
            'mc_dropout',
            'trust_score',
            'mahalanobis',
            'fusion',
        ),
        'evaluate.resamples': 50,
        'evaluate.block_length': 1,
        'evaluate.train_pixels': 300,
        'evaluate.sample_pixels': 400,
    }
    config.update_from_flattened_dict(options | more)
    return config


@pytest.fixture(scope='module')
def finished(scenes, tiny_segmenter, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('segmenter') / 'run'
    execute(config_for(scenes, tiny_segmenter), workdir)
    return workdir


def test_every_pixel_but_void_is_measured(finished, scenes):
    metrics = json.loads((finished / 'evaluation' / 'metrics.json').read_text())
    labels = np.stack([np.asarray(Image.open(file)) for file in sorted((scenes / 'testannot').iterdir())])
    assert metrics['classifier']['num_units'] == np.count_nonzero(labels != 11)
    assert metrics['classifier']['pixel_accuracy'] > 0.5
    assert metrics['classifier']['iou'][11] is None
    for name in ('mcp', 'mc_dropout', 'trust_score', 'fusion'):
        assert metrics['scores'][name]['auroc'] > 0.55, name
    # Two layers and a few epochs leave these near chance.
    for name in ('confidnet', 'confidnet_finetuned', 'mahalanobis'):
        assert 0.3 < metrics['scores'][name]['auroc'] < 1, name


def test_pixels_of_images_for_certificates_are_sampled(finished):
    results = read_evaluation(finished / 'evaluation')
    assert (results.run.dataset.num_train, results.run.dataset.num_calibration) == (14, 2)
    assert results.calibration is not None
    assert results.calibration.confidences.keys() == results.test.confidences.keys()
    # Of two images of 80 pixels, all but the void ones.
    assert 100 < len(results.calibration.labels) < 160
    assert results.calibration.logits.shape == (len(results.calibration.labels), 12)


@pytest.fixture(scope='module')
def predictor(finished):
    # The least that two images can certify.
    decided.decide_run(finished, dataclasses.replace(DecideConfig(), risks=(0.8,), score='mcp'))
    return failpred_jax.load(finished)


def test_new_images_have_the_maps_of_the_evaluation(finished, predictor, scenes):
    images = np.stack([np.asarray(Image.open(file)) for file in sorted((scenes / 'test').iterdir())])
    maps = read_evaluation(finished / 'evaluation').maps
    index = maps['index']
    found = predictor.predict(images, scores=['all'])
    np.testing.assert_array_equal(found.label[index], maps['prediction'])
    assert found.probs.shape == (7, *SIZE, 12) and found.names.shape == (7, *SIZE)
    assert {*found.confidences} == {name.removeprefix('confidence_') for name in maps if 'confid' in name} - {'tcp'}
    for name, values in found.confidences.items():
        np.testing.assert_allclose(values[index], maps[f'confidence_{name}'], rtol=1e-6, atol=1e-6, err_msg=name)
        assert name not in found.p_correct or ((found.p_correct[name] >= 0) & (found.p_correct[name] <= 1)).all()
    alone = predictor.predict(images[3:4], scores=['all'], numbers=[3])
    for name, values in alone.confidences.items():
        np.testing.assert_allclose(values[0], found.confidences[name][3], rtol=1e-6, atol=1e-6, err_msg=name)
    # Each pixel is decided as any other unit with its confidence.
    codes = apply.decide(predictor.policy, found.confidences['mcp'].reshape(-1)).code
    np.testing.assert_array_equal(found.decision.code.reshape(-1), codes)


def test_a_promise_of_pixels_takes_one_of_each_image(finished, predictor):
    content = json.loads((finished / 'decisions' / 'guarantees.json').read_text())
    assert content['calibration'] == 2 and content['guarantees'][0]['units'] == 2
    assert any('belong to 2 images and err together' in note for note in content['notes'])
    assert content['guarantees'][0]['verdict']['units'] <= 7
    assert predictor.policy is not None and predictor.run.model == predictor.policy.model


def test_maps_are_written_for_each_picture(finished, predictor, scenes, tmp_path, capsys):
    out = tmp_path / 'maps'
    words = ('failpred', '--mode=predict', f'--workdir={finished}', f'--inputs={scenes / "test"}', '--scores=mcp')
    assert main.main([*words, f'--output={tmp_path / "out.csv"}']) == 2
    assert 'this run is a segmenter' in capsys.readouterr().err
    assert main.main([*words, f'--output={out}']) == 0
    assert {file.name for file in out.iterdir()} == {
        'images.csv', *(f'{i}{end}' for i in range(7) for end in ('.npz', '.labels.png', '.mcp.png')),
    }  # fmt: skip
    images = np.stack([np.asarray(Image.open(file)) for file in sorted((scenes / 'test').iterdir())])
    found = predictor.predict(images, scores=['mcp'])
    np.testing.assert_array_equal(np.asarray(Image.open(out / '5.labels.png')), found.label[5])
    np.testing.assert_allclose(np.asarray(Image.open(out / '5.mcp.png')) / 255, found.p_correct['mcp'][5], atol=0.002)
    arrays = read_npz(out / '5.npz')
    np.testing.assert_allclose(arrays['confidence_mcp'], found.confidences['mcp'][5], atol=1e-6)
    assert list(arrays['actions']) == ['accept', 'human'] and len((out / 'images.csv').read_text().splitlines()) == 8


def test_maps_stay_within_their_folder_whatever_the_ids(tmp_path):
    maps = np.zeros((6, *SIZE), np.int32)
    ids = np.array(['../x.png', '/etc/x.png', 'a/b.png', 'a/b.jpg', '', 'images'])
    found = Prediction(ids, maps, ('a', 'b'), np.zeros((6, *SIZE, 2)), {'mcp': maps + 0.5}, {})
    with MapWriter(tmp_path / 'out') as writer:
        writer.write(found)
    written = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob('*.npz')}
    stems = ('image_000000', 'image_000001', 'a/b', 'a/b_3', 'image_000004', 'images_5')
    assert written == {f'out/{stem}.npz' for stem in stems}
    with pytest.raises(KeyboardInterrupt), MapWriter(tmp_path / 'other') as writer:
        writer.write(found)
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ['out']


@pytest.mark.long
def test_every_score_that_pixels_can_have_is_measured(scenes, tiny_segmenter, tmp_path):
    short = {'baseline.epochs': 2, 'baseline.eval_every_epochs': 2, 'confidence.epochs': 1, 'evaluate.scores': ('all',)}
    execute(config_for(scenes, tiny_segmenter, **short), tmp_path / 'run')
    metrics = json.loads((tmp_path / 'run' / 'evaluation' / 'metrics.json').read_text())
    assert {*metrics['scores'], *metrics['unavailable']} == {*SCORES}
    lacking = {name for name in SCORES if not SCORES[name].per_pixel or 'ensemble' in SCORES[name].needs}
    # Its last layer reads nine pixels, so that logits are no function of a pixel's own features.
    by_last_layer = {name for name, why in metrics['unavailable'].items() if 'linear function of the features' in why}
    assert {*metrics['unavailable']} - by_last_layer == lacking >= {'ensemble'}
    assert by_last_layer < {name for name in SCORES if SCORES[name].fit is not None} - lacking


def test_the_report_shows_maps_of_every_score(finished):
    page = (finished / 'report' / 'index.html').read_text()
    results = read_evaluation(finished / 'evaluation')
    assert {f'confidence_{name}' for name in results.test.confidences} <= {*results.maps}
    assert len(results.maps['image']) == 6
    for words in ('Among the best', 'Around the median', 'Among the worst', 'pedestrian', 'whole images'):
        assert words in page


def test_maps_say_what_the_pass_over_all_images_said(finished):
    results = read_evaluation(finished / 'evaluation')
    maps = results.maps
    valid = maps['label'] >= 0
    right = (maps['prediction'] == maps['label']) & valid
    assert np.allclose(right.sum(axis=(1, 2)) / valid.sum(axis=(1, 2)), maps['accuracy'])
    # Dropout is drawn by the number of the image, so that even its maps are those of the pass.
    everything = np.sort(results.test.confidences['mc_dropout'])
    assert np.isin(maps['confidence_mc_dropout'][0][valid[0]], everything).mean() > 0.5


def test_void_can_be_scored_as_the_reference_does(scenes, tiny_segmenter, tmp_path):
    stages = {'confidence.epochs': 0, 'finetune.epochs': 0, 'baseline.epochs': 1, 'baseline.eval_every_epochs': 1}
    scored = config_for(
        scenes, tiny_segmenter, **stages, **{'data.camvid.score_unlabeled': True, 'evaluate.scores': ('mcp', 'tcp')}
    )
    execute(scored, tmp_path / 'run')
    metrics = json.loads((tmp_path / 'run' / 'evaluation' / 'metrics.json').read_text())
    assert metrics['classifier']['num_units'] == 7 * SIZE[0] * SIZE[1]
    assert metrics['classifier']['iou'][11] is not None


def test_a_run_whose_images_and_maps_stay_in_their_files_ends_with_the_same_bits(scenes, tiny_segmenter, tmp_path):
    short = {
        'baseline.epochs': 2, 'baseline.eval_every_epochs': 1, 'confidence.epochs': 1,
        'evaluate.scores': ('mcp', 'confidnet'), 'evaluate.resamples': 0, 'evaluate.train_pixels': 50,
    }  # fmt: skip
    for name, memory_mb in (('memory', 8192), ('files', 0)):
        # Streamed in both, in chunks of several steps.
        budget = {'data.memory_mb': memory_mb, 'data.device_budget_mb': 0, 'data.cache_mb': 0}
        execute(config_for(scenes, tiny_segmenter, **short, **budget), tmp_path / name)
    assert final_digests(tmp_path / 'files') == final_digests(tmp_path / 'memory')
    found, expected = (read_npz(tmp_path / name / 'evaluation' / 'predictions.npz') for name in ('files', 'memory'))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    maps = [read_evaluation(tmp_path / name / 'evaluation').maps for name in ('files', 'memory')]
    for name, value in maps[1].items():
        np.testing.assert_array_equal(maps[0][name], value, err_msg=name)
