"""Shifted sets of a finished run: added without training or evaluating again, and equal to the same in a file."""

import json
import shutil

import numpy as np
import pytest
from e2e.command import TINY, run_well_here
from sklearn.datasets import load_digits

import failpred_jax
from failpred_jax import compiler, session
from failpred_jax.config import DecideConfig
from failpred_jax.files import read_npz
from failpred_jax.results import read_evaluation
from failpred_jax.results.decisions import read_decisions
from failpred_jax.results.shifted import read_gallery, read_shifted
from failpred_jax.scores.two_scores import fit_two_scores
from failpred_jax.shift.corruption import corrupt
from failpred_jax.shift.images import draw

FEW = {'shift_images': 60, 'scores': ('mcp', 'tcp', 'confidnet')}


@pytest.fixture(scope='module')
def shifted(finished, tmp_path_factory):
    """Return the WORKDIR of the shared run with two shifted sets, and its data."""
    workdir = tmp_path_factory.mktemp('shifted') / 'run'
    shutil.copytree(finished[0], workdir, ignore=shutil.ignore_patterns('tensorboard', 'report'))
    with pytest.MonkeyPatch.context() as patch:
        # The cache of compilations is for users.
        patch.setattr(compiler, 'keep_compilations', lambda: None)
        data = measure(workdir, ('blur:3', 'glyphs'))
        yield workdir, data


def measure(workdir, shifts):
    config = json.loads((workdir / 'config.json').read_text())
    config['evaluate'] |= {'scores': FEW['scores'], 'shift_images': FEW['shift_images'], 'shifts': shifts}
    with session.opened(config, workdir) as run:
        run.evaluate()
        run.measure_shifts()
        return run.run.data


def times(workdir, *patterns):
    return {path: path.stat().st_mtime_ns for pattern in patterns for path in workdir.glob(pattern) if path.is_file()}


def test_units_are_those_of_the_predictor(shifted):
    workdir, data = shifted
    (file,) = (workdir / 'shift' / 'units').glob('blur*')
    units = read_npz(file)
    rows = draw(len(data.test.labels), FEW['shift_images'], 0)
    np.testing.assert_array_equal(units['number'], rows)
    images, _ = corrupt(data.test.images[rows], 'blur', 3, 0, rows)
    predicted = failpred_jax.load(workdir).predict(images, numbers=rows)
    np.testing.assert_allclose(units['confidence_mcp'], predicted.confidences['mcp'], rtol=1e-5)
    np.testing.assert_allclose(units['confidence_confidnet'], predicted.confidences['confidnet'], rtol=1e-4)
    blurred = read_shifted(workdir / 'shift').sets[0]
    assert blurred.accuracy == np.mean(predicted.label == data.test.labels[rows])
    assert set(blurred.scores) == {'mcp', 'confidnet'}


def test_a_set_is_added_without_doing_the_others_again(shifted):
    workdir, _ = shifted
    before = read_shifted(workdir / 'shift')
    kept = times(workdir, '*/checkpoints/**/*', 'evaluation/*', 'shift/units/*')
    measure(workdir, ('blur:3', 'contrast:1', 'glyphs'))
    after = read_shifted(workdir / 'shift')
    now = times(workdir, '*/checkpoints/**/*', 'evaluation/*', 'shift/units/*')
    assert {path: now[path] for path in kept} == kept
    assert [found.name for found in after.sets] == ['blur:3', 'contrast:1', 'glyphs']
    assert (after.sets[0], after.sets[2]) == before.sets
    again = times(workdir, 'shift/*')
    measure(workdir, ('blur:3', 'contrast:1', 'glyphs'))
    assert times(workdir, 'shift/*') == again


def test_a_file_of_the_same_units_has_the_same_figures(shifted):
    workdir, _ = shifted
    test, strangers = (
        read_npz(p) for p in (workdir / 'evaluation/predictions.npz', workdir / 'shift/units/glyphs.npz')
    )
    names = ('mcp', 'confidnet')
    table = failpred_jax.evaluate_predictions(
        correct=test['correct'],
        confidences={name: test[f'confidence_{name}'] for name in names},
        shifts={'ood_glyphs': {f'confidence_{name}': strangers[f'confidence_{name}'] for name in names}},
        resamples=0,
    )
    (of_file,) = table.shifted.sets
    of_run = next(found for found in read_shifted(workdir / 'shift').sets if found.name == 'glyphs')
    for name in names:
        for setting in ('strangers', 'joint_10', 'joint_50'):
            assert of_file.scores[name][setting].metrics == pytest.approx(of_run.scores[name][setting].metrics)


def test_the_page_shows_them(shifted):
    workdir, _ = shifted
    session.build_report(workdir)
    page = (workdir / 'report' / 'index.html').read_text()
    assert '<section id="shifts"' in page
    assert 'If one input in ten may be a stranger' in page
    assert 'over the threshold that accepts 95 % of the validation images; the most confident first' in page
    gallery = read_gallery(workdir / 'shift')
    assert str(gallery['set__glyphs']) == 'glyphs'
    assert page.count('taken for ') >= len(gallery['image__glyphs'])
    assert 'glyphs,10 % shifted,confidnet' in (workdir / 'report' / 'shifted_sets.csv').read_text()


def test_severity_0_has_the_figures_of_the_promises_also_after_new_decisions(shifted):
    workdir, _ = shifted

    def said():
        sets = read_decisions(workdir / 'decisions').sets.rows['all'][0]
        found = read_shifted(workdir / 'shift').unshifted
        session.build_report(workdir)
        is_told = 'The decisions were made anew' in (workdir / 'report' / 'index.html').read_text()
        return (sets.coverage, sets.size) == (found.set_coverage, found.set_size), is_told

    assert said() == (True, False)
    session.decide(workdir, DecideConfig(sets='aps', sets_alpha=0.3))
    assert said() == (False, True)
    measure(workdir, ('blur:3', 'glyphs'))
    assert said() == (True, False)


def test_classes_that_are_left_out_are_measured_as_strangers(tmp_path):
    workdir, left_out = tmp_path / 'run', ('3', '7')
    words = [word for word in TINY if not word.startswith(('--config.evaluate.scores', '--config.finetune'))]
    words += ['--config.evaluate.scores=mcp,confidnet,knn_distance,two_scores', '--config.finetune.epochs=0']
    words += [f'--config.data.exclude_classes={",".join(left_out)}', f'--workdir={workdir}']
    run_well_here(*words)
    run = json.loads((workdir / 'evaluation' / 'context.json').read_text())['dataset']
    assert (run['name'], run['num_classes']) == ('digits without 3, 7', 8)
    test = read_npz(workdir / 'evaluation' / 'predictions.npz')
    assert set(test['labels']) == set(range(8)) and test['logits'].shape[1] == 8
    (strangers,) = read_shifted(workdir / 'shift').sets
    images, labels = load_digits(return_X_y=True)
    assert strangers.is_strangers and strangers.units == (
        len(images) - len(test['labels']) - run['num_train'] - run['num_val'] - run['num_calibration']
    )
    assert set(strangers.scores) == {'mcp', 'confidnet', 'knn_distance', 'two_scores'}
    assert strangers.scores['knn_distance']['strangers'].metrics['auroc'] > 0.5
    page = (workdir / 'report' / 'index.html').read_text()
    assert 'digits without 3, 7' in page and 'test images of classes that were left out (3, 7), strangers' in page


def test_two_scores_of_the_run_are_fitted_to_what_it_predicts(shifted, tmp_path):
    """From pictures that nobody labeled to what is accepted of them, by two commands."""
    workdir, data = shifted
    np.save(tmp_path / 'new.npy', np.concatenate([data.test.images[:40], 255 - data.test.images[:40]]))
    output = f'--output={tmp_path / "new.npz"}'
    run_well_here('--mode=predict', f'--workdir={workdir}', f'--inputs={tmp_path / "new.npy"}', output)
    names = '--components=mcp,confidnet', f'--stream={tmp_path / "new.npz"}', f'--output={tmp_path / "both.npz"}'
    run_well_here('--mode=combine', f'--workdir={workdir}', *names)
    known = read_evaluation(workdir / 'evaluation').validation
    met, found = read_npz(tmp_path / 'new.npz'), read_npz(tmp_path / 'both.npz')
    own, others = (
        [of[f'{where}{name}'] for name in ('mcp', 'confidnet')]
        for of, where in ((known.confidences, ''), (met, 'confidence_'))
    )
    fitted, _ = fit_two_scores(*own, known.correct, tuple(others))
    np.testing.assert_array_equal(found['val_confidence_two_scores_stream'], np.asarray(fitted.of(*own)))
    np.testing.assert_array_equal(found['val_labels'], known.labels)
    assert len((tmp_path / 'both.stream.csv').read_text().splitlines()) == 81
