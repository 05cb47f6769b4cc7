"""A finished run as a function of new images: its scores are those of its own evaluation."""

import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from e2e.command import ROOT
from e2e.runs import EVALUATED, FEW

import failpred_jax
from failpred_jax import finished_run
from failpred_jax import predictor as predictor_room
from failpred_jax.data import load_data
from failpred_jax.errors import UserError
from failpred_jax.predictor import join
from failpred_jax.registry import SOURCES
from failpred_jax.results import read_evaluation, read_fits


def test_test_images_have_the_scores_of_the_evaluation(everything, predictor, whole):
    evaluated = read_evaluation(everything[0] / 'evaluation')
    kept = evaluated.test
    assert {*whole.confidences} == {*kept.confidences} - {'tcp'}
    assert {*predictor.scores} == {*EVALUATED} - {'tcp'}
    np.testing.assert_array_equal(whole.label, kept.logits.argmax(-1))
    assert (whole.class_names, list(whole.names[:3])) == (tuple('0123456789'), list(map(str, whole.label[:3])))
    np.testing.assert_allclose(whole.probs.sum(-1), 1, rtol=1e-5)
    for name, confidence in whole.confidences.items():
        expected = kept.confidences[name]
        assert confidence.dtype == expected.dtype
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(confidence, expected, rtol=1e-6, atol=1e-6 * scale, err_msg=name)
        # P(correct) rises with the confidence and is what the evaluation's calibration measured.
        calibrated = evaluated.scores[name].calibrated
        assert (name in whole.p_correct) == bool(calibrated.chosen), name
    for name in ('mcp', 'confidnet', 'confidnet_finetuned', 'mc_dropout'):
        np.testing.assert_array_equal(whole.confidences[name], kept.confidences[name], err_msg=name)
    assert 'reads the label' in predictor.unavailable['tcp']


def test_an_image_alone_has_the_scores_it_has_among_others_at_any_batch_size(everything, predictor, whole):
    images = everything[1].test.images
    alone = predictor.predict(images[7:8], ids=['seven'], scores=['all'], numbers=[7])
    other = failpred_jax.load(everything[0], batch_size=13)
    assert other.batch_size == 16  # As many on each of eight devices.
    some = ('mcp', 'confidnet', 'confidnet_finetuned', 'mc_dropout', 'temperature_mcp')
    small = other.predict(images[5:25, ..., 0], scores=some, numbers=np.arange(5, 25))
    assert list(alone.ids) == ['seven']
    for name, confidence in whole.confidences.items():
        # A product's row is rounded by how many rows are scored at once, which is as many as the images fill.
        scale = 1e-6 * float(np.abs(confidence).max())
        np.testing.assert_allclose(alone.confidences[name], confidence[7:8], rtol=1e-6, atol=scale, err_msg=name)
    for name in some[:4]:
        np.testing.assert_array_equal(alone.confidences[name], whole.confidences[name][7:8], err_msg=name)
    for name in some:
        np.testing.assert_allclose(small.confidences[name], whole.confidences[name][5:25], atol=1e-6, err_msg=name)
    # Dropout is drawn by the image's number: another one gives another sample, of that score alone.
    renumbered = predictor.predict(images[7:8], scores=['mcp', 'mc_dropout'], numbers=[8])
    assert renumbered.confidences['mc_dropout'] != alone.confidences['mc_dropout']
    assert renumbered.confidences['mcp'] == alone.confidences['mcp']
    fused = predictor.predict(images[7:8], scores='fusion', numbers=[7])
    assert fused.confidences['fusion'] == alone.confidences['fusion']


def test_images_are_scored_in_groups_of_any_size_alike(everything, predictor, whole, monkeypatch):
    for most in (1, predictor.batch_size, 4 * predictor.batch_size):
        monkeypatch.setattr(predictor_room, 'GROUP', most)
        found = predictor.predict(everything[1].test.images, scores=['all'])
        np.testing.assert_array_equal(found.probs, whole.probs)
        for name, confidence in whole.confidences.items():
            scale = 1e-6 * float(np.abs(confidence).max())
            np.testing.assert_allclose(found.confidences[name], confidence, rtol=1e-6, atol=scale, err_msg=name)


def test_p_correct_is_what_the_evaluation_calibrated(everything, whole):
    evaluated = read_evaluation(everything[0] / 'evaluation')
    correct = evaluated.test.correct
    for name in FEW:
        calibrated = evaluated.scores[name].calibrated
        brier = float(np.mean((whole.p_correct[name] - correct) ** 2))
        key = 'before' if calibrated.chosen == 'none' else calibrated.chosen
        np.testing.assert_allclose(brier, calibrated.figures[key]['brier'], rtol=1e-5)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda x: x / 255.0, r'of type float64; this run takes uint8, 0 to 255.*\* 255\).round'),
        (lambda x: x[:, :7], r'shape \(3, 7, 8, 1\); this run takes \(N, 8, 8, 1\) or \(N, 8, 8\); bring them'),
        (lambda x: np.repeat(x, 3, -1), r'shape \(3, 8, 8, 3\); this run takes'),
        (lambda x: np.repeat(x, 2, 2).transpose(0, 3, 1, 2), r'channels last: images.transpose\(0, 2, 3, 1\)'),
        (lambda x: x[0], r'one image alone is image\[None\]'),
        (lambda x: x[0, ..., 0], r'one image alone is image\[None\]'),
        (lambda x: x[:0], 'there are no images'),
        (lambda x: [x[0], x[1][:5]], 'not one array'),
    ],
)
def test_other_images_are_refused_in_one_message(everything, predictor, change, words):
    with pytest.raises(UserError, match=words):
        predictor.predict(change(everything[1].test.images[:3]))


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        ({'scores': ['confidnt']}, "'confidnt' cannot be had of new images; did you mean 'confidnet'"),
        ({'scores': ['tcp']}, 'it reads the label, which a new image does not have'),
        ({'scores': ['ensemble']}, "'ensemble' cannot be had of new images"),
        ({'ids': ['a']}, r'ids has shape \(1,\), but there are 3 images'),
        ({'numbers': [0, 1, -2]}, 'one whole number from 0 for each'),
    ],
)
def test_other_arguments_are_refused_too(everything, predictor, more, words):
    with pytest.raises(UserError, match=words):
        predictor.predict(everything[1].test.images[:3], **more)


def test_a_workdir_that_is_none_or_changed_is_refused(everything, tmp_path):
    with pytest.raises(UserError, match='holds no run'):
        failpred_jax.load(tmp_path)
    config = json.loads((everything[0] / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps(config | {'seeds': [0, 1]}))
    with pytest.raises(UserError, match='several seeds; name the folder of one: seed_0, seed_1'):
        failpred_jax.load(tmp_path)
    # A key that its version did not have is at its default.
    del config['evaluate']['block_length'], config['data']['augment']
    (tmp_path / 'config.json').write_text(json.dumps(config))
    with pytest.raises(
        UserError, match=r'was not evaluated yet; evaluate it with --config=FILE --mode=evaluate --workdir='
    ):
        failpred_jax.load(tmp_path)
    shutil.copytree(everything[0] / 'evaluation' / 'fitted', tmp_path / 'evaluation' / 'fitted')
    shutil.copytree(everything[0] / 'baseline', tmp_path / 'baseline')
    with pytest.raises(UserError, match='confidence.checkpoints cannot be used'):
        failpred_jax.load(tmp_path)
    shutil.copytree(everything[0] / 'confidence', tmp_path / 'confidence')
    for metadata in (tmp_path / 'confidence' / 'checkpoints').glob('*/progress/metadata'):
        metadata.write_text(metadata.read_text().replace('"digest": "', '"digest": "0'))
    with pytest.raises(UserError, match='is not the one that was evaluated'):
        failpred_jax.load(tmp_path)


def test_an_ensemble_reads_the_classifiers_beside_it(everything, predictor, whole, tmp_path):
    """Twice the same classifier: the mean probability of the predicted class is its own."""
    workdir, data = everything
    own = {'seed': predictor.run.config.seed, **read_fits(workdir / 'evaluation').meta['run']['weights']['baseline']}
    ensemble, entropy = 'ensemble', 'ensemble_entropy'
    fits = dataclasses.replace(predictor.run.fits, scores=(*predictor.run.fits.scores, ensemble, entropy))
    both = finished_run._find_members(workdir, own['seed'], [own, own])
    assert both == (((workdir / 'baseline', own),) * 2, '')
    twice = predictor_room.Predictor(dataclasses.replace(predictor.run, fits=fits, members=both[0], no_ensemble=''))
    found = twice.predict(data.test.images[:20], scores=[ensemble, entropy, 'mcp'])
    np.testing.assert_allclose(found.confidences[ensemble], found.confidences['mcp'], atol=1e-6)
    assert (found.confidences[entropy] <= 0).all() and len(found) == 20
    # One that is not there, or was trained again, is told; all other scores are there.
    lost = finished_run._find_members(workdir, own['seed'], [own, own | {'seed': 77}])
    assert lost[0] == () and "there is no '" in lost[1] and 'seed_77' in lost[1]
    other = finished_run._find_members(workdir, own['seed'], [own | {'digest': 'x'}])
    assert other[0] == () and 'is not that of the evaluation' in other[1]
    assert 'this run was evaluated alone' in predictor.run.no_ensemble


def test_the_policy_decides_as_it_did_of_the_test_units(everything, predictor, whole, tmp_path):
    workdir, data = everything
    with (workdir / 'decisions' / 'decisions.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert predictor.policy.score == 'confidnet'
    assert [row['decision'] for row in rows] == whole.decision.names().tolist()
    # One image has one P(correct), also where no validation image was as sure or as unsure.
    np.testing.assert_allclose(whole.decision.p_correct, whole.p_correct['confidnet'], atol=3e-4)
    # The policy's score is computed for it, whatever is asked for.
    few = predictor.predict(data.test.images[:4], scores=['mcp'])
    assert [*few.confidences] == ['mcp', 'confidnet']
    assert few.decision.names().tolist() == whole.decision.names()[:4].tolist()
    parts = [predictor.predict(data.test.images[i : i + 2], scores=['mcp'], numbers=[i, i + 1]) for i in (0, 2)]
    joined = join(parts)
    assert joined.ids.tolist() == ['0', '1'] * 2
    for name in ('label', 'probs'):
        np.testing.assert_array_equal(getattr(joined, name), getattr(few, name))
    assert joined.decision.names().tolist() == few.decision.names().tolist()
    # A policy belongs to its model.
    other = tmp_path / 'run'
    shutil.copytree(workdir, other)
    policy = json.loads((other / 'decisions' / 'policy.json').read_text())
    (other / 'decisions' / 'policy.json').write_text(json.dumps(policy | {'model': '0' * 32}))
    with pytest.raises(UserError, match='the policy belongs to the model .*; or move .*decisions away'):
        failpred_jax.load(other)
    shutil.rmtree(other / 'decisions')
    without = failpred_jax.load(other)
    assert (without.policy, without.no_policy[:16]) == (None, 'the run has no d')


def test_the_page_runs(everything, capsys):
    (block,) = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'predicting.md').read_text(), re.DOTALL)
    exec(block.replace('runs/digits', str(everything[0])), {})  # noqa: S102  (our own page)
    # Three names, three confidences, three probabilities.
    assert len(re.findall(r"'\d'", printed := capsys.readouterr().out)) == 3
    assert len(re.findall(r'0\.\d+', printed)) == 6


def test_the_data_set_is_not_needed(everything, monkeypatch):
    """Whatever asked for it would end here."""

    def gone(*given):
        raise FileNotFoundError

    monkeypatch.setitem(SOURCES._entries, 'digits', gone)
    with pytest.raises(FileNotFoundError):
        load_data(failpred_jax.load(everything[0]).run.config.data)
    assert len(failpred_jax.load(everything[0]).scores) == len(EVALUATED) - 1
