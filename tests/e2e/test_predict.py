"""A finished run as a function of new images: its scores are those of its own evaluation."""

import csv
import dataclasses
import json
import re
import runpy
import shutil

import numpy as np
import pyarrow.parquet
import pytest
from e2e.command import ROOT
from PIL import Image

import failpred_jax
from failpred_jax import compiler, finished_run, main, session
from failpred_jax import predictor as predictor_room
from failpred_jax.data import load_data
from failpred_jax.decided import decide_run
from failpred_jax.errors import UserError
from failpred_jax.exporting import read_export
from failpred_jax.files import read_npz
from failpred_jax.prediction_file import read_predictions
from failpred_jax.predictor import join
from failpred_jax.registry import SOURCES
from failpred_jax.results import read_evaluation, read_fits

FEW = ('mcp', 'confidnet')
# Heads, dropout, fits and what combines them; test_fits.py has the other kinds of fits.
EVALUATED = (
    'mcp', 'tcp', 'confidnet', 'confidnet_finetuned', 'mc_dropout', 'temperature_mcp', 'knn_distance', 'fusion',
)  # fmt: skip


@pytest.fixture(scope='module')
def everything(finished, tmp_path_factory):
    """Return the WORKDIR of the shared run, with every score evaluated, and its data."""
    workdir = tmp_path_factory.mktemp('everything') / 'run'
    shutil.copytree(finished[0], workdir, ignore=shutil.ignore_patterns('tensorboard', 'report'))
    config = json.loads((workdir / 'config.json').read_text())
    config['evaluate'] |= {'scores': EVALUATED, 'resamples': 0}
    with pytest.MonkeyPatch.context() as patch:
        # The cache of compilations is for users.
        patch.setattr(compiler, 'keep_compilations', lambda: None)
        with session.opened(config, workdir) as run:
            run.evaluate()
            decide_run(workdir, dataclasses.replace(run.config.decide, score='confidnet'))
        yield workdir, run.run.data


@pytest.fixture(scope='module')
def predictor(everything):
    return failpred_jax.load(everything[0])


@pytest.fixture(scope='module')
def whole(predictor, everything):
    """Return the prediction of the whole test split, with every score."""
    return predictor.predict(everything[1].test.images, scores=['all'])


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
        np.testing.assert_array_equal(alone.confidences[name], confidence[7:8], err_msg=name)
    for name in some:
        np.testing.assert_allclose(small.confidences[name], whole.confidences[name][5:25], atol=1e-6, err_msg=name)
    # Dropout is drawn by the image's number: another one gives another sample, of that score alone.
    renumbered = predictor.predict(images[7:8], scores=['mcp', 'mc_dropout'], numbers=[8])
    assert renumbered.confidences['mc_dropout'] != alone.confidences['mc_dropout']
    assert renumbered.confidences['mcp'] == alone.confidences['mcp']
    fused = predictor.predict(images[7:8], scores='fusion', numbers=[7])
    assert fused.confidences['fusion'] == alone.confidences['fusion']


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
        (lambda x: x / 255.0, r'of type float64; this run takes uint8, 0 to 255.*round'),
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
    with pytest.raises(UserError, match='what the evaluation fitted was not kept; --mode=evaluate makes it again'):
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


def run(*words):
    return main.main(['failpred', '--mode=predict', *map(str, words)])


@pytest.fixture
def pictures(everything, tmp_path):
    """Return a folder with the first twelve test images as PNGs, some of them in a folder below."""
    folder = tmp_path / 'new'
    (folder / 'more').mkdir(parents=True)
    for i, image in enumerate(everything[1].test.images[:12, ..., 0]):
        Image.fromarray(image).save(folder / ('more' if i >= 10 else '') / f'd{i:02}.png')
    (folder / 'notes.txt').write_text('not a picture')
    (folder / '._d00.png').write_text('left by a system')
    return folder


def test_a_folder_becomes_a_table_that_can_be_scored(everything, pictures, whole, tmp_path, capsys):
    workdir, data = everything
    out = tmp_path / 'predicted.csv'
    assert run(f'--workdir={workdir}', f'--inputs={pictures}', f'--output={out}', '--scores=confidnet,mcp') == 0
    assert f'{out}: 12 predictions' in capsys.readouterr().out
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row['id'] for row in rows] == [*(f'd{i:02}.png' for i in range(10)), 'more/d10.png', 'more/d11.png']
    assert [int(row['predicted']) for row in rows] == whole.label[:12].tolist()
    for name in FEW:
        found = np.array([row[f'confidence_{name}'] for row in rows], np.float32)
        np.testing.assert_array_equal(found, whole.confidences[name][:12])
        found = np.array([row[f'calibrated_{name}'] for row in rows], np.float64)
        np.testing.assert_array_equal(found, whole.p_correct[name][:12])
    labeled = tmp_path / 'labeled.csv'
    with labeled.open('w') as file:
        writer = csv.DictWriter(file, [*rows[0], 'labels'])
        writer.writeheader()
        writer.writerows(row | {'labels': label} for row, label in zip(rows, data.test.labels[:12], strict=True))
    units = read_predictions(labeled)['evaluated']
    np.testing.assert_array_equal(units.labels, data.test.labels[:12])
    np.testing.assert_allclose(np.exp(units.logits), whole.probs[:12], rtol=1e-5)
    np.testing.assert_array_equal(
        units.confidences['confidnet'].astype(np.float32), whole.confidences['confidnet'][:12]
    )


def test_arrays_and_tables_of_paths_are_inputs_too(everything, pictures, whole, tmp_path):
    workdir, data = everything
    arrays = tmp_path / 'images.npz'
    np.savez(arrays, images=data.test.images[:5], id=np.array(list('abcde')))
    out = tmp_path / 'a.npz'
    assert run(f'--workdir={workdir}', f'--inputs={arrays}', f'--output={out}', '--scores=mcp') == 0
    found = read_npz(out)
    assert list(found['id']) == list('abcde')
    assert found['probs'].shape == (5, 10)
    np.testing.assert_array_equal(found['confidence_mcp'], whole.confidences['mcp'][:5])
    np.save(tmp_path / 'x.npy', data.test.images[:5, ..., 0])
    table = tmp_path / 'list.csv'
    table.write_text('id,file\none,new/d01.png\neleven,new\\more\\d11.png\n')
    for inputs, ids, places in ((tmp_path / 'x.npy', list('01234'), range(5)), (table, ['one', 'eleven'], [1, 11])):
        out = inputs.with_suffix('.parquet')
        assert run(f'--workdir={workdir}', f'--inputs={inputs}', f'--output={out}', '--scores=mcp') == 0
        found = pyarrow.parquet.read_table(out).to_pydict()
        assert found['id'] == ids
        np.testing.assert_array_equal(np.float32(found['confidence_mcp']), whole.confidences['mcp'][[*places]])


def _color(file):
    Image.fromarray(np.full((8, 8, 3), (9, 80, 200), np.uint8)).save(file)


def _wide(file):
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(file)


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (lambda folder: shutil.rmtree(folder), 'there is no file'),
        (
            lambda folder: [file.unlink() for file in folder.rglob('*.png')],
            'holds no pictures (it holds 1 other files)',
        ),
        (
            lambda folder: [file.write_bytes(b'\x89PNG damaged') for file in folder.rglob('*.png')],
            '12 of the 12 pictures cannot be used',
        ),
    ],
)
def test_inputs_that_cannot_be_used_are_named_and_nothing_is_written(
    everything, pictures, tmp_path, capsys, spoil, words
):
    spoil(pictures)
    out = tmp_path / 'out.csv'
    assert run(f'--workdir={everything[0]}', f'--inputs={pictures}', f'--output={out}', '--scores=mcp') == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob('out*'))


def test_pictures_that_cannot_be_used_are_listed_and_the_others_predicted(
    everything, pictures, whole, tmp_path, capsys
):
    (pictures / 'b.png').write_bytes(b'\x89PNG damaged')
    _color(pictures / 'd03b.png')
    _wide(pictures / 'e.png')
    out = tmp_path / 'out.csv'
    assert run(f'--workdir={everything[0]}', f'--inputs={pictures}', f'--output={out}', '--scores=mc_dropout') == 2
    said = capsys.readouterr().err
    assert '3 of the 15 pictures cannot be used' in said and "the other 12 are predicted in '" in said
    with (tmp_path / 'out.failed.csv').open() as file:
        failed = {row['id']: row['reason'] for row in csv.DictReader(file)}
    assert "b.png' cannot be read as an image" in failed.pop('b.png')
    assert "d03b.png' is stored in color, but this run takes gray pictures" in failed.pop('d03b.png')
    assert "e.png' is 8 x 9 (height x width), but this run takes 8 x 8" in failed.pop('e.png') and not failed
    with out.open() as file:
        rows = list(csv.DictReader(file))
    # Dropout is drawn by the place among all inputs, and the first of these is one further on.
    places = [1, 2, 3, 4, *range(6, 12), 13, 14]
    expected = everything[1].test.images[:12]
    found = failpred_jax.load(everything[0]).predict(expected, scores=['mc_dropout'], numbers=places)
    mine = np.array([row['confidence_mc_dropout'] for row in rows], np.float32)
    np.testing.assert_allclose(mine, found.confidences['mc_dropout'], atol=1e-6)
    assert run(f'--workdir={everything[0]}', f'--inputs={pictures}', f'--output={out.with_suffix(".npz")}') == 2
    assert "'out.failed.csv' is there already" in capsys.readouterr().err.replace(f'{tmp_path}/', '')


def test_an_output_is_never_written_over(everything, pictures, tmp_path, capsys):
    out = tmp_path / 'out.csv'
    out.write_text('mine')
    workdir, inputs = f'--workdir={everything[0]}', f'--inputs={pictures}'
    for words, message in (
        ((workdir, inputs, f'--output={out}'), 'is there already'),
        ((workdir, inputs, f'--output={tmp_path / "out.xlsx"}'), 'ends with one of: .csv, .parquet, .npz'),
        ((workdir, inputs, f'--output={tmp_path / "no" / "out.csv"}'), 'there is no folder'),
        ((workdir, inputs), '--mode=predict needs --output=PATH'),
        ((inputs, f'--output={out}'), '--mode=predict needs --workdir=DIR'),
    ):
        assert run(*words) == 2
        assert message in capsys.readouterr().err
    assert out.read_text() == 'mine'


def test_the_policy_decides_as_it_did_of_the_test_units(everything, predictor, whole, tmp_path):
    workdir, data = everything
    with (workdir / 'decisions' / 'decisions.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert predictor.policy.score == 'confidnet'
    assert [row['decision'] for row in rows] == whole.decision.names().tolist()
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


def test_an_exported_run_says_what_the_run_says(everything, predictor, whole, tmp_path, capsys):
    workdir, data = everything
    out = tmp_path / 'served'
    words = ('failpred', '--mode=export', f'--workdir={workdir}', f'--output={out}')
    assert main.main([*words, '--scores=mcp,confidnet_finetuned,temperature_mcp']) == 0
    assert sorted(path.name for path in out.iterdir()) == ['export.json', 'model.stablehlo']
    exported, meta = read_export(out)
    for count in (1, 7):
        found = exported.call(data.test.images[:count])
        np.testing.assert_array_equal(found['label'], whole.label[:count])
        for name in ('mcp', 'confidnet_finetuned', 'temperature_mcp'):
            np.testing.assert_allclose(found[f'confidence_{name}'], whole.confidences[name][:count], atol=1e-6)
    knots = meta['calibrators']['mcp']['knots']
    # Beyond the validation units' range the knots are flat.
    inside = np.clip(whole.confidences['mcp'], knots['confidence'][0], knots['confidence'][-1])
    mapped = np.interp(inside, knots['confidence'], knots['probability'])
    np.testing.assert_allclose(mapped, predictor.p_correct({'mcp': inside})['mcp'], atol=2e-4)
    assert set(meta['platforms']) == {'cpu', 'cuda', 'tpu'}
    for scores, message in (
        ('mcp', 'which is there already'),
        ('mc_dropout', 'draws dropout passes at random'),
        ('fusion', 'reads all other scores'),
        ('knn_distance', 'cannot be exported with knn_distance'),
    ):
        target = f'--output={out}{"" if scores == "mcp" else scores}'
        assert main.main([*words[:3], target, f'--scores={scores}']) == 2
        assert message in capsys.readouterr().err
    (out / 'model.stablehlo').write_bytes(b'other')
    with pytest.raises(UserError, match='is damaged: it is not what was written'):
        read_export(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['served']


def test_the_service_answers(everything, whole, pictures, monkeypatch):
    fastapi = pytest.importorskip('fastapi', reason='the example needs fastapi')
    testclient = pytest.importorskip('fastapi.testclient', reason='its test needs httpx')
    assert fastapi
    monkeypatch.setenv('WORKDIR', str(everything[0]))
    client = testclient.TestClient(runpy.run_path(str(ROOT / 'examples' / 'serve.py'))['app'])
    answer = client.post('/predict', content=(pictures / 'd03.png').read_bytes())
    assert answer.status_code == 200
    found = answer.json()
    assert (found['class'], found['score']) == (whole.names[3], 'confidnet')
    assert found['decision'] == whole.decision.names()[3]
    np.testing.assert_allclose(found['confidence'], whole.confidences['confidnet'][3], atol=1e-6)
    np.testing.assert_allclose(found['p_correct'], whole.p_correct['confidnet'][3], atol=1e-3)
    refused = client.post('/predict', content=b'no picture')
    assert refused.status_code == 422
    assert 'cannot be read as an image' in refused.json()['detail']


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
