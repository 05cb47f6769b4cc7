"""Where a baseline can start from, and what is said when the weights do not fit."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import traverse_util

from failpred_jax.config import BaselineConfig, Config, ModelConfig
from failpred_jax.errors import UserError
from failpred_jax.models.mlp import MlpOptions
from failpred_jax.models.network import make_network
from failpred_jax.registry import WEIGHTS
from failpred_jax.train.checkpoints import Checkpoints, Progress
from failpred_jax.train.stage import TrainState
from failpred_jax.types import DatasetInfo
from failpred_jax.weights.start import start_from

INFO = DatasetInfo('made up', 'classification', (5, 7, 3), ('a', 'b', 'c', 'd'))
VGG_INFO = DatasetInfo('made up', 'classification', (32, 32, 3), ('a', 'b', 'c', 'd'))


MLP = ModelConfig(name='mlp', owned={'mlp': MlpOptions(hidden_units=6)})


def fresh(model, info):
    return jax.eval_shape(make_network(model, info).init, jax.random.key(0))


def zeros(model, info):
    return jax.tree.map(lambda t: np.zeros(t.shape, np.float32), fresh(model, info))


def start(path, model=None, info=INFO, **options):
    model = model or MLP
    config = Config(model=model, baseline=BaselineConfig(init_from=str(path), **options))
    return start_from(config, info, *zeros(model, info))


def named_arrays(seed=0):
    """Return arrays for every leaf of the classifier, by our names."""
    rng = np.random.default_rng(seed)
    flat = traverse_util.flatten_dict(zeros(MLP, INFO)[0], sep='/')
    return {k: rng.normal(size=v.shape).astype(np.float32) for k, v in flat.items() if not k.startswith('head')}


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def assert_started(found, arrays):
    params, _ = found
    flat = traverse_util.flatten_dict(params, sep='/')
    for name, value in flat.items():
        np.testing.assert_array_equal(value, arrays.get(name, np.zeros_like(value)), err_msg=name)


def test_arrays_by_our_names(tmp_path):
    arrays = named_arrays()
    assert_started(start(save(tmp_path / 'a.npz', arrays)), arrays)
    only = {name: array for name, array in arrays.items() if name.startswith('backbone')}
    assert_started(start(save(tmp_path / 'b.npz', arrays), init_only=('backbone',)), only)
    assert_started(start(save(tmp_path / 'c.npz', only), init_only=('backbone',)), only)


def test_rules_rename_and_leave_out(tmp_path):
    """PyTorch's layout, as its names say: dense kernels turned, and images flattened channels first."""
    arrays = named_arrays()
    kernel = arrays['backbone/fc1/kernel'].reshape(5, 7, 3, 6).transpose(3, 2, 0, 1).reshape(6, -1)
    theirs = {
        'body.0.weight': kernel,
        'body.0.bias': arrays['backbone/fc1/bias'],
        'top.weight': arrays['classifier/kernel'].T,
        'top.bias': arrays['classifier/bias'],
        'ema.decay': np.zeros(3, np.float32),
    }
    rules = (r'^body\.0=backbone.fc1', r'^top\.=classifier.', r'^ema\..*=')
    assert_started(start(save(tmp_path / 'a.npz', theirs), init_rename=rules), arrays)


def test_every_array_that_does_not_fit_is_named_in_one_message(tmp_path):
    arrays = named_arrays()
    del arrays['backbone/fc1/bias']
    arrays['backbone/fc2/bias'] = np.zeros(3, np.float32)
    arrays['classifier/kernel'] = np.zeros((6, 9), np.float32)
    with pytest.raises(UserError) as error:
        start(save(tmp_path / 'a.npz', arrays))
    for words in (
        'missing: backbone/fc1/bias',
        'unexpected: backbone/fc2/bias',
        'wrong shape: classifier/kernel is (6, 9), needed is (6, 4)',
        "model 'mlp' with 4 classes",
        'init_rename',
    ):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ('rules', 'words'),
    [
        ((r'^.*$=backbone/x',), 'the same name'),
        ((r'^backbone=\2',), 'cannot be applied'),
        ((r'^backbone=trunk', '^classifier=top'), 'unexpected: trunk/fc1/kernel'),
    ],
)
def test_rules_that_do_not_work_are_refused(rules, words, tmp_path):
    with pytest.raises(UserError, match=words):
        start(save(tmp_path / 'a.npz', named_arrays()), init_rename=rules)


def test_arrays_of_no_known_format_say_which_names_they_have(tmp_path):
    with pytest.raises(UserError) as error:
        start(save(tmp_path / 'a.npz', {'encoder.block': np.zeros(3, np.float32)}))
    assert 'its arrays are encoder.block' in str(error.value)
    for name in WEIGHTS:
        assert WEIGHTS[name].words in str(error.value)


def save_run(folder, params, stats):
    """Write what a finished stage of another run leaves; its optimizer is none of ours."""
    state = TrainState(
        step=np.int32(3),
        key=jax.random.key(0),
        trained={k: params[k] for k in ('backbone', 'classifier')},
        frozen={'head': params['head']},
        batch_stats=stats,
        opt_state=({'momentum': np.ones(4, np.float32)}, ()),
    )
    checkpoints = Checkpoints(folder / 'checkpoints')
    checkpoints.save(state, Progress(best_step=3))
    checkpoints.close()
    (folder / 'result.json').write_text('{"step": 3, "best_step": 3}')


def other_run(tmp_path, model=ModelConfig(name='resnet20'), info=INFO):  # noqa: B008  (immutable)
    rng = np.random.default_rng(0)
    params, stats = jax.tree.map(lambda t: rng.normal(size=t.shape).astype(np.float32), fresh(model, info))
    save_run(tmp_path / 'other' / 'baseline', params, stats)
    (tmp_path / 'other' / 'config.json').write_text('{"data": {"mean": [0.5], "std": [1.0]}}')
    return tmp_path / 'other', params, stats


RESNET_INFO = dataclasses.replace(INFO, image_shape=(8, 8, 3))


@pytest.mark.parametrize('place', ['', 'baseline'])
def test_another_run_is_a_start_whatever_its_optimizer_was(place, tmp_path, capsys):
    workdir, params, stats = other_run(tmp_path, info=RESNET_INFO)
    model = ModelConfig(name='resnet20')
    found_params, found_stats = start(workdir / place, model, RESNET_INFO, epochs=0)
    for tree in ('backbone', 'classifier'):
        jax.tree.map(np.testing.assert_array_equal, found_params[tree], params[tree])
    jax.tree.map(np.testing.assert_array_equal, found_stats, stats)
    assert not any(leaf.any() for leaf in jax.tree.leaves(found_params['head']))
    out = capsys.readouterr().out
    assert 'another run; stage baseline, step 3' in out
    assert 'its images had another config.data.mean: [0.5] there, [0.0] now' in out


def test_another_run_that_does_not_fit_is_refused_leaf_by_leaf(tmp_path):
    workdir, *_ = other_run(tmp_path, info=dataclasses.replace(RESNET_INFO, class_names=('a', 'b')))
    model = ModelConfig(name='resnet20')
    with pytest.raises(UserError, match=r'wrong shape: classifier/kernel is \(64, 2\), needed is \(64, 4\)'):
        start(workdir, model, RESNET_INFO)
    start(workdir, model, RESNET_INFO, init_only=('backbone',))
    with pytest.raises(UserError, match='missing: backbone/fc1/kernel(.|\n)*unexpected: backbone/bn1/scale'):
        start(workdir)


def test_folders_that_are_no_finished_run_are_refused(tmp_path):
    for folder, words in (('empty', 'a folder without a trained stage'), ('seeds', 'one of its seeds: seed_0, seed_1')):
        (tmp_path / folder).mkdir()
        for seed in range(2 * (folder == 'seeds')):
            (tmp_path / folder / f'seed_{seed}').mkdir()
        with pytest.raises(UserError, match=words):
            start(tmp_path / folder)
    workdir, *_ = other_run(tmp_path, info=RESNET_INFO)
    (workdir / 'baseline' / 'result.json').unlink()
    with pytest.raises(UserError, match="stage 'baseline' is not finished"):
        start(workdir)


def test_a_damaged_checkpoint_of_another_run_is_refused(tmp_path):
    workdir, *_ = other_run(tmp_path, info=RESNET_INFO)
    largest = max((p for p in workdir.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)
    with pytest.raises(UserError, match='checkpoint 3 in .* cannot be used'):
        start(workdir, ModelConfig(name='resnet20'), RESNET_INFO)


VGG = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg_state():
    rng = np.random.default_rng(0)
    state, inputs, number = {}, 3, 0
    for block in VGG:
        for width in block:
            state[f'features.{number}.weight'] = rng.normal(size=(width, inputs, 3, 3)).astype(np.float32)
            state[f'features.{number}.bias'] = rng.normal(size=width).astype(np.float32)
            inputs, number = width, number + 2
        number += 1
    return state | {'classifier.0.weight': np.zeros((3, 3), np.float32)}


@pytest.mark.parametrize(('name', 'place'), [('vgg16', ('conv13',)), ('segnet', ('down5', 'conv3'))])
def test_torchvisions_vgg16_starts_the_encoder(name, place, tmp_path):
    state = vgg_state()
    info = dataclasses.replace(VGG_INFO, task='segmentation' if name == 'segnet' else 'classification')
    params, stats = start(save(tmp_path / 'vgg16.npz', state), ModelConfig(name=name), info)
    layer = params['backbone']
    for key in place:
        layer = layer[key]
    np.testing.assert_array_equal(layer['kernel'], state['features.28.weight'].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(layer['bias'], state['features.28.bias'])
    assert not any(leaf.any() for leaf in jax.tree.leaves((params['head'], params['classifier'], stats)))
    assert jax.tree.structure((params, stats)) == jax.tree.structure(fresh(ModelConfig(name=name), info))


def test_torchvisions_vgg16_names_what_is_wrong(tmp_path):
    state = vgg_state()
    state['features.0.weight'] = np.zeros((64, 1, 3, 3), np.float32)
    del state['features.2.bias']
    state['features.1.running_mean'] = np.zeros(64, np.float32)
    with pytest.raises(UserError) as error:
        start(save(tmp_path / 'a.npz', state), ModelConfig(name='vgg16'), VGG_INFO)
    for words in ('wrong shape: features.0.weight', 'missing: features.2.bias', 'unexpected: features.1.running_mean'):
        assert words in str(error.value)
    with pytest.raises(UserError, match="model 'mlp' has no VGG16 encoder"):
        start(tmp_path / 'a.npz')


def test_a_classifier_that_is_not_trained_must_be_whole(tmp_path):
    arrays = named_arrays()
    assert_started(start(save(tmp_path / 'a.npz', arrays), epochs=0), arrays)
    with pytest.raises(UserError, match='does not give the whole classifier: classifier/bias, classifier/kernel would'):
        start(tmp_path / 'a.npz', epochs=0, init_only=('backbone',))
