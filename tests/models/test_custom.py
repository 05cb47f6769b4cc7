"""Networks of others: trained here, or the finished classifier under a confidence head."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx, serialization, traverse_util

from failpred_jax import session
from failpred_jax.config import ModelConfig, default_config
from failpred_jax.errors import UserError
from failpred_jax.models.custom import CustomOptions
from failpred_jax.models.network import make_network
from failpred_jax.types import Cached, DatasetInfo

INFO = DatasetInfo('things', 'classification', (4, 4, 1), ('a', 'b', 'c'))


class Small(linen.Module):
    """Dense, BatchNorm, ReLU, Dense."""

    num_classes: int

    @linen.compact
    def __call__(self, images, train=False):
        x = linen.Dense(5)(images.reshape(len(images), -1))
        features = linen.relu(linen.BatchNorm(use_running_average=not train, momentum=0.5)(x))
        return features, linen.Dense(self.num_classes)(features)


class Other(nnx.Module):
    """The same in nnx, without BatchNorm."""

    def __init__(self, num_classes):
        self.first = nnx.Linear(16, 5, rngs=nnx.Rngs(3))
        self.last = nnx.Linear(5, num_classes, rngs=nnx.Rngs(4))

    def __call__(self, images):
        features = jax.nn.relu(self.first(images.reshape(len(images), -1)))
        return {'features': features, 'logits': self.last(features)}


WEIGHTS = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)


def plain(num_classes):
    def images_to_logits(images):
        features = jnp.tanh(images.reshape(len(images), -1))
        return features, features @ WEIGHTS[:, :num_classes]

    return images_to_logits


@pytest.fixture(autouse=True)
def theirs(monkeypatch):
    module = types.ModuleType('their_models')
    module.linen, module.nnx, module.plain = Small, Other, plain
    module.words = lambda: 'a word'
    module.one = lambda: lambda images: images.reshape(len(images), -1)
    module.needs = lambda depth: None
    monkeypatch.setitem(sys.modules, 'their_models', module)


def build(factory, info=INFO, **options):
    owned = {'custom': CustomOptions(f'their_models:{factory}', **options)}
    return make_network(ModelConfig(name='custom', head_units=(4,), owned=owned), info)


@pytest.mark.parametrize('factory', ['linen', 'nnx', 'plain'])
def test_features_and_logits_are_those_of_the_network_in_every_pass(factory, rng):
    network = build(factory)
    params, stats = network.init(jax.random.key(0))
    images = rng.normal(size=(3, 4, 4, 1)).astype(np.float32)
    out, _ = network.apply(params, stats, images, with_confidence=True)
    if factory == 'plain':
        expected = plain(3)(images)
    elif factory == 'nnx':
        expected = tuple(Other(3)(images).values())
    else:
        variables = {'params': params['backbone']['inner'], 'batch_stats': stats['backbone']['inner']}
        expected = Small(3).apply(variables, images)
    np.testing.assert_allclose(out.features, expected[0], rtol=1e-6)
    np.testing.assert_allclose(out.logits, expected[1], rtol=1e-6)
    hidden = network.prefix(params, stats, images)
    cached = network.precompute(params, stats, images, {'features'})
    for other in (
        network.suffix(params, stats, hidden, with_confidence=True),
        network.apply(params, stats, None, cached=cached, with_confidence=True)[0],
        network.apply(params, stats, images, cached=Cached(logits=out.logits), with_confidence=True)[0],
    ):
        jax.tree.map(np.testing.assert_array_equal, other, out)
    assert network.is_given == (factory != 'linen')


class Maps(linen.Module):
    """A convolution, whose channels are the features of every pixel."""

    num_classes: int

    @linen.compact
    def __call__(self, images):
        features = jnp.tanh(linen.Conv(2, (3, 3))(images))
        return features, linen.Dense(self.num_classes)(features)


def test_a_segmenter_has_features_logits_and_a_confidence_of_every_pixel(rng, monkeypatch):
    monkeypatch.setattr(sys.modules['their_models'], 'maps', Maps, raising=False)
    info = DatasetInfo('maps', 'segmentation', (5, 4, 1), ('a', 'b', 'c'))
    owned = {'custom': CustomOptions('their_models:maps')}
    network = make_network(ModelConfig(name='custom', head_channels=(4,), owned=owned), info)
    params, stats = network.init(jax.random.key(0))
    images = rng.normal(size=(2, 5, 4, 1)).astype(np.float32)
    out, _ = network.apply(params, stats, images, with_confidence=True)
    features, logits = Maps(3).apply({'params': params['backbone']['inner']}, images)
    np.testing.assert_allclose(out.features, features, rtol=1e-6)
    np.testing.assert_allclose(out.logits, logits, rtol=1e-6)
    assert out.confidence_logit.shape == (2, 5, 4)
    hidden = network.prefix(params, stats, images)
    other = network.suffix(params, stats, hidden, with_confidence=True)
    jax.tree.map(np.testing.assert_array_equal, other, out)
    with pytest.raises(UserError, match=r"'maps' is for segmentation, which needs features \(2, 5, 4, 'D'\)"):
        make_network(ModelConfig(name='custom', owned={'custom': CustomOptions('their_models:linen')}), info)
    with pytest.raises(UserError, match='every image'):
        make_network(ModelConfig(name='custom', owned=owned), INFO)


def test_batch_statistics_move_while_training_and_only_then(rng):
    network = build('linen')
    params, stats = network.init(jax.random.key(0))
    images = rng.normal(size=(6, 4, 4, 1)).astype(np.float32)
    _, same = network.apply(params, stats, images, dropout_key=jax.random.key(1), dropout_in={'backbone'})
    jax.tree.map(np.testing.assert_array_equal, same, stats)
    _, moved = network.apply(params, stats, images, batch_norm_in={'backbone'})
    assert not np.array_equal(jax.tree.leaves(moved)[0], jax.tree.leaves(stats)[0])


@pytest.mark.parametrize('form', ['msgpack', 'npz', 'orbax'])
def test_parameters_come_from_files(form, tmp_path):
    variables = Small(3).init(jax.random.key(5), jnp.zeros((1, 4, 4, 1)))
    flat = {'/'.join(k): np.asarray(v) for k, v in traverse_util.flatten_dict(variables).items()}
    path = tmp_path / 'weights'
    if form == 'msgpack':
        path.write_bytes(serialization.to_bytes(variables))
    elif form == 'npz':
        path = tmp_path / 'weights.npz'
        np.savez(path, **flat)
    else:
        import orbax.checkpoint as ocp

        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path, variables)
    network = build('linen', params=str(path))
    params, stats = network.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, params['backbone']['inner'], variables['params'])
    jax.tree.map(np.testing.assert_array_equal, stats['backbone']['inner'], variables['batch_stats'])
    assert network.is_given
    four = DatasetInfo('things', 'classification', (4, 4, 1), ('a', 'b', 'c', 'd'))
    with pytest.raises(UserError, match=r'wrong shape: params/Dense_1/bias is \(3,\), needed is \(4,\)'):
        build('linen', four, params=str(path))


def test_parameters_of_an_nnx_module_come_from_files(tmp_path):
    state = nnx.to_pure_dict(nnx.state(Other(3), nnx.Param))
    changed = jax.tree.map(lambda x: np.asarray(x) + 1, state)
    (tmp_path / 'weights').write_bytes(serialization.msgpack_serialize(changed))
    params, _ = build('nnx', params=str(tmp_path / 'weights')).init(jax.random.key(0))
    assert np.array_equal(params['backbone']['last/kernel'], changed['last']['kernel'])


@pytest.mark.parametrize(
    ('factory', 'options', 'words'),
    [
        ('gone', {}, 'cannot be imported .*gone'),
        ('words', {}, 'made a str; it must be a Flax linen module'),
        ('one', {}, r'must return \(features \[B, D\], logits \[B, classes\]\) .*it returned \(2, 16\)'),
        ('needs', {}, 'cannot be called .*it may take num_classes and image_shape'),
        ('plain', {'params': __file__}, 'cannot be read as msgpack'),
        ('linen', {'params': 'gone'}, 'there is no such file'),
        ('linen', {'has_dropout': True}, 'has BatchNorm'),
    ],
)
def test_what_is_no_network_is_told(factory, options, words):
    with pytest.raises(UserError, match=words):
        build(factory, **options)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('raises', 'failed in line 5: ValueError: boom'),
        ('misuses', "failed in line 7: TypeError: object of type 'int' has no len()"),
        ('network', 'failed in line 12: ZeroDivisionError: division by zero (the network is called with images (2, 4'),
    ],
)
def test_a_factory_that_fails_is_told_its_line(name, words, tmp_path, monkeypatch):
    file = tmp_path / f'failing_{tmp_path.name}.py'
    file.write_text(
        'from flax import linen\n\n\n'
        "def raises(num_classes):\n    raise ValueError('boom')\n"
        'def misuses():\n    return len(3)\n\n'
        'class network(linen.Module):\n    @linen.compact\n    def __call__(self, images):\n        return 1 / 0\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    owned = {'custom': CustomOptions(f'{file.stem}:{name}')}
    with pytest.raises(UserError) as error:
        make_network(ModelConfig(name='custom', head_units=(4,), owned=owned), INFO)
    assert str(error.value).startswith(f"config.model.custom.factory is '{file.stem}:{name}': '{file}' {words}")


def test_a_module_that_fails_as_it_is_imported_is_told_its_line(tmp_path, monkeypatch):
    file = tmp_path / f'failing_{tmp_path.name}.py'
    file.write_text('\n1 / 0\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    owned = {'custom': CustomOptions(f'{file.stem}:make')}
    with pytest.raises(UserError, match=f"'{file}' failed in line 2: ZeroDivisionError: division by zero"):
        make_network(ModelConfig(name='custom', head_units=(4,), owned=owned), INFO)


def config_of(path, factory, epochs):
    config = default_config()
    config.data.source, config.data.arrays.path = 'arrays', str(path)
    config.data.validation_fraction = 0.4
    config.model.name, config.model.custom.factory, config.model.head_units = 'custom', f'their_models:{factory}', (4,)
    for stage, n in (('baseline', epochs), ('confidence', 1), ('finetune', 1 if factory == 'nnx' else 0)):
        config[stage].batch_size, config[stage].epochs = 8, n
    config.evaluate.batch_size = 8
    return config


@pytest.mark.parametrize(('factory', 'epochs'), [('linen', 1), ('nnx', 0), ('plain', 0)])
def test_a_head_is_trained_on_it(factory, epochs, tmp_path, rng):
    labels = np.arange(48) % 3
    np.savez(tmp_path / 'd.npz', images_train=rng.integers(0, 256, (48, 4, 4)).astype(np.uint8), labels_train=labels)
    with session.opened(config_of(tmp_path / 'd.npz', factory, epochs), tmp_path / 'run') as run:
        run.train()
        stages = run.store.stages
        state = run.store.load(stages[-1], run.store.finished(stages[-1]).best_step)
    assert 'head' in state.trained
    if factory == 'linen':
        return
    with (
        pytest.raises(UserError, match='only a Flax linen module is trained here: set it to 0'),
        session.opened(config_of(tmp_path / 'd.npz', factory, 2), tmp_path / 'other'),
    ):
        pass
