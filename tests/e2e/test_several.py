"""Several devices, and several seeds."""

import json

import numpy as np
import pytest
from e2e.command import TINY, run_well

from failpred_jax.files import read_npz


def test_one_device_and_eight_agree(tmp_path):
    """Without dropout the same examples give the same network on any number of devices, to float tolerance."""
    words = [word for word in TINY if not word.startswith('--config.evaluate.scores')]
    words += ['--config.model.dropout=False', '--config.evaluate.scores=mcp,confidnet,confidnet_finetuned']
    found = []
    for num_devices in (1, 8):
        workdir = tmp_path / str(num_devices)
        run_well(*words, f'--workdir={workdir}', num_devices=num_devices)
        found.append(read_npz(workdir / 'evaluation' / 'predictions.npz'))
    for name in found[0]:
        if name == 'correct':
            assert np.mean(found[0][name] == found[1][name]) > 0.999
        else:
            np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-4, atol=1e-4, err_msg=name)


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
        assert whole['seeds']['scores'][name]['aurc']['std'] == pytest.approx(np.std(values, ddof=1))
    assert parts[0]['scores']['mcp'] != parts[1]['scores']['mcp']
    page = (workdir / 'report' / 'index.html').read_text()
    assert 'Several seeds' in page
    # Each seed is a run like any other, and none is trained again.
    before = [(workdir / f'seed_{k}' / 'finetune' / 'result.json').stat().st_mtime_ns for k in (3, 4)]
    run_well(*words, '--config.evaluate.scores=mcp', '--mode=train', num_devices=1)
    assert [(workdir / f'seed_{k}' / 'finetune' / 'result.json').stat().st_mtime_ns for k in (3, 4)] == before
