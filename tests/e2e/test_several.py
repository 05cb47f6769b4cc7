"""Several devices, and several seeds."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from e2e.command import SLOW, TINY, run_well, start, wait_for_checkpoint

import failpred_jax
from failpred_jax.files import read_npz

pytestmark = pytest.mark.long


def stop_early(*words: str, workdir: Path) -> None:
    """Start on eight devices, and stop in the middle of the first stage, as a preemption does."""
    process = start(*words, *SLOW, f'--workdir={workdir}')
    wait_for_checkpoint(process, workdir / 'baseline' / 'checkpoints', at_least=5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert not (workdir / 'baseline' / 'result.json').exists()


def test_stopped_on_eight_devices_it_goes_on_to_the_same_on_one_and_on_four(tmp_path):
    """Without dropout the same examples give the same network on any number of devices, to float tolerance."""
    words = [word for word in TINY if not word.startswith('--config.evaluate.scores')]
    words += ['--config.model.dropout=False', '--config.evaluate.scores=mcp,confidnet,confidnet_finetuned']
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
    run_well(*words, f'--workdir={whole}')
    stop_early(*words, workdir=stopped)
    expected = read_npz(whole / 'evaluation' / 'predictions.npz')
    for num_devices in (1, 4):
        workdir = tmp_path / str(num_devices)
        shutil.copytree(stopped, workdir)
        run_well(*words, f'--workdir={workdir}', num_devices=num_devices)
        found = read_npz(workdir / 'evaluation' / 'predictions.npz')
        for name in expected:
            if name == 'correct':
                assert np.mean(found[name] == expected[name]) > 0.999
            else:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_with_dropout_it_goes_on_on_another_number_and_ends_well(tmp_path):
    workdir = tmp_path / 'run'
    words = [word for word in TINY if not word.startswith('--config.evaluate.scores')]
    words += ['--config.finetune.epochs=0', '--config.evaluate.scores=mcp,confidnet']
    stop_early(*words, workdir=workdir)
    run_well(*words, f'--workdir={workdir}', num_devices=4)
    metrics = json.loads((workdir / 'evaluation' / 'metrics.json').read_text())
    assert metrics['classifier']['accuracy'] > 0.5
    assert [json.loads((workdir / s / 'result.json').read_text())['step'] for s in ('baseline', 'confidence')] == [
        45,
        45,
    ]


def test_several_seeds_run_as_one(tmp_path):
    workdir = tmp_path / 'run'
    words = [word for word in TINY if not word.startswith('--config.evaluate.scores')]
    words += [f'--workdir={workdir}', '--config.seeds=3,4']
    out = run_well(*words, '--config.evaluate.scores=all', num_devices=1)
    assert 'seeds 3, 4: accuracy' in out
    whole = json.loads((workdir / 'evaluation' / 'metrics.json').read_text())
    parts = [json.loads((workdir / f'seed_{k}' / 'evaluation' / 'metrics.json').read_text()) for k in (3, 4)]
    assert whole['unavailable'] == {}
    for name in ('mcp', 'ensemble', 'trust_score', 'fusion', 'learned_from_features'):
        values = [part['scores'][name]['aurc'] for part in parts]
        assert whole['seeds']['scores'][name]['aurc']['mean'] == pytest.approx(np.mean(values))
        std = whole['seeds']['scores'][name]['aurc'].get('std')
        # One ensemble for all seeds has no spread.
        assert std is None if name == 'ensemble' else std == pytest.approx(np.std(values, ddof=1))
        assert (whole['seeds']['scores'][name]['aurc'].get('low') is None) == (name == 'ensemble')
    assert 'ensemble' in whole['seeds']['shared']
    assert any('better in 2 of 2 seeds has p = 0.5' in note for note in whole['seeds']['notes'])
    assert all(row['low'] <= row['high'] for row in whole['seeds']['paired'])
    assert parts[0]['scores']['mcp'] != parts[1]['scores']['mcp']
    page = (workdir / 'report' / 'index.html').read_text()
    assert 'Several seeds' in page
    # Each seed has decisions of its own, and its scores of the ensemble are those of its evaluation.
    rows = json.loads((workdir / 'decisions' / 'seeds.json').read_text())['promises']
    assert [row['seed'] for row in rows] == [3, 4] and not (workdir / 'decisions' / 'policy.json').exists()
    assert 'Promises of each seed' in page
    images = read_npz(workdir / 'seed_3' / 'evaluation' / 'images.npz')['images'][:50]
    kept = read_npz(workdir / 'seed_3' / 'evaluation' / 'predictions.npz')
    predictor = failpred_jax.load(workdir / 'seed_3')
    names = ['ensemble', 'ensemble_entropy', 'ensemble_mutual_information', 'fusion_with_ensemble']
    found = predictor.predict(images, scores=names)
    alone = predictor.predict(images[7:8], scores=names, numbers=[7])
    for name in names:
        expected = kept[f'confidence_{name}'][:50]
        # Mutual information is a difference of two entropies of up to ln 10, whose rounding it inherits.
        np.testing.assert_allclose(found.confidences[name], expected, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(alone.confidences[name], expected[7:8], atol=1e-6, err_msg=name)
    # Each seed is a run like any other: of one seed more, that one alone is trained.
    before = [(workdir / f'seed_{k}' / 'finetune' / 'result.json').stat().st_mtime_ns for k in (3, 4)]
    out = run_well(*words, '--config.seeds=3,4,5', '--config.evaluate.scores=mcp,ensemble', num_devices=1)
    assert [(workdir / f'seed_{k}' / 'finetune' / 'result.json').stat().st_mtime_ns for k in (3, 4)] == before
    assert (workdir / 'seed_5' / 'finetune' / 'result.json').exists()
    assert 'seeds 3, 4, 5: accuracy' in out
