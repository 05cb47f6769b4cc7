"""A checkpoint of the paper's own code becomes finished stages, which evaluate and train on like any others."""

import json

import numpy as np
import pytest
from e2e.command import TINY, run, run_here, run_well

from failpred_jax.files import read_npz

torch = pytest.importorskip('torch', reason='PyTorch is not installed (extra [torch])')


def save_mlp(file, with_head, width=16):
    """Save a random MLP for digits as the reference lays it out; return its parameters."""
    layers = {'fc1': (64, width), 'fc2': (width, 10)}
    if with_head:
        widths = [width, 16, 16, 1]
        layers |= {f'uncertainty{i + 1}': (widths[i], widths[i + 1]) for i in range(3)}
    state = {}
    for name, (fan_in, fan_out) in layers.items():
        layer = torch.nn.Linear(fan_in, fan_out)
        state |= {f'{name}.weight': layer.weight.data, f'{name}.bias': layer.bias.data}
    torch.save({'epoch': 3, 'model_state_dict': state, 'optimizer_state_dict': {}}, file)
    return {name: value.numpy() for name, value in state.items()}


def expected_logits(state, workdir):
    from sklearn.datasets import load_digits

    digits = load_digits()
    test = read_npz(workdir / 'split.npz')['test']
    x = np.round(digits.images * (255 / 16)).reshape(-1, 64)[test] / 255
    hidden = np.maximum(x @ state['fc1.weight'].T + state['fc1.bias'], 0)
    return hidden @ state['fc2.weight'].T + state['fc2.bias']


@pytest.mark.long
def test_imported_baseline_evaluates_and_trains_on(tmp_path):
    file, workdir = tmp_path / 'model_epoch_003.ckpt', tmp_path / 'run'
    state = save_mlp(file, with_head=False)
    words = (*TINY, f'--workdir={workdir}')
    assert 'imported baseline from' in run_well(*words, '--mode=import_torch', f'--torch_checkpoint={file}')
    run_well(*words)
    assert json.loads((workdir / 'baseline' / 'result.json').read_text())['step'] == 0
    assert json.loads((workdir / 'confidence' / 'result.json').read_text())['step'] == 45
    logits = read_npz(workdir / 'evaluation' / 'predictions.npz')['logits']
    np.testing.assert_allclose(logits, expected_logits(state, workdir), rtol=1e-4, atol=1e-4)
    done = run(*words, '--mode=import_torch', f'--torch_checkpoint={file}')
    assert done.returncode == 2
    assert "already has the stage 'baseline'" in done.stderr


def test_another_width_is_named_entry_by_entry(tmp_path):
    file = tmp_path / 'model.ckpt'
    save_mlp(file, with_head=False, width=20)
    words = (*TINY, f'--workdir={tmp_path / "run"}', '--mode=import_torch', f'--torch_checkpoint={file}')
    code, _, errors = run_here(*words)
    assert code == 2
    for name in ('fc1.weight', 'fc1.bias', 'fc2.weight'):
        assert name in errors
