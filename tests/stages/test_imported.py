"""Weights of elsewhere in whole runs: imported one stage after the other, and as another run's classifier."""

import json

import numpy as np
import pytest

from configs import digits
from failpred_jax.config import read_config
from failpred_jax.errors import UserError
from failpred_jax.experiment import Experiment
from failpred_jax.stopping import Stop
from failpred_jax.train.checkpoints import read_weights

WIDTHS = {'fc1': (64, 16), 'fc2': (16, 10), 'uncertainty1': (16, 16), 'uncertainty2': (16, 16), 'uncertainty3': (16, 1)}
CLASSIFIER = ('fc1', 'fc2')


def experiment(workdir, **baseline):
    given = digits.get_config()
    given.model.mlp.hidden_units = 16
    given.model.head_units = (16, 16)
    given.evaluate.scores = ('mcp', 'confidnet', 'confidnet_finetuned')
    given.evaluate.resamples = 0
    for stage in (given.baseline, given.confidence, given.finetune):
        stage.epochs = 1
    given.baseline.update(baseline)
    workdir.mkdir(exist_ok=True)
    return Experiment(read_config(given), workdir, Stop())


def layers(seed, names=tuple(WIDTHS)):
    torch = pytest.importorskip('torch')
    torch.manual_seed(seed)
    found = {}
    for name in names:
        layer = torch.nn.Linear(*WIDTHS[name])
        found |= {f'{name}.weight': layer.weight.data, f'{name}.bias': layer.bias.data}
    return found


@pytest.fixture
def checkpoints(tmp_path):
    """Return the files of three stages that were trained one after the other."""
    torch = pytest.importorskip('torch')
    confidence = layers(0)
    baseline = {name: value for name, value in confidence.items() if name.startswith(CLASSIFIER)}
    second = {name: value for name, value in layers(1).items() if not name.startswith('fc2')}
    finetune = {f'pred_network.{name}': value for name, value in baseline.items()}
    finetune |= {f'uncertainty_network.{name}': value for name, value in second.items()}
    files = {}
    for name, state in (('baseline', baseline), ('confidence', confidence), ('finetune', finetune)):
        files[name] = str(tmp_path / f'{name}.ckpt')
        torch.save({'epoch': 3, 'model_state_dict': state}, files[name])
    return files, {'confidence': confidence, 'finetune': second}


def head_of(workdir, stage):
    params, _ = read_weights(workdir / stage / 'checkpoints', 0)
    return params['head']['dense_0']['kernel']


def test_stages_come_together_one_after_the_other(checkpoints, tmp_path, capsys):
    files, states = checkpoints
    run = experiment(tmp_path / 'run')
    for name in ('baseline', 'confidence', 'finetune'):
        run.import_torch(files[name])
        out = capsys.readouterr().out
        assert f'imported {name} from' in out
        assert ('beside baseline' in out) == (name != 'baseline')
    for name, state in states.items():
        np.testing.assert_array_equal(head_of(run.workdir, name), state['uncertainty1.weight'].numpy().T)
    for name in files:
        with pytest.raises(UserError, match=f"already has the stage '{name}'"):
            run.import_torch(files[name])


def test_a_head_that_a_finetuned_checkpoint_does_not_hold_is_unavailable(checkpoints, tmp_path, capsys):
    files, states = checkpoints
    run = experiment(tmp_path / 'run')
    run.import_torch(files['finetune'])
    assert 'imported baseline and finetune from' in capsys.readouterr().out
    with pytest.raises(UserError, match='confidnet: finetune.ckpt holds the head after fine-tuning alone'):
        run.evaluate()
    # Until its own checkpoint is there.
    run.import_torch(files['confidence'])
    np.testing.assert_array_equal(
        head_of(run.workdir, 'confidence'), states['confidence']['uncertainty1.weight'].numpy().T
    )
    assert run.evaluate()
    metrics = (run.workdir / 'evaluation' / 'metrics.json').read_text()
    assert '"confidnet"' in metrics and '"confidnet_finetuned"' in metrics


def test_another_classifier_is_named_leaf_by_leaf(checkpoints, tmp_path):
    torch = pytest.importorskip('torch')
    files, states = checkpoints
    run = experiment(tmp_path / 'run')
    run.import_torch(files['baseline'])
    other = dict(states['confidence'])
    other['fc1.bias'] = other['fc1.bias'] + 0.25
    torch.save(other, tmp_path / 'other.ckpt')
    with pytest.raises(UserError, match=r'- backbone/fc1/bias differs by up to 0\.25\n'):
        run.import_torch(str(tmp_path / 'other.ckpt'))
    assert not (run.workdir / 'confidence').exists()


def test_a_finished_classifier_is_the_frozen_one_of_another_run(checkpoints, tmp_path):
    files, _ = checkpoints
    first = experiment(tmp_path / 'first')
    first.import_torch(files['baseline'])
    second = experiment(tmp_path / 'second', init_from=str(tmp_path / 'first'), epochs=0)
    second.train()
    expected, _ = read_weights(first.workdir / 'baseline' / 'checkpoints', 0)
    result = json.loads((second.workdir / 'confidence' / 'result.json').read_text())
    for stage, step in (('baseline', 0), ('confidence', result['best_step'])):
        params, _ = read_weights(second.workdir / stage / 'checkpoints', step)
        for part in ('backbone', 'classifier'):
            np.testing.assert_equal(params[part], expected[part])
    assert result['step'] > 0
