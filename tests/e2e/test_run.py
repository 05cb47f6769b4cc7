"""A whole run on real digits: what it leaves, what it refuses, and what its other modes do."""

import csv
import fcntl
import json
import shutil

import numpy as np
import pytest
from e2e.command import STAGES, TINY, final_digests, run_here, run_well, run_well_here

from failpred_jax import apply
from failpred_jax.files import read_npz
from failpred_jax.metrics import FAILURE_METRICS, failure_metrics


@pytest.fixture
def copied(finished, tmp_path):
    """Return a copy of the finished WORKDIR, to change."""
    return shutil.copytree(finished[0], tmp_path / 'copied')


def test_ends_with_table_and_report(finished):
    workdir, out = finished
    assert '| mcp' in out
    assert f'report: {workdir / "report" / "index.html"}' in out
    assert '<html' in (workdir / 'report' / 'index.html').read_text()


def test_leaves_what_the_readme_says(finished):
    workdir, _ = finished
    for name in (
        'config.json', 'environment.json', 'split.npz', 'evaluation/metrics.json', 'evaluation/table.md',
        *(f'evaluation/{part}.npz' for part in ('predictions', 'validation', 'calibration')),
        'evaluation/context.json', 'confidence/targets.json',
        *(f'{stage}/{file}' for stage in STAGES for file in ('metrics.csv', 'result.json', 'checkpoints')),
    ):  # fmt: skip
        assert (workdir / name).exists(), name
    assert list((workdir / 'baseline' / 'tensorboard').glob('events*'))


def test_figures_are_those_of_the_saved_predictions(finished):
    workdir, _ = finished
    written = json.loads((workdir / 'evaluation' / 'metrics.json').read_text())
    saved = read_npz(workdir / 'evaluation' / 'predictions.npz')
    assert np.array_equal(saved['correct'], saved['logits'].argmax(-1) == saved['labels'])
    assert written['classifier']['num_errors'] == np.count_nonzero(~saved['correct']) >= 20
    for name in ('mcp', 'tcp', 'confidnet', 'confidnet_finetuned'):
        found = failure_metrics(saved[f'confidence_{name}'], saved['correct'])
        assert {key: written['scores'][name][key] for key in FAILURE_METRICS} == found


def test_units_for_certificates_are_kept_apart_and_scored(finished):
    workdir, out = finished
    assert 'digits: 449 training, 225 validation, 225 calibration and 898 test examples' in out
    split = read_npz(workdir / 'split.npz')
    assert len(np.unique(np.concatenate(list(split.values())))) == 1797
    saved, tested = (read_npz(workdir / 'evaluation' / f'{name}.npz') for name in ('calibration', 'predictions'))
    assert saved.keys() == tested.keys()
    assert len(saved['labels']) == len(split['calibration']) == 225
    page = (workdir / 'report' / 'index.html').read_text()
    assert 'calibration examples (for certificates alone)' in page
    # What was certified on them, as the page and the terminal say it.
    policy = apply.read_policy(workdir / 'decisions' / 'policy.json')
    assert policy.model in page and 'certified on 225 images' in out
    found = apply.decide(policy, tested[f'confidence_{policy.score}'])
    rows = (workdir / 'decisions' / 'decisions.csv').read_text().splitlines()
    place = rows[0].split(',').index('decision')
    assert [row.split(',')[place] for row in rows[1:]] == found.names().tolist()


def test_the_upper_bound_is_marked(finished):
    workdir, _ = finished
    table = (workdir / 'evaluation' / 'table.md').read_text()
    assert '| tcp *' in table
    assert 'reads the label' in table


def test_confidence_stages_leave_the_classifier_alone(copied):
    """Predictions of all three stages' weights are the same, to the last bit."""
    logits = []
    words = [word for word in TINY if not word.startswith('--config.evaluate.scores')]
    words += [f'--workdir={copied}', '--mode=evaluate', '--config.evaluate.scores=mcp', '--config.evaluate.resamples=0']
    for stage in STAGES:
        run_well_here(*words, f'--stage={stage}')
        logits.append(read_npz(copied / 'evaluation' / 'predictions.npz')['logits'])
    assert np.array_equal(logits[0], logits[1])
    assert np.array_equal(logits[0], logits[2])


def test_finished_stages_are_not_trained_again(copied):
    before = final_digests(copied)
    times = {stage: (copied / stage / 'result.json').stat().st_mtime_ns for stage in STAGES}
    run_well_here(*TINY, f'--workdir={copied}', '--mode=train')
    assert times == {stage: (copied / stage / 'result.json').stat().st_mtime_ns for stage in STAGES}
    assert final_digests(copied) == before


def test_a_finished_run_is_not_evaluated_again_unless_what_it_measures_changed(copied):
    file = copied / 'evaluation' / 'metrics.json'
    time = file.stat().st_mtime_ns
    out = run_well_here(*TINY, f'--workdir={copied}', '--config.run.chunk_seconds=0.3')
    assert 'is up to date (--mode=evaluate makes it again)' in out
    assert '| mcp' in out
    assert file.stat().st_mtime_ns == time


def test_curves_have_a_row_for_every_validation(finished):
    workdir, _ = finished
    with (workdir / 'baseline' / 'metrics.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row['step']) for row in rows] == [0, 15, 30, 45]
    assert [float(row['epoch']) for row in rows] == [0, 1, 2, 3]
    assert float(rows[-1]['train_loss']) < float(rows[1]['train_loss'])
    assert rows[0]['train_loss'] == ''


def test_another_config_is_refused_with_the_difference(copied):
    before = final_digests(copied)
    code, _, err = run_here(*TINY, f'--workdir={copied}', '--config.baseline.learning_rate=0.5')
    assert code == 2
    assert 'config.baseline.learning_rate: 0.05 there, 0.5 now' in err
    assert '--force' in err
    assert final_digests(copied) == before


def test_force_moves_the_old_run_aside(tmp_path):
    workdir = tmp_path / 'run'
    short = ('--config.confidence.epochs=0', '--config.finetune.epochs=0', '--mode=train')
    words = (*TINY, *short, f'--workdir={workdir}')
    run_well_here(*words)
    run_well_here(*words, '--config.baseline.learning_rate=0.5', '--force')
    (old,) = tmp_path.glob('run.old-*')
    assert json.loads((old / 'config.json').read_text())['baseline']['learning_rate'] == 0.05
    assert (old / 'baseline' / 'result.json').exists()
    assert json.loads((workdir / 'config.json').read_text())['baseline']['learning_rate'] == 0.5


def test_evaluate_names_the_stages_and_steps_there_are(copied):
    code, _, err = run_here(*TINY, f'--workdir={copied}', '--mode=evaluate', '--stage=finetun')
    assert code == 2
    assert "did you mean 'finetune'" in err
    code, _, err = run_here(*TINY, f'--workdir={copied}', '--mode=evaluate', '--stage=baseline', '--step=5')
    assert code == 2
    assert 'has no checkpoint of step 5; it has: ' in err


def test_a_second_run_on_the_same_workdir_is_refused(copied):
    with (copied / '.lock').open('a') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = run_here(*TINY, f'--workdir={copied}')
    assert code == 2
    assert 'another run is using the WORKDIR' in err


def test_saved_predictions_scored_alone_give_the_same_figures(finished, tmp_path):
    """To the last digit, intervals included, with no model, config or tensorflow, on one device instead of eight."""
    workdir, _ = finished
    out = run_well(
        '--mode=score',
        '--resamples=50',
        f'--predictions={workdir / "evaluation" / "predictions.npz"}',
        f'--workdir={tmp_path / "score"}',
        num_devices=1,
    )
    assert f'report: {tmp_path / "score" / "report" / "index.html"}' in out
    ran, scored = (json.loads((w / 'evaluation' / 'metrics.json').read_text()) for w in (workdir, tmp_path / 'score'))
    assert scored['classifier'] == ran['classifier']
    for name, found in ran['scores'].items():
        # What was fitted or chosen on validation units is not in the file; of calibration, what was before it.
        apart = dict.fromkeys(('notes', 'calibrated', 'working_points'))
        assert scored['scores'][name] | apart == found | apart
        for part in ('figures', 'intervals'):
            both = (
                of['calibrated'][part].get('before') for of in (scored['scores'][name], found) if 'calibrated' in of
            )
            assert len({json.dumps(before) for before in both}) <= 1


def test_a_head_that_learned_a_constant_is_told_with_what_to_change(copied):
    out = run_well_here(*TINY, '--config.confidence.learning_rate=3', '--mode=train', f'--workdir={copied}')
    (told,) = (line for line in out.splitlines() if 'collapsed to a constant' in line and 'confidence:' in line)
    assert 'try a lower config.confidence.learning_rate' in told


def test_a_score_run_does_not_take_over_a_folder(copied):
    words = ('--mode=score', f'--predictions={copied / "evaluation" / "predictions.npz"}', f'--workdir={copied}')
    code, _, err = run_here(*words)
    assert code == 2
    assert 'holds something else than an evaluation of predictions' in err
