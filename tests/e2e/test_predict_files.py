"""A finished run applied to files of new images, exported, and served."""

import csv
import importlib.util
import runpy
import shutil

import numpy as np
import pyarrow.parquet
import pytest
from e2e.command import ROOT
from e2e.runs import FEW
from PIL import Image

import failpred_jax
from failpred_jax import main
from failpred_jax.errors import UserError
from failpred_jax.exporting import read_export
from failpred_jax.files import read_npz
from failpred_jax.prediction_file import read_predictions


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


def test_a_table_of_paths_alone_is_enough_and_ids_of_several_images_are_told(
    everything, pictures, whole, tmp_path, capsys
):
    table, out = tmp_path / 'list.csv', tmp_path / 'out.npz'
    table.write_text('path\nnew/d01.png\nnew/d02.png\n')
    assert run(f'--workdir={everything[0]}', f'--inputs={table}', f'--output={out}', '--scores=mcp') == 0
    found = read_npz(out)
    assert list(found['id']) == ['new/d01.png', 'new/d02.png']
    np.testing.assert_array_equal(found['confidence_mcp'], whole.confidences['mcp'][1:3])
    assert 'more than once' not in capsys.readouterr().out
    table.write_text('id,path\nsame,new/d01.png\nother,new/d02.png\nsame,new/d03.png\n')
    np.savez(tmp_path / 'list.npz', images=everything[1].test.images[:3], id=np.array(['same', 'other', 'same']))
    for inputs in (table, tmp_path / 'list.npz'):
        out = tmp_path / f'{inputs.name}.parquet'
        assert run(f'--workdir={everything[0]}', f'--inputs={inputs}', f'--output={out}', '--scores=mcp') == 0
        words = f"WARNING: 1 id of '{inputs}' is there more than once, such as 'same' (2 times)"
        assert words in capsys.readouterr().out
        assert pyarrow.parquet.read_table(out).num_rows == 3


def test_pictures_of_kinds_that_are_not_read_are_listed_and_other_files_are_not(
    everything, pictures, whole, tmp_path, capsys
):
    heic = bytes(4) + b'ftypheic' + bytes(16)
    (pictures / 'a.HEIC').write_bytes(heic)
    (pictures / 'more' / 'b').write_bytes(heic)
    (pictures / 'c.jp2').touch()
    shutil.copy(pictures / 'd00.png', pictures / 'noext')
    shutil.copy(pictures / 'd00.png', pictures / 'd.heif')
    for name in ('.DS_Store', '._x.heic', 'list.csv', 'film.mp4', 'no_picture'):
        (pictures / name).write_text('image,label')
    out = tmp_path / 'out.csv'
    assert run(f'--workdir={everything[0]}', f'--inputs={pictures}', f'--output={out}', '--scores=mc_dropout') == 2
    assert '5 of the 17 pictures cannot be used' in capsys.readouterr().err
    with (tmp_path / 'out.failed.csv').open() as file:
        failed = {row['id']: row['reason'] for row in csv.DictReader(file)}
    assert set(failed) == {'a.HEIC', 'more/b', 'c.jp2', 'noext', 'd.heif'}
    for name, kind in (('a.HEIC', 'HEIC'), ('more/b', 'HEIC'), ('c.jp2', '.jp2')):
        assert f"/{name}' is a picture of a kind that is not read here ({kind}); save it as PNG or" in failed[name]
    assert failed['noext'].endswith("rename it to 'noext.png'") and failed['d.heif'].endswith("rename it to 'd.png'")
    with out.open() as file:
        rows = list(csv.DictReader(file))
    # They take no place from the others, by which dropout is drawn.
    found = np.array([row['confidence_mc_dropout'] for row in rows], np.float32)
    np.testing.assert_array_equal(found, whole.confidences['mc_dropout'][:12])
    out = tmp_path / 'one.csv'
    assert run(f'--workdir={everything[0]}', f'--inputs={pictures / "noext"}', f'--output={out}') == 2
    assert "rename it to 'noext.png'" in capsys.readouterr().err


def _color(file):
    Image.fromarray(np.full((8, 8, 3), (9, 80, 200), np.uint8)).save(file)


def _wide(file):
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(file)


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (
            lambda folder: shutil.rmtree(folder),
            "new' (give a folder of pictures, a picture, a table",
        ),
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


def test_of_a_table_those_that_are_there_are_predicted(everything, pictures, whole, tmp_path, capsys):
    table, out = tmp_path / 'list.csv', tmp_path / 'a.csv'
    table.write_text('id,file\none,new/d01.png\ngone,new/none.png\neleven,new/more/d11.png\n')
    assert run(f'--workdir={everything[0]}', f'--inputs={table}', f'--output={out}', '--scores=mcp') == 2
    said = capsys.readouterr().err
    assert '1 of the 3 pictures cannot be used' in said and f"there is no file '{tmp_path}/new/none.png'" in said
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row['id'] for row in rows] == ['one', 'eleven']
    mine = np.array([row['confidence_mcp'] for row in rows], np.float32)
    np.testing.assert_allclose(mine, whole.confidences['mcp'][[1, 11]], atol=1e-6)
    table.write_text('id,file\na,none.png\nb,new/d99.png\n')
    assert run(f'--workdir={everything[0]}', f'--inputs={table}', f'--output={tmp_path / "b.csv"}') == 2
    assert f"names 2 pictures, and none is there, such as '{tmp_path}/none.png'" in capsys.readouterr().err
    assert not (tmp_path / 'b.csv').exists()


@pytest.mark.parametrize('shape', [(8, 8), (8, 8, 1)])
def test_an_array_of_one_image_is_one_image(shape, everything, whole, tmp_path):
    np.save(tmp_path / 'one.npy', everything[1].test.images[0].reshape(shape))
    out = tmp_path / 'a.npz'
    words = (f'--workdir={everything[0]}', f'--inputs={tmp_path / "one.npy"}', f'--output={out}', '--scores=mcp')
    assert run(*words) == 0
    np.testing.assert_allclose(read_npz(out)['confidence_mcp'], whole.confidences['mcp'][:1], atol=1e-6)


@pytest.mark.parametrize('divisor', [16, 1])
def test_images_on_another_scale_are_said_to_be_too_dark(everything, tmp_path, capsys, divisor):
    workdir, data = everything
    np.save(tmp_path / 'images.npy', data.test.images[:20] // divisor)
    out = tmp_path / 'a.csv'
    assert run(f'--workdir={workdir}', f'--inputs={tmp_path / "images.npy"}', f'--output={out}', '--scores=mcp') == 0
    assert ('no value of these images is over 15, and' in capsys.readouterr().out) is (divisor == 16)


def test_a_picture_that_became_black_among_others_is_named(everything, pictures, tmp_path, capsys):
    """16 bits whose values end at 255 are black where 65535 is white; the others are bright."""
    pixels = everything[1].test.images[3, ..., 0]
    Image.fromarray(pixels.astype(np.uint16)).save(pictures / 'd03.png')
    words = (f'--workdir={everything[0]}', f'--inputs={pictures}', '--scores=mcp')
    assert run(*words, f'--output={tmp_path / "a.csv"}') == 0
    assert "1 of 12 images are nearly of one value all over, such as 'd03.png'" in capsys.readouterr().out
    Image.fromarray(pixels.astype(np.uint16) * 257).save(pictures / 'd03.png')
    assert run(*words, f'--output={tmp_path / "b.csv"}') == 0
    assert 'one value' not in capsys.readouterr().out


def test_an_output_is_never_written_over(everything, pictures, tmp_path, capsys):
    out = tmp_path / 'out.csv'
    out.write_text('mine')
    workdir, inputs = f'--workdir={everything[0]}', f'--inputs={pictures}'
    for words, message in (
        ((workdir, inputs, f'--output={out}'), 'is there already'),
        ((workdir, inputs, f'--output={tmp_path / "out.xlsx"}'), 'ends with one of: .csv, .parquet, .npz'),
        ((workdir, inputs, f'--output={tmp_path / "no" / "out.csv"}'), 'there is no folder'),
        # A disk that nobody writes, not even root; it is found before anything is computed.
        ((workdir, inputs, '--output=/proc/out.csv'), "the folder '/proc' cannot be written"),
        ((workdir, inputs), '--mode=predict needs --output=PATH'),
        ((inputs, f'--output={out}'), '--mode=predict needs --workdir=DIR'),
    ):
        assert run(*words) == 2
        assert message in capsys.readouterr().err
    assert out.read_text() == 'mine'


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
    mapped = np.interp(whole.confidences['mcp'], knots['confidence'], knots['probability'])
    np.testing.assert_allclose(mapped, whole.p_correct['mcp'], atol=3e-4)
    assert set(meta['platforms']) == {'cpu', 'cuda', 'tpu'}
    if importlib.util.find_spec('jax2onnx') is None or importlib.util.find_spec('onnxruntime') is None:
        assert main.main([*words[:3], f'--output={tmp_path / "onnx"}', '--scores=mcp', '--onnx']) == 2
        assert "pip install 'failpred_jax[onnx]'" in capsys.readouterr().err and not (tmp_path / 'onnx').exists()
    else:
        assert main.main([*words[:3], f'--output={tmp_path / "onnx"}', '--scores=mcp,confidnet', '--onnx']) == 0
        assert (tmp_path / 'onnx' / 'model.onnx').stat().st_size
        shutil.rmtree(tmp_path / 'onnx')
    for scores, message in (
        ('mcp', 'which is there already'),
        ('mc_dropout', 'draws dropout passes at random'),
        ('fusion', 'reads all other scores'),
        ('knn_distance', 'cannot be exported with knn_distance (what it computes depends on the number of images'),
        ('confidnet,knn_distance', 'cannot be exported with knn_distance ('),
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
