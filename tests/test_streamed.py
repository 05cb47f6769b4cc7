"""--mode=combine --stream: fitted as the Python function does, in any order of the stream, and applied as written."""

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from failpred_jax import apply, main
from failpred_jax.files import read_npz
from failpred_jax.scores.two_scores import fit_two_scores
from failpred_jax.streamed import MIN_UNITS, SCORE, fit_to_stream

NAMES = ('ranker', 'stranger')
PAGE = Path(__file__).parents[1] / 'docs' / 'shift.md'


def scores(rng, correct, strange):
    """Return a score that ranks errors and one that tells strangers, with ties."""
    ranker = np.round(2.0 * correct + rng.normal(size=len(correct)), 1)
    return {NAMES[0]: ranker, NAMES[1]: np.round(rng.normal(size=len(correct)) - 2.0 * strange, 1)}


def labeled(rng, names=NAMES):
    found = {}
    for prefix, size in (('', 200), ('val_', 300), ('cal_', 250)):
        correct = rng.random(size) < 0.85
        of = zip(names, scores(rng, correct, np.zeros(size, bool)).values(), strict=True)
        found |= {f'{prefix}correct': correct, **{f'{prefix}confidence_{name}': values for name, values in of}}
    return found


def stream(rng, names=NAMES, size=120):
    strange = rng.random(size) < 0.4
    of = scores(rng, (rng.random(size) < 0.85) & ~strange, strange)
    return {f'confidence_{name}': values for name, values in zip(names, of.values(), strict=True)}


@pytest.fixture
def files(rng, tmp_path):
    np.savez(tmp_path / 'p.npz', **labeled(rng))
    np.savez(tmp_path / 'stream.npz', **stream(rng), id=np.array([f'u{i}' for i in range(120)]))
    return tmp_path


def fit(folder, met='stream.npz', out='both.npz', coverage=0.9):
    output = folder / out
    fit_to_stream(folder / 'p.npz', NAMES, folder / met, output, coverage)
    with output.with_suffix('.stream.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    return read_npz(output), json.loads(output.with_suffix('.json').read_text()), rows


def test_it_is_what_the_function_fits_and_what_is_applied_is_what_is_written(files, capsys):
    given, met = read_npz(files / 'p.npz'), read_npz(files / 'stream.npz')
    found, content, rows = fit(files)
    own = [given[f'val_confidence_{name}'] for name in NAMES]
    pair = tuple(met[f'confidence_{name}'] for name in NAMES)
    library, notes = fit_two_scores(*own, given['val_correct'], pair)
    assert content['angle'] == library.angle and content['notes'] == list(notes)
    assert 0 < library.angle < 90
    read = apply.read_combination(files / 'both.json')
    for prefix in ('', 'val_', 'cal_'):
        values = {name: given[f'{prefix}confidence_{name}'] for name in NAMES}
        expected = np.asarray(library.of(*values.values()))
        np.testing.assert_array_equal(found[f'{prefix}confidence_{SCORE}'], expected)
        np.testing.assert_array_equal(apply.combine(read, SCORE, values), expected)
    for name, array in given.items():
        np.testing.assert_array_equal(found[name], array)
    confidence = np.asarray(library.of(*pair))
    assert [row['id'] for row in rows] == met['id'].tolist()
    np.testing.assert_array_equal(np.array([row[f'confidence_{SCORE}'] for row in rows], np.float32), confidence)
    accepted = confidence > content['threshold']
    assert [row['accepted'] == 'true' for row in rows] == accepted.tolist()
    assert np.mean(found[f'val_confidence_{SCORE}'] > content['threshold']) >= 0.9
    assert content['accepted'] == pytest.approx(accepted.mean())
    said = capsys.readouterr().out
    assert notes[0] in said and f'({accepted.sum()} of 120)' in said and 'note:' not in said


def test_the_order_of_the_stream_does_not_matter(rng, files):
    met = read_npz(files / 'stream.npz')
    order = rng.permutation(120)
    np.savez(files / 'turned.npz', **{name: values[order] for name, values in met.items()})
    _, content, rows = fit(files)
    _, turned, turned_rows = fit(files, 'turned.npz', 'turned_both.npz')
    assert turned == content
    assert turned_rows == [rows[at] for at in order]


def test_mcp_is_known_by_its_outputs_and_a_shared_unit_is_told(rng, tmp_path, capsys):
    own, met = labeled(rng, ('x', 'far')), stream(rng, ('x', 'far'))
    for prefix, of in (('', own), ('val_', own), ('cal_', own), ('', met)):
        count = len(of.pop(f'{prefix}confidence_x'))
        logits = rng.normal(size=(count, 3)).astype(np.float32)
        of[f'{prefix}logits'] = logits
        if (correct := of.pop(f'{prefix}correct', None)) is not None:
            of[f'{prefix}labels'] = np.where(correct, logits.argmax(1), (logits.argmax(1) + 1) % 3)
    met['logits'][:30], met['confidence_far'][:30] = own['cal_logits'][:30], own['cal_confidence_far'][:30]
    np.savez(tmp_path / 'p.npz', **own)
    np.savez(tmp_path / 'stream.npz', **met)
    fit_to_stream(tmp_path / 'p.npz', ('mcp', 'far'), tmp_path / 'stream.npz', tmp_path / 'both.npz', 0.95)
    assert 'note: 30 of 250 calibration units have both scores of a unit of the stream' in capsys.readouterr().out


def test_a_score_of_the_other_sign_is_told(files, capsys):
    for file in ('p.npz', 'stream.npz'):
        given = read_npz(files / file)
        np.savez(files / file, **{name: -x if name.endswith('stranger') else x for name, x in given.items()})
    _, content, _ = fit(files)
    assert content['angle'] == 0
    assert 'note: stranger ranks the stream higher' in capsys.readouterr().out


def test_the_commands_of_the_page_run(rng, files, monkeypatch, capsys):
    """Those of a file: fit, and certify what was fitted on calibration units."""
    monkeypatch.chdir(files)
    np.savez('predictions.npz', **labeled(rng, ('mcp', 'knn_distance')))
    np.savez('stream.npz', **stream(rng, ('mcp', 'knn_distance')))
    section = PAGE.read_text().split('## Two scores, fitted to a stream')[1].split('\n## ')[0]
    commands = re.findall(r'^python -m failpred_jax.main (.*(?:both|predictions)\.npz.*)$', section, re.MULTILINE)
    commands = [command for command in commands if '--workdir' not in command]
    assert [shlex.split(command)[0] for command in commands] == ['--mode=combine', '--mode=decide']
    for command in commands:
        assert main.main(['failpred', *shlex.split(command), *(['--resamples=0'] if 'decide' in command else [])]) == 0
    assert Path('both.stream.csv').exists()
    assert apply.read_policy(next(Path('runs').glob('*/decisions/policy.json'))).score == SCORE
    capsys.readouterr()


def test_fewer_units_than_needed_leave_nothing(rng, files):
    np.savez(files / 'few.npz', **stream(rng, size=MIN_UNITS - 1))
    words = [f'--predictions={files}/p.npz', f'--components={",".join(NAMES)}', f'--output={files}/both.npz']
    before = sorted(files.iterdir())
    assert main.main(['failpred', '--mode=combine', *words, f'--stream={files}/few.npz']) == 2
    assert sorted(files.iterdir()) == before
    np.savez(files / 'few.npz', **stream(rng, size=MIN_UNITS))
    assert main.main(['failpred', '--mode=combine', *words, f'--stream={files}/few.npz']) == 0
